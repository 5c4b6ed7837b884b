"""Reasons to doubt a table's numbers that its records give away: times of a disturbed machine, trainings cut short.

Rows and seeds are named as briefly as they can be: no seeds where all of a row are meant, rows of one column together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from bench.environment import AT_ONCE, unlike
from bench.flags import SCARCE, rarer_class
from bench.tables.cells import Block, GroupKey, RowKey, Values
from bench.tables.metrics import AUC, CT_S, Metric, as_timed
from bench.tables.model import ABSENT, Item, Note, NoteKind
from bench.tables.naming import Names, seeds_text
from bench.tables.titles import Titles

__all__ = ["doubts", "elsewhere", "time_doubts"]

FEW_POSITIVES = 100
"""Test rows of the rarer class below which a note says how many: with a hundred, the standard error of an AUC of 0.75
is about 0.03 (Hanley and McNeil, Radiology 1982)."""
STOPPED_EARLIER = 3
"""How many times as long as the baseline a rival was trained, up to its best epoch, to be named."""
HARDLY = 0.25
"""Travel of gates below which they are said to have hardly moved: a quarter of their noise, say."""
UNSTEADY = 2
"""Ratio of the median epochs of two seeds that nothing but the machine explains."""
MEASURED_EPOCH_S = 0.05
"""Median epoch below which such a ratio says nothing."""
_DOUBT = NoteKind("doubt", joined=True)
_TIME = NoteKind("time left out", ABSENT.symbol, joined=True)
Seeds = Mapping[GroupKey, Mapping[RowKey, Sequence[int]]]


def time_doubts(block: Block, values: Values, names: Names) -> list[Note]:
    """Why times are left out, make no ratio, or are not steady."""
    timed = dict.fromkeys((group, metric) for group, _, metric in values if metric.clock is not None)
    groups = dict.fromkeys(group for group, _ in timed)
    return [
        *_disturbed(block, timed, names),
        *_elsewhere(block, timed, names),
        *_side_by_side(block, groups, names),
        *_unsteady(block, timed, groups, names),
        *_not_repeated(block, groups, names),
    ]


def doubts(block: Block, values: Values, names: Names, titles: Titles) -> list[Note]:
    """What may explain the AUC of whole rows."""
    groups = list(dict.fromkeys(group for group, _, metric in values if metric is AUC))
    rows = {group: [row for g, row, m in values if (g, m) == (group, AUC)] for group in groups}
    return [
        *_few_positives(block, groups, names),
        *_last_epoch(block, rows, names),
        *_stopped_earlier(block, rows, names),
        *_hardly_trained(block, rows, names),
        *_from_few_rows(block, rows, names),
        *_below_controls(block, rows, names, titles),
        *_begun_elsewhere(block, rows, names),
    ]


def elsewhere(block: Block, group: GroupKey) -> dict[RowKey, dict[int, str]]:
    """In what, by row and seed, cells were timed under other circumstances than the baseline's of their seed.

    Without a baseline they are compared with the first row that has the seed.
    """
    reference = block.baseline(group)
    order = [row for row in block.rows if row != reference]
    base = {} if reference is None else dict(block.ok(group, reference))
    found: dict[RowKey, dict[int, str]] = {}
    for row in order:
        for seed, cell in block.ok(group, row).items():
            if differ := unlike(as_timed(cell), as_timed(base.setdefault(seed, cell))):
                found.setdefault(row, {})[seed] = ", ".join(differ)
    return found


def _items(block: Block, found: Seeds, names: Names, detail: str = "") -> list[Item]:
    """``A, B and C (seed 1) on clicks``: rows of one column together, with the seeds where not all are meant."""
    items = []
    for group, rows in found.items():
        texts = []
        for row, seeds in rows.items():
            whole = len(seeds) == len(block.ok(group, row))
            texts.append(names.rows[row] + ("" if whole else f" ({seeds_text(seeds)})"))
        if texts:
            titles = tuple(names.rows[row] for row in rows)
            items.append(Item(f"{', '.join(texts)} on {names.groups[group]}{detail}", titles, names.groups[group]))
    return items


def _noted(kind: NoteKind, lead: str, items: Sequence[Item]) -> list[Note]:
    return [Note(kind, lead, tuple(items))] if items else []


def _disturbed(block: Block, timed: Iterable[tuple[GroupKey, Metric]], names: Names) -> list[Note]:
    """Times that other work disturbed, with the largest share that it took."""
    seeds: dict[GroupKey, dict[RowKey, list[int]]] = defaultdict(dict)
    reasons: dict[str, None] = {}
    for group, metric in timed:
        for row in block.rows:
            for seed, cell in block.ok(group, row).items():
                if reason := metric.disturbance(cell):
                    reasons[reason] = None
                    found = seeds[group].setdefault(row, [])
                    found += [] if seed in found else [seed]
    most = f" ({'e.g. ' if len(reasons) > 1 else ''}{max(reasons, key=_share)})" if reasons else ""
    return _noted(_TIME, f"times left out, because other work disturbed them{most}", _items(block, seeds, names))


def _share(reason: str) -> int:
    """The percentage in a reason; 0 where it names none."""
    return max((int(word[:-1]) for word in reason.split() if word[:-1].isdigit() and word.endswith("%")), default=0)


def _elsewhere(block: Block, timed: Iterable[tuple[GroupKey, Metric]], names: Names) -> list[Note]:
    """Times that make no ratio, and are not ranked, by what differs."""
    found: dict[str, dict[GroupKey, dict[RowKey, list[int]]]] = defaultdict(lambda: defaultdict(dict))
    for group in dict.fromkeys(group for group, _ in timed):
        for row, by_seed in elsewhere(block, group).items():
            for seed, differ in by_seed.items():
                found[differ][group].setdefault(row, []).append(seed)
    lead = "timed under other circumstances ({}), so that times make no ratio and are not ranked"
    texts = {lead.format(differ): seeds for differ, seeds in found.items()}
    return [note for text, seeds in texts.items() for note in _noted(_TIME, text, _items(block, seeds, names))]


def _side_by_side(block: Block, groups: Iterable[GroupKey], names: Names) -> list[Note]:
    """Cells that shared their machine with others of the run, by how many."""
    found: dict[int, dict[GroupKey, dict[RowKey, list[int]]]] = defaultdict(lambda: defaultdict(dict))
    for group in groups:
        for row in block.rows:
            for seed, cell in block.ok(group, row).items():
                if count := (as_timed(cell)["host"] or {}).get(AT_ONCE):
                    found[count][group].setdefault(row, []).append(seed)
    lead = (
        "timed with up to {} cells at a time on one machine, so that seconds are longer than of a cell alone, and "
        "ratios say less; --timing measures one after another"
    )
    return [note for n, seeds in found.items() for note in _noted(_DOUBT, lead.format(n), _items(block, seeds, names))]


def _unsteady(
    block: Block, timed: Iterable[tuple[GroupKey, Metric]], groups: Iterable[GroupKey], names: Names
) -> list[Note]:
    """Rows whose seeds' epochs differ in length more than seeds explain; where training times are shown."""
    trained = {group for group, metric in timed if metric.clock == "training"}
    worst: dict[GroupKey, dict[RowKey, tuple[float, str]]] = defaultdict(dict)
    for group in groups:
        for row in block.rows if group in trained else ():
            cells = {s: c for s, c in block.ok(group, row).items() if CT_S.number(c) and c["ct_epoch_s"]}
            epochs = {seed: float(cell["ct_epoch_s"]) for seed, cell in cells.items()}
            if epochs and max(epochs.values()) >= UNSTEADY * max(min(epochs.values()), MEASURED_EPOCH_S):
                slow, fast = max(epochs, key=epochs.__getitem__), min(epochs, key=epochs.__getitem__)
                detail = f" ({epochs[slow]:.3g} s with seed {slow}, {epochs[fast]:.3g} s with seed {fast})"
                worst[group][row] = (epochs[slow] / epochs[fast], detail)
    items = []
    for group, rows in worst.items():
        detail = rows[most := max(rows, key=lambda row: rows[row][0])][1]
        text = names.rows[most] if len(rows) == 1 else f"{len(rows)} rows, most of all {names.rows[most]},"
        titles = tuple(names.rows[row] for row in rows)
        items.append(Item(f"{text} on {names.groups[group]}{detail}", titles, names.groups[group]))
    return _noted(_DOUBT, "an epoch took seeds very different times, so that the machine was busy meanwhile", items)


def _not_repeated(block: Block, groups: Iterable[GroupKey], names: Names) -> list[Note]:
    """Cells whose repeats for their times gave other results than their records."""
    items = []
    for group in groups:
        for row in block.rows:
            for seed, cell in block.ok(group, row).items():
                if differs := (cell["timing"] or {}).get("differs"):
                    items.append(names.item(group, row, f", seed {seed} ({differs})"))
    return _noted(_DOUBT, "a repeat of the timing pass gave another result, so that what was timed may differ", items)


def _few_positives(block: Block, groups: Iterable[GroupKey], names: Names) -> list[Note]:
    """Columns with few test rows of a class, but for those that a flag marks."""
    items = []
    for group in groups:
        sample = block.sample(group)
        if (found := rarer_class(sample)) is not None and SCARCE <= found[0] < FEW_POSITIVES:
            title = names.groups[group]
            items.append(Item(f"{title} ({found[0]} {found[1]}s)", group=title))
    lead = f"fewer than {FEW_POSITIVES} test rows of one class, so that AUC is uncertain by some hundredths"
    return _noted(_DOUBT, lead, items)


def _last_epoch(block: Block, rows: Mapping[GroupKey, Sequence[RowKey]], names: Names) -> list[Note]:
    """Cells whose best epoch was the last that the profile allows."""
    found: dict[int, dict[GroupKey, dict[RowKey, list[int]]]] = defaultdict(lambda: defaultdict(dict))
    for group, keys in rows.items():
        for row in keys:
            for seed, cell in block.ok(group, row).items():
                most = cell["profile"].get("max_epochs")
                if most and cell["best_epoch"] and cell["best_epoch"] >= most:
                    found[int(most)][group].setdefault(row, []).append(seed)
    lead = "the best epoch was the last allowed, {}, so that longer training may be better"
    return [
        note for most, seeds in found.items() for note in _noted(_DOUBT, lead.format(most), _items(block, seeds, names))
    ]


def _stopped_earlier(block: Block, rows: Mapping[GroupKey, Sequence[RowKey]], names: Names) -> list[Note]:
    """Rows of higher AUC than the baseline's whose best epoch came three times as late or later, means over seeds."""
    items = []
    for group, keys in rows.items():
        reference = block.baseline(group)
        base = {} if reference is None else block.ok(group, reference)
        for row in keys:
            cells = block.ok(group, row)
            both = [(base[seed], cell) for seed, cell in cells.items() if seed in base]
            both = [(old, new) for old, new in both if old["best_epoch"] and new["best_epoch"]]
            if row == reference or not both:
                continue
            old, new = (fmean(pair[place]["best_epoch"] for pair in both) for place in (0, 1))
            if new >= STOPPED_EARLIER * old and fmean(pair[1]["auc"] - pair[0]["auc"] for pair in both) > 0:
                items.append(names.item(group, row, f" (best epoch {new:.3g}, {old:.3g} without selection)"))
    lead = "higher AUC than without selection, but also three times as many epochs or more until the best one"
    return _noted(_DOUBT, lead, items)


def _hardly_trained(block: Block, rows: Mapping[GroupKey, Sequence[RowKey]], names: Names) -> list[Note]:
    """Rows whose gates or controllers have not left their start, mean over seeds."""
    items = [
        names.item(group, row, f" ({_steps(told)})")
        for group, row, told in _told_of_gates(block, rows)
        if fmean(gates["travel"] for gates in told) < HARDLY
    ]
    lead = "gates or controllers hardly trained, so that the row says little of the method"
    return _noted(_DOUBT, lead, items)


def _from_few_rows(block: Block, rows: Mapping[GroupKey, Sequence[RowKey]], names: Names) -> list[Note]:
    """Rows whose gates were trained on a subset of the rows."""
    items = [
        names.item(group, row, f" ({round(fmean(gates['rows'] for gates in told)):,} rows, {_steps(told)})")
        for group, row, told in _told_of_gates(block, rows)
        if all("rows" in gates for gates in told)
    ]
    return _noted(_DOUBT, "gates were trained on a subset of the training rows", items)


def _told_of_gates(
    block: Block, rows: Mapping[GroupKey, Sequence[RowKey]]
) -> Iterator[tuple[GroupKey, RowKey, Sequence[Mapping[str, float]]]]:
    """Rows whose records say how far gates were trained, with what they say."""
    for group, keys in rows.items():
        for row in keys:
            if told := [cell["gates"] for cell in block.ok(group, row).values() if cell.get("gates")]:
                yield group, row, told


def _steps(told: Sequence[Mapping[str, float]]) -> str:
    steps = round(fmean(gates["steps"] for gates in told))
    return f"{steps:,} step{'s' if steps != 1 else ''}"


def _below_controls(
    block: Block, rows: Mapping[GroupKey, Sequence[RowKey]], names: Names, titles: Titles
) -> list[Note]:
    """Selectors that a control, which looks at no label, beats: mean AUC over the seeds that both have."""
    found: dict[str, dict[GroupKey, dict[RowKey, list[int]]]] = defaultdict(lambda: defaultdict(dict))
    for group, keys in rows.items():
        controls = [row for row in keys if titles.is_control(block.row_sample(row))]
        for row in keys:
            if row in controls or row == block.baseline(group) or block.row_sample(row)["is_baseline"]:
                continue
            worse = [names.rows[control] for control in controls if _below(block, group, row, control)]
            if worse:
                found[f" (under {', '.join(worse)})"][group][row] = list(block.ok(group, row))
    items = [item for detail, seeds in found.items() for item in _items(block, seeds, names, detail)]
    return _noted(_DOUBT, "AUC under that of a control, which looks at no click", items)


def _below(block: Block, group: GroupKey, row: RowKey, control: RowKey) -> bool:
    own, other = block.by_seed(group, row, AUC), block.by_seed(group, control, AUC)
    both = own.keys() & other.keys()
    return bool(both) and fmean(own[seed] for seed in both) < fmean(other[seed] for seed in both)


def _begun_elsewhere(block: Block, rows: Mapping[GroupKey, Sequence[RowKey]], names: Names) -> list[Note]:
    """Cells that were gone on with under circumstances that round otherwise."""
    seeds: dict[GroupKey, dict[RowKey, list[int]]] = defaultdict(dict)
    for group, keys in rows.items():
        for row in keys:
            for seed, cell in block.ok(group, row).items():
                if cell["notes"].get("begun_elsewhere"):
                    seeds[group].setdefault(row, []).append(seed)
    lead = "resumed on another machine or with other threads, so that its numbers may differ by rounding"
    return _noted(_DOUBT, lead, _items(block, seeds, names))
