"""Advice, step by step: all fields, rankings, fewer and fewer fields, single fields near the cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bench.advising.advice import Advice, Look, Verdict, write_advice
from bench.advising.answer import Answer, Findings, seconds
from bench.advising.around import Probe, Set, near, probe, repaired
from bench.advising.config import AdviseConfig, run_config
from bench.advising.lab import Lab, Trained
from bench.advising.outlook import begin
from bench.advising.search import Outcome, chosen, grid, next_k, outcome
from bench.errors import ConfigError, DataError
from bench.run.config import RunConfig
from bench.run.progress import Reporter
from bench.run.ranked import Ranked
from bench.run.session import VALID
from bench.stats.consensus import Consensus, consensus

__all__ = ["advise"]

_ROUNDS = 3
"""Repairs of the cut, at most."""
_RANKING = 0.5
"""Share of the time left after all fields that rankings with further seeds may take."""


def advise(config: AdviseConfig, reporter: Reporter, tell: Callable[[str], None]) -> Advice:
    """Which fields can be dropped, what that costs, and what it saves; also written into the run folder.

    Args:
        config: what is asked.
        reporter: is told of cells.
        tell: is told of warnings before the first.

    Raises:
        ConfigError: a value out of range, an unknown name, or too little time.
        DataError: the data cannot be used, or a cell that the advice rests on has failed.
    """
    base = run_config(config)
    _prepare(replace(base, budget_by=config.budget_by), tell)
    lab = Lab(base, config.budget_by, config.time_s, reporter)
    found = _Advisor(config, lab, base).advice()
    write_advice(base.out, found)
    lab.tidy()
    return found


def _prepare(base: RunConfig, tell: Callable[[str], None]) -> None:
    """Make data that need no file, refuse a budget of which the card says nothing, and say what grows steeply."""
    from bench.data.prepare.ready import make_ready  # noqa: PLC0415 - not where all is done
    from bench.run import growth, session  # noqa: PLC0415

    plan = session.resolve(base)
    make_ready(plan.cards.values(), base.data_dir, tell)
    for text in growth.warnings(session.Session(plan)):
        tell(f"warning: {text}")


@dataclass
class _Advisor:
    """What is known so far."""

    config: AdviseConfig
    lab: Lab
    base: RunConfig
    looks: dict[Set, Look] = field(default_factory=dict)
    sets: dict[int, Set] = field(default_factory=dict)
    """Cuts of the consensus that were looked at, by K."""
    trained: dict[Set, Trained] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    stopped: bool = False
    """Whether time ended before there was no number of fields left to look at."""
    probes: list[Probe] = field(default_factory=list)
    """Around the chosen set."""
    failed: list[str] = field(default_factory=list)
    """Rankers without a ranking."""
    consensus: Consensus | None = None
    l2: str = ""
    """What is said of the L2."""

    def advice(self) -> Advice:
        lab, units = self.lab, self.lab.units
        self._check_fields()
        self.l2 = begin(self.config, lab)
        lab.say(f"advice, 1 of 4: all {lab.schema.n_fields} fields")
        self.whole = lab.whole()
        self.chance = lab.above_chance(self.whole)
        if self.chance.low <= 0:
            return Answer(self._findings()).noise()
        lab.say(f"advice, 2 of 4: rankings by {', '.join(self.base.methods)}")
        rankings, self.left_out = lab.rankings(_RANKING)
        self.consensus = self._rank(rankings)
        self.order = units.ordered(self.consensus.order, lab.twins())
        self.reference = Set(self.order, len(self.order))
        self.points = grid(len(self.order), units.floor)
        lab.say("advice, 3 of 4: fewer and fewer fields of the consensus")
        self._search()
        verdict, cut = self._verdict()
        if cut is not None:
            lab.say(f"advice, 4 of 4: single fields near the cut at {self._title(cut)}")
            cut = self._around(cut)
        self._rest_of_grid()
        return Answer(self._findings()).advice(verdict, cut)

    def _findings(self) -> Findings:
        return Findings(
            config=self.config,
            lab=self.lab,
            whole=self.whole,
            chance=self.chance,
            consensus=self.consensus,
            looks=self.looks,
            trained=self.trained,
            probes=self.probes,
            left_out=self.left_out,
            failed=self.failed,
            l2=self.l2,
        )

    def _check_fields(self) -> None:
        """Refuse data of which nothing may be dropped.

        Raises:
            ConfigError: there is one field, or one group of all, or all are locked.
        """
        lab, units = self.lab, self.lab.units
        if lab.schema.n_fields < 2:
            raise ConfigError(f"{lab.dataset} has one field only: there is nothing to drop.")
        if units.floor >= len(units.fields):
            why = "all of its fields are kept" if units.locked else "all of its fields are one group"
            raise ConfigError(f"{lab.dataset}: {why} by the card, [fields]: there is nothing to drop.")

    def _title(self, cut: Set) -> str:
        return f"K = {len(self.lab.units.of_fields(cut.kept))}"

    def _rank(self, found: Sequence[Ranked]) -> Consensus:
        """The consensus of the rankers that have a ranking.

        Raises:
            DataError: none has.
        """
        rankings: dict[str, list[list[float | None]]] = defaultdict(list)
        failed: dict[str, str] = {}
        for one in found:
            if one.status == "ok" and one.scores is not None:
                rankings[one.label].append(list(one.scores))
            else:
                failed[one.label] = f"{one.label}: {one.status}: {one.reason or 'no scores of fields'}"
        if not rankings:
            raise DataError(f"no ranker has a ranking: {'; '.join(failed.values())}. Name others with --rankers.")
        self.failed = [text for label, text in failed.items() if label not in rankings]
        return consensus(rankings)

    def _look(self, name: str, cut: Set) -> Look | None:
        """Train a set; None where there is no time."""
        if cut not in self.looks:
            trained = self.lab.keep(name, cut.order, cut.k)
            if trained is None:
                return None
            self._note(cut, trained, ranked=name == "consensus")
        return self.looks[cut]

    def _note(self, cut: Set, trained: Trained, ranked: bool) -> None:
        names = self.lab.schema.names
        self.trained[cut] = trained
        self.looks[cut] = Look(
            k=len(trained.fields),
            fields=tuple(names[f] for f in trained.fields),
            valid=self.lab.interval(trained, self.whole, VALID),
            test=self.lab.interval(trained, self.whole),
            auc=trained.mean("auc"),
            embedding_bytes=trained.mean("embedding_bytes"),
            inference_s=seconds(trained, "inference")[0],
            training_s=seconds(trained, "training")[0],
            cells=tuple(record.config_hash for record in trained.records),
            ranked=ranked,
            cost=self.lab.cost(trained.fields),
        )

    def _cut(self, k: int) -> Set:
        return self.sets.setdefault(k, Set(self.order, k))

    def _outcomes(self) -> dict[int, Outcome]:
        """What the looks at cuts of the consensus say, by K below the reference's."""
        seen = {k: cut for k, cut in self.sets.items() if cut in self.looks and k < self.reference.k}
        return {k: self._outcome(cut) for k, cut in seen.items()}

    def _outcome(self, cut: Set) -> Outcome:
        """Within is what loses less than the tolerance against the reference, and against all fields."""
        tolerance, against_all = self.config.tolerance, self.looks[cut].valid
        found = outcome(against_all, tolerance)
        if self.reference not in self.trained or found != "within":
            return found
        return outcome(self.lab.interval(self.trained[cut], self.trained[self.reference], VALID), tolerance)

    def _search(self) -> None:
        """Look at numbers of fields as long as a look could change the choice, and there is time.

        Where there is none for a point of the grid, the next smaller one takes less, and answers as well.
        """
        points = list(self.points)
        while (k := next_k(self._outcomes(), self.reference.k, points)) is not None:
            found = self._look("consensus", self._cut(k))
            if found is not None:
                self._prefer(self._cut(k), found)
                continue
            self.left_out.append(self._title(self._cut(k)))
            self.stopped = True
            if k not in points:
                return
            points.remove(k)

    def _prefer(self, cut: Set, look: Look) -> None:
        """Take a set as the reference where it is the best so far, if losses are measured against that."""
        best = 0.0 if self.reference not in self.looks else self.looks[self.reference].valid.mean
        if self.config.against == "best" and look.valid.mean > best:
            self.reference = cut

    def _rest_of_grid(self) -> None:
        """The numbers of fields below the choice, for the figure; last, since no choice rests on them."""
        rest = [cut for k in self.points if (cut := self._cut(k)) not in self.looks]
        for number, cut in enumerate(rest):
            if self._look("consensus", cut) is None:
                left = [self._title(one) for one in rest[number:]]
                self.left_out += [title for title in left if title not in self.left_out]
                return

    def _verdict(self) -> tuple[Verdict, Set | None]:
        """What the looks say, and the set to go on with."""
        found = chosen(self._outcomes())
        if found is None and self.reference in self.looks and self._outcome(self.reference) == "within":
            found = self.reference.k
        if found is not None:
            return "drop", self._cut(found)
        if not self.looks:
            return "open", None
        if self.stopped:
            return "open", self._guess()
        largest = self.looks[self._cut(max(k for k, cut in self.sets.items() if cut in self.looks))]
        return ("none", None) if outcome(largest.valid, self.config.tolerance) == "worse" else ("small", self._guess())

    def _guess(self) -> Set | None:
        """The smallest set that is within a standard error of all fields, with all larger ones; None without one."""
        found = None
        for cut in sorted((cut for cut in self.sets.values() if cut in self.looks), key=lambda cut: -cut.k):
            valid = self.looks[cut].valid
            if valid.mean < -max(self.config.tolerance, valid.se):
                break
            found = cut
        return found

    def _around(self, cut: Set) -> Set:
        """Single fields near the cut, and the cut mended by what they say, until nothing is left to mend."""
        for _ in range(_ROUNDS):
            self.probes = []
            for one in near(cut, self.config.near, self.lab.units):
                found = probe(self.lab, cut, self.trained[cut], self.whole, one)
                if found is None:
                    self.left_out.append(f"single fields near {self._title(cut)}")
                    return cut
                self.probes.append(found)
                if found.fields not in self.looks and found.fields.k < len(cut.order):
                    self._note(found.fields, found.trained, ranked=False)
            better = self._mended(cut)
            if better is None:
                return cut
            cut = better
        return cut

    def _mended(self, cut: Set) -> Set | None:
        """A smaller set that is within the tolerance, or one of as many fields that is better; None without one."""
        joint = repaired(cut, self.probes, self.config.tolerance, self.lab.units)
        if joint != cut and joint.k < len(cut.order):
            self._look("mended", joint)
        cheapest = sorted((p for p in self.probes if p.kept), key=lambda p: p.valid.mean)
        for other in (joint, *(p.fields for p in cheapest)):
            if other in self.looks and other != cut and self._is_better(other, cut):
                return other
        return None

    def _is_better(self, other: Set, cut: Set) -> bool:
        more = self.looks[other].valid.mean > self.looks[cut].valid.mean
        size, now = (self.lab.units.size(one.kept) for one in (other, cut))
        if self._outcome(cut) != "within":  # of too small data: what looks best is all there is
            return size <= now and more
        if self._outcome(other) != "within":
            return False
        return size < now or (size == now and more)
