"""About how long a run will take, as a range: from the pace of its models, epochs, and what methods cost.

A cell is a search and a training, then an evaluation. Where the run folder holds cells of the same method, data set
and backbone, their seconds count. Otherwise a method costs what its entry declares, in trainings of the model with all
fields; and such a training takes the epochs of recorded cells, or a guess. Methods err one by one: their half widths
add up in squares.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench import environment
from bench.profiles import Profile
from bench.records import CellRecord
from bench.registry import Span
from bench.run.conditions import conditions
from bench.run.estimate import Pace
from bench.run.executors import executors
from bench.run.grid import Cell
from bench.run.job import ResolvedCell
from bench.run.selections import SelectionStore, is_shared, shared_key
from bench.run.session import SELECTIONS, Plan, Session
from bench.run.skips import foreseen
from bench.run.timing import one_at_a_time, to_do
from bench.run.tuning import SEED, Trials

NOISE: Span = (0.85, 1.25)
"""What a machine makes of the same work, from one time to another."""
INFERENCE_PASSES = 8
"""Passes over the test rows: quality, warm-up and those that are timed, with their smaller batches."""
CELL_S: Span = (0.3, 1.0)
"""Seconds of a cell beside its work: the smallest evaluation, single rows, the record."""
PROCESS_S: Span = (3.0, 8.0)
"""Seconds that a process of its own takes until its cell begins: libraries, then settings, rows and warm-up anew."""
FORKED_S: Span = (1.0, 4.0)
"""The same under Linux, where it is forked with the libraries loaded."""
RUN_S: Span = (3.0, 15.0)
"""Seconds of a run beside its cells: start, rows, warm-up, and the report."""
_Key = tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """What is left to do of one method with one data set and backbone."""

    label: str
    searches: int
    """Each ranking that cells share counts once."""
    trainings: int
    cells: int
    search: Span
    """In trainings of the model with all fields."""
    retrain: Span


@dataclass(frozen=True)
class Forecast:
    """Of the cells and trials of one data set and backbone that are not done."""

    pace: Pace
    cells: int
    trials: int
    epochs: Span
    basis: str
    """Where the epochs come from."""
    seconds: Span | None
    """None where the pace is not known."""
    repeats: int = 0
    """What a timing pass would compute again."""
    timing: Span | None = (0.0, 0.0)
    """Seconds of those."""
    skips: Mapping[Cell, str] = field(default_factory=dict)
    """Cells that will be skipped, which nothing else here counts, and why."""
    unmeasured: tuple[str, ...] = ()
    """Methods of which no cell was timed as this run's will be: they cost what they would in one process."""


def forecasts(session: Session, paces: Sequence[Pace]) -> list[Forecast]:
    """One forecast for every pace."""
    left = pending(session)
    records = session.folder.records() if session.folder.cells.is_dir() else []
    ranked: set[str] = set()
    found = []
    for pace in paces:
        place = (pace.size.cell.dataset, pace.size.cell.backbone)
        found.append(_forecast(session, pace, left[place], records, ranked))
    return found


def pending(session: Session) -> dict[_Key, list[Cell]]:
    """The cells that the run would compute, by data set and backbone; those with nothing left have no cells."""
    left: dict[_Key, list[Cell]] = defaultdict(list)
    for cell in session.plan.cells():
        if session.done(cell) is None:
            left[cell.dataset, cell.backbone].append(cell)
    return left


def _forecast(
    session: Session, pace: Pace, left: Sequence[Cell], records: Sequence[CellRecord], ranked: set[str]
) -> Forecast:
    size, profile = pace.size, session.profile(pace.size.cell.dataset)
    more = _untried(session, session.penalty(size.cell)) if left else 0
    skips = foreseen(session, left)
    left = [cell for cell in left if cell not in skips]
    units = {replace(cell, seed=SEED) for cell in left}
    tunings = {unit: session.tuning(unit) for unit in units}
    trials = {unit: _untried(session, tuning) for unit, tuning in tunings.items() if tuning is not None}
    tries = sum(trials.values()) + more
    like = [record for record in records if _is_like(record, session, size.cell)]
    epochs, basis = epochs_of(like, profile)
    seconds, again, repeats = None, None, _repeats(session, size.cell, skips)
    unmeasured: tuple[str, ...] = ()
    number = sum(one.cells for one in repeats)
    if pace.epoch_s is not None:
        training_s = pace.epoch_s + (pace.valid_s or 0.0) / profile.evaluate_every
        work = [_work(session, cells, trials, ranked) for cells in _by_label(left).values()]
        work += _penalties(session, more)
        timed, alone = (_timed(like, plan) for plan in (session.plan, _one_by_one(session.plan)))
        unmeasured = _unmeasured(work, timed)
        trainings_s = epochs[0] * training_s, epochs[1] * training_s
        fixed = _fixed_s(pace, len(left), len(left) + tries, _start_s(session.plan.config.executor_name))
        seconds = _noisy(_spent(work, timed, trainings_s), fixed) if work else (0.0, 0.0)
        fixed = _fixed_s(pace, number, number, _start_s("process"))
        again = _noisy(_spent(repeats, alone, trainings_s), fixed) if repeats else (0.0, 0.0)
    return Forecast(pace, len(left), tries, epochs, basis, seconds, number, again, skips, unmeasured)


def _noisy(spent: Span, fixed: Span) -> Span:
    return spent[0] * NOISE[0] + fixed[0], spent[1] * NOISE[1] + fixed[1]


def _repeats(session: Session, place: Cell, skips: Container[Cell]) -> list[Work]:
    """What a timing pass computes again, of which every repeat searches by itself."""
    if session.plan.config.timing is None:
        return []
    here = (one for one in session.plan.cells() if (one.dataset, one.backbone) == (place.dataset, place.backbone))
    cells = [one for one in here if one not in skips]
    found = []
    for label, own in _by_label(cells).items():
        choice, count = session.plan.methods[label], to_do(session, own)
        search = choice.search_cost(session.facts(place.dataset).schema.n_fields)
        found += [Work(label, count, count, count, search, choice.entry.retrain_cost)] if count else []
    return found


def epochs_of(like: Sequence[CellRecord], profile: Profile) -> tuple[Span, str]:
    """(fewest and most epochs of a training with all fields, where they come from).

    Without records, in evaluations: a first one and those without gain that patience allows, at least; at most as many
    more before the best one (two where patience is one), or thrice the least where the rate falls after no gain.
    """
    seen = [record for record in like if record.is_baseline] or like
    counts = [record.epochs for record in seen if record.epochs]
    if counts:
        return (min(counts), max(counts)), f"from {len(counts)} record{'s' if len(counts) > 1 else ''}"
    least = profile.patience + 1
    most = least + max(profile.patience, 2) if profile.lr_decay is None else 3 * least
    low, high = (min(count * profile.evaluate_every, profile.max_epochs) for count in (least, most))
    return (low, high), "guessed"


def _by_label(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.method].append(cell)
    return found


def _work(session: Session, cells: Sequence[Cell], trials: dict[Cell, int], ranked: set[str]) -> Work:
    """What the cells of one method take; rankings that they share with others are noted in ``ranked``."""
    choice = session.plan.methods[cells[0].method]
    more = sum(trials.get(unit, 0) for unit in {replace(cell, seed=SEED) for cell in cells})
    searches = sum(_searches(session, session.cell(cell), ranked) for cell in cells)
    n_fields = session.facts(cells[0].dataset).schema.n_fields
    costs = choice.search_cost(n_fields), choice.entry.retrain_cost
    return Work(choice.label, searches + more, len(cells) + more, len(cells), *costs)


def _untried(session: Session, tuning: Trials | None) -> int:
    """Trials that the run would make; those that are kept are forgotten where all is computed again."""
    if tuning is None:
        return 0
    return tuning.planned if session.plan.config.rerun == "always" else len(tuning.missing)


def _penalties(session: Session, n: int) -> list[Work]:
    """What ``n`` trials of the L2 take."""
    baseline = session.plan.baseline
    entry = baseline.entry
    return [Work(baseline.label, n, n, 0, entry.search_cost, entry.retrain_cost)] if n else []


def _searches(session: Session, cell: ResolvedCell, ranked: set[str]) -> bool:
    """Whether a cell searches by itself, and not with the ranking of another or of an earlier run."""
    if cell.method.error is not None or cell.backbone.error is not None:
        return False
    method = cell.method.make()
    if not is_shared(method):
        return True
    key = shared_key(cell.identity, method)
    new = key not in ranked and SelectionStore(session.folder.path / SELECTIONS).read(key) is None
    ranked.add(key)
    return new


def _is_like(record: CellRecord, session: Session, cell: Cell) -> bool:
    """Whether a record is of the same data, backbone and profile, its rate apart."""
    found = session.cell(cell)
    mine, theirs = found.record().profile, record.profile
    names = {name for name in (mine | theirs) if name not in ("set", "lr")}
    same = (record.dataset, record.backbone) == (cell.dataset, cell.backbone)
    rows = record.split_rows == found.data.split_rows and record.status == "ok"
    return same and rows and all(_plain(mine.get(name)) == _plain(theirs.get(name)) for name in names)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _timed(like: Iterable[CellRecord], plan: Plan) -> list[CellRecord]:
    """Records whose seconds are of this machine, with as many threads and workers as the cells of ``plan`` have."""
    wanted = conditions(plan)
    return [one for one in like if not one.resumed and _paced(vars(one)) == _paced(wanted)]


def _paced(where: Mapping[str, Any]) -> tuple[Any, ...]:
    host = where["host"] or {}
    return where["device"], where["threads"], host.get("cpu"), host.get(environment.WORKERS, 1)


def _one_by_one(plan: Plan) -> Plan:
    """``plan`` as a timing pass computes its cells."""
    return replace(plan, config=replace(plan.config, executor=one_at_a_time(plan.config), workers_per_cell=1))


def _unmeasured(work: Iterable[Work], timed: Iterable[CellRecord]) -> tuple[str, ...]:
    known = {record.label for record in timed}
    return tuple(dict.fromkeys(one.label for one in work if one.label not in known))


def _spent(work: Sequence[Work], timed: Sequence[CellRecord], training_s: Span) -> Span:
    """Seconds of all searches and trainings, where one with all fields takes ``training_s``."""
    ends = []
    for end, sign in ((0, -1), (1, 1)):
        middle, squares = 0.0, 0.0
        for one in work:
            seen = [record for record in timed if record.label == one.label]
            low, high = _seconds_of(one, seen, training_s[end])
            middle += (low + high) / 2
            squares += ((high - low) / 2) ** 2
        ends.append(middle + sign * math.sqrt(squares))
    return max(ends[0], 0.0), ends[1]


def _seconds_of(one: Work, seen: Sequence[CellRecord], training_s: float) -> Span:
    """Seconds of one method's searches and trainings."""
    if seen:
        search = [record.pt_s or 0.0 for record in seen]
        retrain = [record.ct_s or 0.0 for record in seen]
        low, high = ((one.searches * pick(search) + one.trainings * pick(retrain)) for pick in (min, max))
        return low, high
    low, high = (one.searches * one.search[end] + one.trainings * one.retrain[end] for end in (0, 1))
    return low * training_s, high * training_s


def _start_s(executor: str) -> Span:
    """Seconds before a cell begins, as ``executor`` starts its process."""
    if executor == "inline":
        return 0.0, 0.0
    forked = sys.platform == "linux" and executors().entry(executor.partition(":")[0]).here
    return FORKED_S if forked else PROCESS_S


def _fixed_s(pace: Pace, cells: int, processes: int, start: Span) -> Span:
    """Seconds of evaluation, and of processes that take ``start`` each to begin."""
    rows = pace.size.rows
    passes = INFERENCE_PASSES * (pace.valid_s or 0.0) * rows["test"] / max(rows["valid"], 1)
    low, high = (cells * (passes * NOISE[end] + CELL_S[end]) + processes * start[end] for end in (0, 1))
    return low, high


def total(found: Sequence[Forecast], at_once: int = 1) -> Span | None:
    """Seconds of the whole run; None where a part is not known.

    Of cells side by side the least is their share; at most they gain nothing, as they share cores and memory bandwidth.
    """
    if any(part is None for one in found for part in (one.seconds, one.timing)):
        return None
    cells = [one.seconds for one in found if one.seconds is not None]
    timing = [one.timing for one in found if one.timing is not None]  # one after another, whatever the run does
    low, high = (RUN_S[end] + sum(part[end] for part in timing) for end in (0, 1))
    return low + sum(part[0] for part in cells) / at_once, high + sum(part[1] for part in cells)
