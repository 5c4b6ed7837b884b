"""The answer out of what was found: its sentences, the table of fields, what is saved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.advising import words
from bench.advising.advice import Advice, FieldAdvice, FieldVerdict, Look, Saving, Verdict
from bench.advising.around import Probe, Set
from bench.advising.config import AdviseConfig
from bench.advising.lab import Lab, Trained
from bench.stats.consensus import Consensus
from bench.stats.difference import Interval

__all__ = ["Answer", "Findings", "seconds"]

_COSTS = {"inference": ("it_s", "it"), "training": ("tt_s", "ct")}
"""Time of a record, and its phase, by the name of the saving."""


_BEARABLE = 0.05
"""Loss of AUC beyond which nobody would ask for it as a tolerance."""


@dataclass(frozen=True)
class Findings:
    """What was trained and looked at."""

    config: AdviseConfig
    lab: Lab
    whole: Trained
    chance: Interval
    """How far the AUC of all fields is above 0.5."""
    consensus: Consensus | None
    looks: Mapping[Set, Look]
    trained: Mapping[Set, Trained]
    probes: Sequence[Probe]
    left_out: Sequence[str]
    failed: Sequence[str]
    l2: str
    """What is said of the L2; nothing where it was given."""


class Answer:
    """Advice in the making."""

    def __init__(self, found: Findings) -> None:
        """Nothing is trained any more."""
        self._found = found

    def _common(self) -> dict[str, Any]:
        lab, record = self._found.lab, self._found.whole.records[0]
        return {
            "dataset": lab.dataset,
            "backbone": record.backbone,
            "tolerance": self._found.config.tolerance,
            "seeds": self._found.config.seeds,
            "n_fields": lab.schema.n_fields,
            "split_rows": lab.rows,
            "budget_by": self._found.config.budget_by,
            "whole_auc": self._found.whole.mean("auc"),
            "above_chance": self._found.chance,
            "whole": {
                "cost": lab.cost(self._found.whole.fields),
                "embedding_bytes": self._found.whole.mean("embedding_bytes"),
                **{f"{name}_s": seconds(self._found.whole, name)[0] for name in _COSTS},
            },
        }

    def noise(self) -> Advice:
        """That nothing can be told, where the model with all fields is no better than chance."""
        said = words.chance(self._found.chance, self._found.lab.schema.n_fields)
        details = ["No field was ranked or dropped: what is told of labels that no model can tell is chance."]
        details += [self._found.l2] if self._found.l2 else []
        return Advice("noise", said, tuple(details), **self._common())

    def advice(self, verdict: Verdict, cut: Set | None) -> Advice:
        """All of it, for the set ``cut``; None: all fields stay."""
        choice = None if cut is None else self._found.looks[cut]
        savings = self._savings(choice) if choice is not None and cut is not None else ()
        best = self._best(choice)
        said, details = self._told(verdict, choice, best, savings)
        said, details = self._with_leaks(said, details, choice)
        looks = sorted(self._found.looks.values(), key=lambda look: (not look.ranked, -look.k))
        return Advice(
            verdict,
            said,
            tuple(details),
            **self._common(),
            fields=tuple(self._fields(verdict, cut)),
            looks=tuple(looks),
            choice=choice,
            best=best,
            savings=savings,
            rankers=() if self._found.consensus is None else tuple(self._found.consensus.ranks),
            left_out=tuple(self._found.left_out),
        )

    def _best(self, choice: Look | None) -> Look | None:
        """The set of the highest validation AUC, where its gain over the chosen one is more than the tolerance."""
        found = max(self._found.looks.values(), key=lambda look: look.valid.mean, default=None)
        if choice is None or found is None or found.valid.mean <= choice.valid.mean + self._found.config.tolerance:
            return None
        return found if found.valid.low > -self._found.config.tolerance else None

    def _savings(self, choice: Look) -> tuple[Saving, ...]:
        trained = next(self._found.trained[cut] for cut, look in self._found.looks.items() if look is choice)
        whole = self._found.lab.cost(self._found.whole.fields)
        free = "" if whole else "all fields cost 0"
        found: list[Saving] = [] if whole is None else [Saving("cost", whole, choice.cost, free)]
        found.append(Saving("embeddings", self._found.whole.mean("embedding_bytes"), choice.embedding_bytes))
        for name in _COSTS:
            (before, why), (after, later) = seconds(self._found.whole, name), seconds(trained, name)
            found.append(Saving(name, before, after, why or later))
        return tuple(found)

    def _told(
        self, verdict: Verdict, choice: Look | None, best: Look | None, savings: Sequence[Saving]
    ) -> tuple[str, list[str]]:
        """The sentence, and those that follow it."""
        tolerance, n_fields = self._found.config.tolerance, self._found.lab.schema.n_fields
        details = []
        if verdict == "drop" and choice is not None:
            said = words.sentence(choice, n_fields, savings, tolerance)
            details.append(words.confirmed(choice, tolerance, self._found.config.against == "best"))
            details += [found] if (found := words.minimised(self._found.config.budget_by)) else []
        else:
            said, more = self._untold(verdict, choice)
            details += more
        if best is not None and choice is not None:
            others = [name for name in best.fields if name not in choice.fields]
            beside = f", with {words.listed(others)} beside the chosen ones" if others else ""
            details.append(
                f"The highest validation AUC is that of {best.k} fields{beside}: on test rows "
                f"{words.difference(best.test, tolerance)} against all."
            )
        unknown = [f"{saving.name} ({saving.reason})" for saving in savings if saving.share is None]
        details += [f"Not known: {', '.join(unknown)}."] if unknown else []
        details += self._twins_told()
        details += [self._found.l2] if self._found.l2 else []
        details += [f"Without a ranking: {'; '.join(self._found.failed)}."] if self._found.failed else []
        if self._found.left_out:
            details.append(f"No time was left for: {', '.join(self._found.left_out)}; the same command goes on.")
        return said, details

    def _twins_told(self) -> list[str]:
        """That of twins one was ranked, and the others behind all else."""
        units, order = self._found.lab.units, self._order()
        if not (last := units.of_fields(units.needless(order, self._found.lab.twins()))):
            return []
        facts, names = self._found.lab.facts(), self._found.lab.schema.names
        shown = [f"{names[f]} ({' = '.join(facts[names[f]].twins)})" for f in last]
        return [f"Fields that say what others before them say are ranked last: {words.listed(shown)}."]

    def _order(self) -> tuple[int, ...]:
        """Units in the order in which they were to stay."""
        agreed = self._found.consensus
        return () if agreed is None else self._found.lab.units.ordered(agreed.order, self._found.lab.twins())

    def _leaks(self) -> dict[str, float]:
        """AUC of the fields that alone may say the label."""
        return {n: one.auc for n, one in self._found.lab.facts().items() if one.leak and one.auc is not None}

    def _with_leaks(self, said: str, details: list[str], choice: Look | None) -> tuple[str, list[str]]:
        """Sentences that do not hide that they rest on a leak, if it is one."""
        leaks = self._leaks()
        if not leaks:
            return said, details
        names = self._found.lab.schema.names if choice is None else choice.fields
        kept = [name for name in leaks if name in names]
        if kept:
            said = f"With {words.listed(kept)}, which may be {'a leak' if len(kept) == 1 else 'leaks'}: {_lower(said)}"
        return said, [words.leaks(leaks), *details]

    def _untold(self, verdict: Verdict, choice: Look | None) -> tuple[str, list[str]]:
        """The sentence where nothing can be dropped for certain, and what would help."""
        tolerance, n_fields = self._found.config.tolerance, self._found.lab.schema.n_fields
        if verdict == "open" or not self._found.looks:
            return "Not decided yet: time ended before a set of fields was found that can go.", []
        largest = max((look for look in self._found.looks.values() if look.ranked), key=lambda look: look.k)
        told = words.difference(largest.valid, tolerance)
        if verdict == "none":
            said = (
                f"No field can be dropped within a loss of {tolerance:g}: {largest.k} of {n_fields} fields have {told}"
            )
            return f"{said} on validation rows.", []
        said = (
            f"The data are too small to tell which of {n_fields} fields can be dropped within a loss of {tolerance:g}: "
            f"{largest.k} fields have {told} on validation rows."
        )
        rows = self._found.lab.rows
        more = [words.needed(largest.valid, tolerance, rows["valid"], sum(rows.values()))]
        if choice is not None:
            more.append(
                f"As far as these data tell, {choice.k} fields do: on test rows "
                f"{words.difference(choice.test, tolerance)} against all. {self._at_tolerance(choice)}"
            )
        return said, more

    def _at_tolerance(self, choice: Look) -> str:
        """With which tolerance a set would be chosen: that of its own look and of all larger ones."""
        looks = [look for look in self._found.looks.values() if look is choice or (look.ranked and look.k > choice.k)]
        loss = max(-look.valid.low for look in looks)
        return f"It would be the advice with --tolerance {_up(loss)}." if loss < _BEARABLE else ""

    def _fields(self, verdict: Verdict, cut: Set | None) -> Iterable[FieldAdvice]:
        schema, record = self._found.lab.schema, self._found.whole.records[0]
        per_row = (record.embedding_bytes or 0) / max(record.vocabulary_rows or 1, 1)
        agreed, units, terms = self._found.consensus, self._found.lab.units, self._found.lab.terms
        if agreed is None:
            return
        tested = {f: one.test for one in self._found.probes for f in units.fields[one.unit]}
        groups = {f: name for name, fields in terms.groups.items() for f in fields}
        places, facts, leaks = units.places(agreed.order), self._found.lab.facts(), self._leaks()
        staying = range(schema.n_fields) if cut is None else units.of_fields(cut.kept)
        low, high = agreed.low, agreed.high
        for index in units.of_fields(self._order()):
            name, kept, locked = schema.names[index], index in staying, index in terms.locked
            yield FieldAdvice(
                name=name,
                verdict="keep" if locked else _field_verdict(verdict, kept, tested.get(index)),
                place=places[index],
                best=float(low[index]),
                worst=float(high[index]),
                embedding_bytes=round(per_row * schema.fields[index].cardinality),
                kept=kept,
                cost=tested.get(index),
                twin=", ".join(facts[name].twins) if name in facts else "",
                locked=locked,
                group=groups.get(index, ""),
                price=terms.costs.get(index, 1.0) if terms.costs else None,
                leak=leaks.get(name),
            )


def _field_verdict(verdict: Verdict, kept: bool, cost: Any) -> FieldVerdict:
    """Fields that stay are kept for certain where dropping them alone costs, or where they are far from the cut."""
    if verdict == "open":
        return "unsure"
    if kept:
        return "unsure" if cost is not None and cost.low <= 0 else "keep"
    if verdict != "drop" or (cost is not None and cost.low > 0):
        return "unsure"
    return "drop"


def seconds(trained: Trained, name: str) -> tuple[float | None, str]:
    """(median over undisturbed seeds of a time, why there is none)."""
    key, phase = _COSTS[name]
    found, reasons = [], []
    for record in trained.records:
        seconds = getattr(record, key)
        why = (record.disturbed or {}).get(phase, "resumed" if record.resumed else "")
        if seconds is not None and not why:
            found.append(seconds)
        elif why:
            reasons.append(why)
    return (median(found), "") if found else (None, reasons[0] if reasons else "not measured")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _up(loss: float) -> str:
    """A loss, rounded up to two digits."""
    scale = 10 ** (1 - math.floor(math.log10(max(loss, 1e-9))))
    return f"{math.ceil(loss * scale + 1e-9) / scale:g}"
