"""What a table must say under its numbers: missing cells and why, fewer seeds, low AUC, other optimizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench.flags import FLAGS, CellFlag, flags_of
from bench.metrics import AUC, PT_S, Metric
from bench.report.cells import Block, GroupKey, Record, RowKey, Values
from bench.report.detectable import LEAD, detectable
from bench.report.model import MISSING, Flag, Note
from bench.report.naming import Names, seed_list
from bench.report.titles import Titles

__all__ = ["cell_flags", "merged", "notes_of", "of_data", "optimizers"]

_REASON_CHARS = 160
_AT_AN_END = "The best learning rate was"


def cell_flags(block: Block, groups: Iterable[GroupKey], row: RowKey) -> list[CellFlag]:
    """Flags that any cell of a row carries in these columns, in the order of their notes."""
    found = {flag.name for group in groups for cell in block.ok(group, row).values() for flag in flags_of(cell)}
    return [flag for flag in FLAGS if flag.name in found]


def notes_of(block: Block, values: Values, names: Names, titles: Titles) -> tuple[Note, ...]:
    """All notes of a table that shows ``values``."""
    places = list(dict.fromkeys((group, row) for group, row, _ in values))
    notes = [
        _note("†", "fewer seeds than others in the column, not ranked", _fewer(values, names)),
        _note("‡", "times of resumed cells are left out", _resumed(block, values, names)),
        *(_of_cells(flag, block, places, names) for flag in FLAGS if not flag.of_data),
        _note("¶", "trained with different optimizers, not ranked by time", _optimizers(block, values, names)),
        *of_data(block, values, names),
        *(Note(MISSING, text) for text in _absent(block, places, names)),
        *(Note("", text) for text in _without_baseline(block, values, names)),
        *(Note("", text) for text in _tuned(block, values, names)),
        *(Note("", text) for text in _at_an_end(block, places, names)),
        *(Note("", text) for text in _shared(block, values, names)),
        *(Note("", text) for text in _of_methods(block, values, names, titles)),
        *(Note("", text) for text in detectable(block, values, names)),
    ]
    return tuple(note for note in notes if note is not None)


def merged(notes: Iterable[Note]) -> list[Note]:
    """The notes of the parts of one table, each once, those that explain one flag or detect differences as one."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for note in notes:
        lead, colon, items = note.text.partition(": ")
        listing = lead.startswith((LEAD.partition("{")[0], _AT_AN_END))
        joined = colon and (note.symbol not in ("", MISSING) or listing)
        parts = found[note.symbol, lead if joined else note.text]
        if joined and (items := items.removesuffix(".")) not in parts:
            parts.append(items)
    return [Note(symbol, f"{lead}: {'; '.join(p)}." if p else lead) for (symbol, lead), p in found.items()]


def _note(symbol: Flag, lead: str, items: Sequence[str]) -> Note | None:
    return Note(symbol, f"{lead}: {'; '.join(items)}.") if items else None


def _fewer(values: Values, names: Names) -> list[str]:
    columns: dict[tuple[GroupKey, Metric], set[int]] = defaultdict(set)
    shown: dict[tuple[GroupKey, RowKey], list[Metric]] = defaultdict(list)
    for (group, row, metric), value in values.items():
        columns[group, metric].update(value.seeds)
        if value.seeds:
            shown[group, row].append(metric)
    texts = []
    for (group, row), metrics in shown.items():
        counts: dict[tuple[int, int], list[str]] = defaultdict(list)
        for metric in metrics:
            value = values[group, row, metric]
            if "†" in value.flags:
                counts[len(value.seeds), len(columns[group, metric])].append(metric.title)
        for (n, of), labels in counts.items():
            which = "" if len(labels) == len(metrics) else f" ({', '.join(labels)})"
            texts.append(f"{names.at(group, row)} {n} of {of}{which}")
    return texts


def _resumed(block: Block, values: Values, names: Names) -> list[str]:
    flagged = dict.fromkeys((group, row) for (group, row, _), value in values.items() if "‡" in value.flags)
    return [
        f"{names.at(group, row)}, {_seeds(s for s, c in block.ok(group, row).items() if c['resumed'])}"
        for group, row in flagged
    ]


def _of_cells(flag: CellFlag, block: Block, places: Sequence[tuple[GroupKey, RowKey]], names: Names) -> Note | None:
    """Which cells carry a flag: their seeds, those of one detail together."""
    items = []
    for group, row in places:
        seeds: dict[str, list[int]] = defaultdict(list)
        for seed, cell in block.ok(group, row).items():
            if (detail := flag.detail(cell)) is not None:
                seeds[f" ({detail})" if detail else ""].append(seed)
        if seeds:
            items.append(", ".join([names.at(group, row), *(f"{_seeds(s)}{detail}" for detail, s in seeds.items())]))
    return _note(flag.symbol, f"{flag.name}, {flag.meaning}", items)


def of_data(block: Block, values: Values, names: Names) -> list[Note]:
    """Notes on the AUC of whole columns, which hold whatever the prune ratio."""
    columns = dict.fromkeys(group for group, _, metric in values if metric is AUC)
    notes = [_of_columns(flag, block, columns, names) for flag in FLAGS if flag.of_data]
    return [note for note in (*notes, _below_anchor(block, values, names)) if note is not None]


def _of_columns(flag: CellFlag, block: Block, columns: Iterable[GroupKey], names: Names) -> Note | None:
    items = []
    for group in columns:
        cells = [cell for row in block.rows for cell in block.ok(group, row).values()]
        details = dict.fromkeys(detail for cell in cells if (detail := flag.detail(cell)) is not None)
        items += [f"{names.groups[group]} ({detail})" for detail in details]
    return _note(flag.symbol, f"{flag.name}, {flag.meaning}", items)


def _below_anchor(block: Block, values: Values, names: Names) -> Note | None:
    """Where the baseline stays under public results; None where it does not, or none are known."""
    found = []
    for group in dict.fromkeys(group for group, _, _ in values):
        if (numbers := block.below_anchor(group)) is not None:
            auc, wanted = map(AUC.text, numbers)
            found.append(f"{names.groups[group]} {auc} of {wanted} ({block.anchors[group.dataset].source})")
    shown = any(metric is AUC for _, _, metric in values)
    lead = "BELOW-ANCHOR, without selection the AUC is under that of public results, so that training may be at fault"
    return Note("‖" if shown else "", f"{lead}: {'; '.join(found)}.") if found else None


def _optimizers(block: Block, values: Values, names: Names) -> list[str]:
    flagged = dict.fromkeys((group, row) for (group, row, _), value in values.items() if "¶" in value.flags)
    return [
        f"{names.at(group, row)} ({', '.join(optimizers(block.ok(group, row).values()))})" for group, row in flagged
    ]


def optimizers(cells: Iterable[Record]) -> list[str]:
    return sorted({cell["optimizer"] or "unknown" for cell in cells})


def _absent(block: Block, places: Sequence[tuple[GroupKey, RowKey]], names: Names) -> list[str]:
    """One line by (status, reason), naming the cells that ended so; and one for those that were never run."""
    ended: dict[str, list[str]] = defaultdict(list)
    for group, row in places:
        cells = block.at(group, row)
        where = f"{names.at(group, row)}"
        if not cells:
            ended["not run"].append(where)
        reasons: dict[str, list[int]] = defaultdict(list)
        for seed, found in cells.items():
            if len(found) > 1:
                hashes = ", ".join(sorted(cell["config_hash"][:8] for cell in found))
                reasons[f"several configurations under one name, not averaged (cells {hashes})"].append(seed)
            elif found[0]["status"] != "ok":
                reasons[_ending(found[0])].append(seed)
        for reason, seeds in reasons.items():
            ended[reason].append(f"{where}, {_seeds(seeds)}")
    return [f"{reason}: {'; '.join(cells)}." for reason, cells in ended.items()]


def _ending(cell: Record) -> str:
    reason = " ".join((cell["reason"] or "").split())
    short = reason if len(reason) <= _REASON_CHARS else f"{reason[: _REASON_CHARS - 1]}…"
    return f"{cell['status']} ({short.rstrip('.')})" if short else str(cell["status"])


def _without_baseline(block: Block, values: Values, names: Names) -> list[str]:
    """Where a ratio has no or fewer seeds than the results, because the baseline's number is missing."""
    texts = []
    for group, metric in dict.fromkeys((group, metric) for group, _, metric in values):
        if metric.ratio_of is None:
            continue
        reference = block.baseline(group)
        base = block.ok(group, reference) if reference else {}
        measured = {seed for seed, cell in base.items() if metric.ratio_of.number(cell)}
        if lacking := {seed for row in block.rows for seed in block.ok(group, row)} - measured:
            what = "time" if metric.ratio_of.clock else metric.ratio_of.title
            who = names.rows[reference] if reference else "a method that keeps every field"
            texts.append(f"{metric.title} on {names.groups[group]} needs the {what} of {who} at {_seeds(lacking)}.")
    return texts


def _shared(block: Block, values: Values, names: Names) -> list[str]:
    places = dict.fromkeys((group, row) for group, row, metric in values if metric is PT_S)
    shared = dict.fromkeys(
        names.rows[row] for group, row in places if any(cell["pt_shared"] for cell in block.ok(group, row).values())
    )
    return [f"PT computed once for several cells and charged to each in full: {', '.join(shared)}."] if shared else []


def _tuned(block: Block, values: Values, names: Names) -> list[str]:
    """From which rates the learning rates of a column's rows were chosen, columns of one grid together."""
    shown = dict.fromkeys(group for group, _, _ in values)
    grids: dict[str, list[str]] = defaultdict(list)
    for group in shown:
        tuning = block.sample(group)["tuning"]
        if tuning is not None:
            grids[", ".join(f"{lr:g}" for lr in tuning["grid"])].append(names.groups[group])
    return [
        f"Learning rate{'' if len(groups) == len(shown) else ' on ' + ', '.join(groups)} tuned on validation AUC over "
        f"{{{rates}}} for every row, with one seed; the time of the trials is in none of the times."
        for rates, groups in grids.items()
    ]


def _at_an_end(block: Block, places: Sequence[tuple[GroupKey, RowKey]], names: Names) -> list[str]:
    """Where the best learning rate was the first or the last of its grid."""
    found: dict[tuple[str, str, float], list[str]] = defaultdict(list)
    for group, row in places:
        tuning = next((cell["tuning"] for cell in block.ok(group, row).values() if cell["tuning"]), None)
        if tuning is not None and len(tuning["grid"]) > 1:
            ends = {min(tuning["grid"]): ("smallest", "smaller"), max(tuning["grid"]): ("largest", "larger")}
            if (lr := tuning["lr"]) in ends:
                found[*ends[lr], lr].append(names.at(group, row))
    return [
        f"{_AT_AN_END} the {end} tried, {lr:g}, so that a {beyond} one may be better: {'; '.join(rows)}."
        for (end, beyond, lr), rows in found.items()
    ]


def _of_methods(block: Block, values: Values, names: Names, titles: Titles) -> list[str]:
    """What is registered about the methods shown, the rows of one method together."""
    shown: dict[str, list[str]] = defaultdict(list)
    for row in dict.fromkeys(row for _, row, _ in values):
        shown[block.row_sample(row)["method"]].append(names.rows[row])
    notes = titles.method_notes
    return [f"{', '.join(rows)}: {notes[method]}." for method, rows in shown.items() if method in notes]


def _seeds(seeds: Iterable[int]) -> str:
    numbers = list(seeds)
    return f"seed{'s' if len(numbers) > 1 else ''} {seed_list(numbers)}"
