"""What a table must say under its numbers: missing cells and why, fewer seeds, low AUC, other optimizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.flags import FLAGS, RECORDED, CellFlag, flags_of
from bench.tables.cells import Block, GroupKey, Record, RowKey, Values
from bench.tables.detectable import detectable
from bench.tables.doubts import doubts, time_doubts
from bench.tables.metrics import AUC, PT_S, Metric, as_timed
from bench.tables.model import (
    ABSENT,
    BELOW_ANCHOR,
    BELOW_LINEAR,
    FEWER_SEEDS,
    OTHER_OPTIMIZER,
    REMARK,
    RESUMED,
    Item,
    Note,
    NoteKind,
)
from bench.tables.naming import Names, seeds_text
from bench.tables.origins import of_origins
from bench.tables.term_notes import notes_of_terms
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.data.store.fields import DataFields

__all__ = ["cell_flags", "merged", "notes_of", "of_data", "optimizers"]

_REASON_CHARS = 160
_AT_AN_END = NoteKind("rate at an end", joined=True)
_BY_LOT = NoteKind("by lot", joined=True)
Places = Sequence[tuple[GroupKey, RowKey]]


def cell_flags(block: Block, groups: Iterable[GroupKey], row: RowKey) -> list[CellFlag]:
    """Flags that any cell of a row carries in these columns, in the order of their notes."""
    found = {flag.name for group in groups for cell in block.ok(group, row).values() for flag in flags_of(cell)}
    return [flag for flag in FLAGS if flag.name in found]


def notes_of(block: Block, values: Values, names: Names, titles: Titles) -> tuple[Note, ...]:
    """All notes of a table that shows ``values``."""
    places = list(dict.fromkeys((group, row) for group, row, _ in values))
    return (
        *_listed(FEWER_SEEDS, "fewer seeds than others in the column, not ranked", _fewer(values, names)),
        *_listed(RESUMED, "times of resumed cells are left out", _resumed(block, values, names)),
        *(
            note
            for flag in FLAGS
            if not flag.of_data and flag is not RECORDED
            for note in _of_cells(flag, block, places, names)
        ),
        *of_origins(block, places, names),
        *_listed(
            OTHER_OPTIMIZER,
            "trained with different optimizers, not ranked by time",
            _other_optimizers(block, values, names),
        ),
        *of_data(block, values, names),
        *_absent(block, places, names),
        *time_doubts(block, values, names),
        *_without_baseline(block, values, names),
        *notes_of_terms(block, values, names),
        *_tuned(block, values, names),
        *_searched(block, values, names),
        *_penalised(block, values, names),
        *_at_an_end(block, places, names),
        *doubts(block, values, names, titles),
        *_both_twins(block, values, names, titles),
        *_shared(block, values, names),
        *_of_methods(block, values, names, titles),
        *_of_code(block, values, names),
        *_by_lot(block, values, names),
        *detectable(block, values, names),
    )


def merged(notes: Iterable[Note]) -> list[Note]:
    """The notes of the parts of one table, each once, those of one lead as one where their kind is joined."""
    found: dict[tuple[NoteKind, str, tuple[Item, ...]], dict[Item, None]] = {}
    for note in notes:
        apart = () if note.kind.joined else note.items
        found.setdefault((note.kind, note.lead, apart), {}).update(dict.fromkeys(note.items))
    return [Note(kind, lead, tuple(items)) for (kind, lead, _), items in found.items()]


def _listed(kind: NoteKind, lead: str, items: Sequence[Item]) -> list[Note]:
    return [Note(kind, lead, tuple(items))] if items else []


def _of_flag(flag: CellFlag, items: Sequence[Item]) -> list[Note]:
    return _listed(NoteKind(flag.name, flag.symbol, joined=True), f"{flag.name}, {flag.meaning}", items)


def _fewer(values: Values, names: Names) -> list[Item]:
    columns: dict[tuple[GroupKey, Metric], set[int]] = defaultdict(set)
    shown: dict[tuple[GroupKey, RowKey], list[Metric]] = defaultdict(list)
    for (group, row, metric), value in values.items():
        columns[group, metric].update(value.seeds)
        if value.seeds:
            shown[group, row].append(metric)
    items = []
    for (group, row), metrics in shown.items():
        counts: dict[tuple[int, int], list[str]] = defaultdict(list)
        for metric in metrics:
            value = values[group, row, metric]
            if FEWER_SEEDS.symbol in value.flags:
                counts[len(value.seeds), len(columns[group, metric])].append(metric.title)
        for (n, of), labels in counts.items():
            which = "" if len(labels) == len(metrics) else f" ({', '.join(labels)})"
            items.append(names.item(group, row, f" {n} of {of}{which}"))
    return items


def _flagged(kind: NoteKind, values: Values) -> Places:
    return list(dict.fromkeys((group, row) for (group, row, _), v in values.items() if kind.symbol in v.flags))


def _resumed(block: Block, values: Values, names: Names) -> list[Item]:
    items = []
    for group, row in _flagged(RESUMED, values):
        seeds = [seed for seed, cell in block.ok(group, row).items() if as_timed(cell)["resumed"]]
        items.append(names.item(group, row, f", {seeds_text(seeds)}"))
    return items


def _of_cells(flag: CellFlag, block: Block, places: Places, names: Names) -> list[Note]:
    """Which cells carry a flag: their seeds, those of one detail together."""
    items = []
    for group, row in places:
        seeds: dict[str, list[int]] = defaultdict(list)
        for seed, cell in block.ok(group, row).items():
            if (detail := flag.detail(cell)) is not None:
                seeds[f" ({detail})" if detail else ""].append(seed)
        if seeds:
            detail = "".join(f", {seeds_text(those)}{detail}" for detail, those in seeds.items())
            items.append(names.item(group, row, detail))
    return _of_flag(flag, items)


def of_data(block: Block, values: Values, names: Names) -> list[Note]:
    """Notes on the AUC of whole columns, which hold whatever the prune ratio."""
    columns = dict.fromkeys(group for group, _, metric in values if metric is AUC)
    notes = [note for flag in FLAGS if flag.of_data for note in _of_columns(flag, block, columns, names)]
    return [*notes, *_below_anchor(block, values, names), *_below_line(block, values, names)]


def _of_columns(flag: CellFlag, block: Block, columns: Iterable[GroupKey], names: Names) -> list[Note]:
    items = []
    for group in columns:
        cells = [cell for row in block.rows for cell in block.ok(group, row).values()]
        details = dict.fromkeys(detail for cell in cells if (detail := flag.detail(cell)) is not None)
        title = names.groups[group]
        items += [Item(f"{title} ({detail})", group=title) for detail in details]
    return _of_flag(flag, items)


def _below_anchor(block: Block, values: Values, names: Names) -> list[Note]:
    """Where the baseline stays under public results; nothing where it does not, or none are known."""
    items = []
    for group in dict.fromkeys(group for group, _, _ in values):
        if (numbers := block.below_anchor(group)) is not None:
            auc, wanted = map(AUC.text, numbers)
            title, source = names.groups[group], block.anchors[group.dataset].source
            items.append(Item(f"{title} {auc} of {wanted} ({source})", group=title))
    shown = any(metric is AUC for _, _, metric in values)
    lead = "BELOW-ANCHOR, without selection the AUC is under that of public results, so that training may be at fault"
    return _listed(BELOW_ANCHOR if shown else replace(BELOW_ANCHOR, symbol=""), lead, items)


def _below_line(block: Block, values: Values, names: Names) -> list[Note]:
    """Where the baseline stays under the reference line."""
    items = []
    for group in dict.fromkeys(group for group, _, _ in values):
        if (numbers := block.below_line(group)) is not None:
            auc, line = map(AUC.text, numbers)
            items.append(Item(f"{names.groups[group]} {auc} of {line}", group=names.groups[group]))
    shown = any(metric is AUC for _, _, metric in values)
    lead = (
        "BELOW-LINEAR, without selection the AUC is under that of a linear model on the same rows by more than "
        "two standard errors, so that training is at fault"
    )
    return _listed(BELOW_LINEAR if shown else replace(BELOW_LINEAR, symbol=""), lead, items)


def _other_optimizers(block: Block, values: Values, names: Names) -> list[Item]:
    return [
        names.item(group, row, f" ({', '.join(optimizers(block.ok(group, row).values()))})")
        for group, row in _flagged(OTHER_OPTIMIZER, values)
    ]


def optimizers(cells: Iterable[Record]) -> list[str]:
    return sorted({cell["optimizer"] or "unknown" for cell in cells})


def _absent(block: Block, places: Places, names: Names) -> list[Note]:
    """One note by (status, reason), naming the cells that ended so; and one for those that were never run."""
    ended: dict[str, list[Item]] = defaultdict(list)
    for group, row in places:
        cells = block.at(group, row)
        if not cells:
            ended["not run"].append(names.item(group, row))
        reasons: dict[str, list[int]] = defaultdict(list)
        for seed, found in cells.items():
            if len(found) > 1:
                hashes = ", ".join(sorted(cell["config_hash"][:8] for cell in found))
                reasons[f"several configurations under one name, not averaged (cells {hashes})"].append(seed)
            elif found[0]["status"] != "ok":
                reasons[_ending(found[0])].append(seed)
        for reason, seeds in reasons.items():
            ended[reason].append(names.item(group, row, f", {seeds_text(seeds)}"))
    return [Note(ABSENT, reason, tuple(items)) for reason, items in ended.items()]


def _ending(cell: Record) -> str:
    reason = " ".join((cell["reason"] or "").split())
    short = reason if len(reason) <= _REASON_CHARS else f"{reason[: _REASON_CHARS - 1]}…"
    return f"{cell['status']} ({short.rstrip('.')})" if short else str(cell["status"])


def _without_baseline(block: Block, values: Values, names: Names) -> list[Note]:
    """Where a ratio has no or fewer seeds than the results, because the baseline's number is missing."""
    notes = []
    for group, metric in dict.fromkeys((group, metric) for group, _, metric in values):
        if metric.ratio_of is None:
            continue
        reference = block.baseline(group)
        base = block.ok(group, reference) if reference else {}
        measured = {seed for seed, cell in base.items() if metric.ratio_of.number(cell)}
        if lacking := {seed for row in block.rows for seed in block.ok(group, row)} - measured:
            what = "time" if metric.ratio_of.clock else metric.ratio_of.title
            who = names.rows[reference] if reference else "a method that keeps every field"
            text = f"{metric.title} on {names.groups[group]} needs the {what} of {who} at {seeds_text(lacking)}"
            rows = tuple(names.rows[row] for row in block.rows if lacking & set(block.ok(group, row)))
            notes.append(Note(REMARK, "", (Item(text, rows, names.groups[group]),)))
    return notes


def _shared(block: Block, values: Values, names: Names) -> list[Note]:
    places = dict.fromkeys((group, row) for group, row, metric in values if metric is PT_S)
    shared = dict.fromkeys(
        names.rows[row]
        for group, row in places
        if any(as_timed(cell)["pt_shared"] for cell in block.ok(group, row).values())
    )
    lead = "PT computed once for several cells and charged to each in full"
    return [Note(REMARK, lead, (Item.listing(shared),))] if shared else []


def _tuned(block: Block, values: Values, names: Names) -> list[Note]:
    """From which rates the learning rates of a column's rows were chosen, columns of one grid together."""
    shown = dict.fromkeys(group for group, _, _ in values)
    grids: dict[str, list[str]] = defaultdict(list)
    for group in shown:
        tuning = block.sample(group)["tuning"]
        if tuning is not None and "grid" in tuning:
            grids[", ".join(f"{lr:g}" for lr in tuning["grid"])].append(names.groups[group])
    return [
        Note(
            REMARK,
            f"Learning rate{'' if len(groups) == len(shown) else ' on ' + ', '.join(groups)} tuned on validation AUC "
            f"over {{{rates}}} for every row, with one seed; the time of the trials is in none of the times",
        )
        for rates, groups in grids.items()
    ]


def _searched(block: Block, values: Values, names: Names) -> list[Note]:
    """In how many trials the settings of a column's rows were searched."""
    shown = dict.fromkeys(group for group, _, _ in values)
    found: dict[int, list[str]] = defaultdict(list)
    for group in shown:
        tuning = block.sample(group)["tuning"]
        if tuning is not None and "grid" not in tuning:
            found[tuning["planned"]].append(names.groups[group])
    lead = (
        "Learning rate, L2 and what each method declares{} searched in {} trials for every row, by validation AUC, "
        "with one seed; the time of the trials is in none of the times"
    )
    return [
        Note(REMARK, lead.format("" if len(groups) == len(shown) else f" on {', '.join(groups)}", trials))
        for trials, groups in found.items()
    ]


def _penalised(block: Block, values: Values, names: Names) -> list[Note]:
    """Which L2 was chosen for the columns whose data set names none."""
    items: dict[str, list[Item]] = defaultdict(list)
    for group in dict.fromkeys(group for group, _, _ in values):
        if (found := block.sample(group)["penalty"]) is not None:
            grid, title = ", ".join(f"{l2:g}" for l2 in found["grid"]), names.groups[group]
            end = {found["grid"][0]: ", the smallest", found["grid"][-1]: ", the largest"}.get(found["l2"], "")
            items[grid].append(Item(f"{found['l2']:g}{end} on {title}", group=title))
    lead = "L2 for every row, of {{{}}} the one with which a model of all fields has the highest validation AUC"
    return [Note(REMARK, lead.format(grid), tuple(found)) for grid, found in items.items()]


def _at_an_end(block: Block, places: Places, names: Names) -> list[Note]:
    """Where the best learning rate was the first or the last of its grid."""
    found: dict[tuple[str, str, float], list[Item]] = defaultdict(list)
    for group, row in places:
        tuning = next((cell["tuning"] for cell in block.ok(group, row).values() if cell["tuning"]), None)
        if tuning is not None and len(tuning.get("grid", ())) > 1:
            ends = {min(tuning["grid"]): ("smallest", "smaller"), max(tuning["grid"]): ("largest", "larger")}
            if (lr := tuning["lr"]) in ends:
                found[*ends[lr], lr].append(names.item(group, row))
    lead = "The best learning rate was the {} tried, {:g}, so that a {} one may be better"
    return [Note(_AT_AN_END, lead.format(end, lr, beyond), tuple(items)) for (end, beyond, lr), items in found.items()]


def _of_methods(block: Block, values: Values, names: Names, titles: Titles) -> list[Note]:
    """What is registered about the methods shown, the rows of one method together."""
    shown: dict[str, list[str]] = defaultdict(list)
    for row in dict.fromkeys(row for _, row, _ in values):
        shown[block.row_sample(row)["method"]].append(names.rows[row])
    notes = titles.method_notes
    return [
        Note(REMARK, ", ".join(rows), (Item(notes[method], tuple(rows)),))
        for method, rows in shown.items()
        if method in notes
    ]


def _both_twins(block: Block, values: Values, names: Names, titles: Titles) -> list[Note]:
    """Selectors that spend two of their K on fields of which either says the other, where that is known."""
    items = []
    for group, row in dict.fromkeys((group, row) for group, row, metric in values if metric is AUC):
        facts = block.facts.get(group.place)
        if facts is None or titles.is_control(block.row_sample(row)):
            continue
        seeds: dict[str, list[int]] = defaultdict(list)
        for seed, cell in block.ok(group, row).items():
            for text in _twins_kept(cell, facts):
                seeds[text].append(seed)
        items += [names.item(group, row, f" {text} ({seeds_text(those)})") for text, those in seeds.items()]
    return _listed(REMARK, "Keeps fields that are one-to-one, of which any one says all", items)


def _twins_kept(cell: Record, facts: DataFields) -> list[str]:
    """The one-to-one fields that a cell keeps together, where it drops others."""
    kept = [cell["field_names"][place] for place in cell["kept_fields"] or ()]
    if len(kept) == len(cell["field_names"]):
        return []
    known = facts.by_name
    found = dict.fromkeys(
        tuple(name for name in kept if name == one or (name in known and one in known[name].twins)) for one in kept
    )
    return [f"{', '.join(group[:-1])} and {group[-1]}" for group in found if len(group) > 1]


def _of_code(block: Block, values: Values, names: Names) -> list[Note]:
    """Where code changed between cells: the rows of a file's versions, and rows of several versions of a package."""
    rows: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    codes: dict[tuple[str, str], set[str]] = defaultdict(set)
    packages: dict[str, set[str]] = defaultdict(set)
    for group, row in dict.fromkeys((group, row) for group, row, _ in values):
        for cells in block.at(group, row).values():
            for told in filter(None, ((cell["plugins"] or {}).get("method") for cell in cells)):
                if "file" in told:
                    rows[row.label, told["file"]][names.rows[row]] = None
                    codes[row.label, told["file"]].add(row.code)
                else:
                    packages[names.rows[row]].add(f"{told['package']} {told['version']}")
    changed = [(file, tuple(titles)) for (label, file), titles in rows.items() if len(codes[label, file]) > 1]
    mixed = {row: " and ".join(sorted(found)) for row, found in packages.items() if len(found) > 1}
    lead = "was changed between cells of this run, and every version has a row of its own, named by its checksum"
    several = "Cells of several versions of a package,"
    return [
        *(Note(REMARK, f"{file} {lead}", (Item.listing(titles),)) for file, titles in changed),
        *(Note(REMARK, f"{several} {text}", (Item.listing([row]),)) for row, text in mixed.items()),
    ]


def _by_lot(block: Block, values: Values, names: Names) -> list[Note]:
    """What chance alone gives, so that no row is read against the few draws of a control."""
    items = []
    for group, metric in dict.fromkeys((group, metric) for group, _, metric in values):
        cells = [cell for row in block.rows for cell in block.ok(group, row).values()]
        known = (metric.by_lot(cell, None) for cell in cells) if metric.by_lot else ()
        expected = next((number for number in known if number is not None), None)
        if expected is not None:
            title = names.groups[group]
            items.append(Item(f"{metric.title} {metric.text(expected)} on {title}", group=title))
    return _listed(_BY_LOT, "Mean over all draws of the fields by lot", items)
