"""AUC over the number of kept fields, and the area under that curve: one number for a method's whole ranking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from bench.budget import MATCH, n_keep
from bench.stats.checks import NotTestable
from bench.stats.curve import aukc
from bench.tables.cells import Block, GroupKey, RowKey, blocks, sample_sd
from bench.tables.field_terms import COUNTED
from bench.tables.metrics import AUC, Metric
from bench.tables.model import ABSENT, FEWER_SEEDS, REMARK, Item, Note, Row, Table, Value, ranked
from bench.tables.naming import Names, names_of, setting
from bench.tables.notes import merged, notes_of, of_data
from bench.tables.overall import FIELD_FORMS, column_of, group_of
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["MIN_POINTS", "sweep_tables"]

MIN_POINTS = 3
"""Prune ratios from which on a curve is tabulated."""
_MEANING = (
    "AUC with K of {fields} fields. AUKC: area between the curve of AUC over kept fields and 0.5, begun at no field, "
    "as a share of the largest possible up to K = {last}."
)
_MEANING_OF_WEIGHTS = (
    "Prune ratios are shares of embedding scalars or of values, or those of the row whose bytes a row is held to."
)
_AUKC = Metric("aukc", "AUKC", "higher", 4)
Column = dict[RowKey, Value]
_OF_FIELDS = ("field", *COUNTED)
"""Budgets of which the fields that stay are the last word."""


@dataclass(frozen=True)
class _Sweep:
    """One backbone and data set at several prune ratios."""

    group: GroupKey
    blocks: dict[float, Block]
    """By increasing τ."""
    rows: list[RowKey]
    """Those that τ moves, in table order; at least one has a result."""
    n_fields: int

    @property
    def first(self) -> Block:
        return next(iter(self.blocks.values()))

    @property
    def last(self) -> int:
        """The largest number of kept fields."""
        return max(n_keep(min(self.blocks), self.n_fields), *(self.kept(block)[1] for block in self.blocks.values()))

    def kept(self, block: Block) -> tuple[int, int]:
        """Fewest and most fields that are kept at a prune ratio of them, or of something else."""
        assert block.tau is not None
        k = n_keep(block.tau, self.n_fields)
        cells = [cell for row in self.rows if row.budget in _OF_FIELDS for cell in block.ok(self.group, row).values()]
        counts = [len(cell["kept_fields"] or ()) for cell in cells]
        return min(counts, default=k), max(counts, default=k)

    @property
    def of_fields(self) -> bool:
        """Whether the prune ratio of any row is about fields, and not of weights or values, or another row's bytes."""
        return any(row.budget != "exact" and not (row.budget or "").startswith(MATCH) for row in self.rows)

    def heading(self, block: Block) -> str:
        """Of the column of a prune ratio."""
        if not self.of_fields:
            return f"τ = {block.tau:g}"
        low, high = self.kept(block)
        return f"τ = {block.tau:g}, K = {low}" + (f" to {high}" if high > low else "")


def sweep_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """One table by backbone and data set that was run at three prune ratios or more.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    by_backbone: dict[str, dict[float, Block]] = defaultdict(dict)
    for block in blocks(run, titles):
        if block.tau is not None:
            by_backbone[block.backbone][block.tau] = block
    return [_table(sweep, titles) for found in by_backbone.values() for sweep in _sweeps(found)]


def _sweeps(by_tau: Mapping[float, Block]) -> Iterator[_Sweep]:
    for group in dict.fromkeys(group for block in by_tau.values() for group in block.groups):
        here = {tau: by_tau[tau] for tau in sorted(by_tau) if group in by_tau[tau].groups}
        moved = {
            row: block
            for block in here.values()
            for row in block.rows
            if block.at(group, row) and block.row_sample(row)["tau"] is not None
        }
        rows = sorted(moved, key=lambda row: row in moved[row].field_forms)
        cells = [cell for block in here.values() for row in rows for cell in block.ok(group, row).values()]
        if len(here) >= MIN_POINTS and cells:
            yield _Sweep(group, here, rows, len(cells[0]["field_names"]))


def _table(sweep: _Sweep, titles: Titles) -> Table:
    first, group = sweep.first, sweep.group
    names = names_of(first, titles)
    where = replace(names, rows={row: n for b in sweep.blocks.values() for row, n in names_of(b, titles).rows.items()})
    points = [_column(block, group, sweep.rows) for block in sweep.blocks.values()]
    areas, reasons = _areas(sweep, where) if sweep.of_fields else ({}, [])
    plain = group_of(first, group, names, (AUC,))
    facts = plain.facts | {"dataset_title": plain.title}
    heads = [
        replace(plain, title=sweep.heading(block), facts=facts | {"tau": f"{tau:g}"})
        for tau, block in sweep.blocks.items()
    ]
    over, meaning = "prune ratios", _MEANING_OF_WEIGHTS
    if sweep.of_fields:
        over, meaning = "kept fields", _MEANING.format(fields=sweep.n_fields, last=sweep.last)
        heads.append(replace(plain, title="Curve", metrics=(_AUKC,), facts=facts))
        points.append(areas)
    return Table(
        name="-".join([first.backbone, names_of(first, Titles()).groups[group]]),
        backbone=first.backbone,
        tau=None,
        title=f"AUC over {over} with {names.backbone} on {names.groups[group]}",
        caption=setting([("", first, group)], meaning),
        groups=tuple(heads),
        rows=_rows(sweep, where, points),
        notes=(*_notes(sweep, titles), *reasons),
    )


def _column(block: Block, group: GroupKey, rows: Sequence[RowKey]) -> Column:
    here = [row for row in rows if block.at(group, row)]
    values = column_of(block, group, AUC, here)
    return {row: values[group, row, AUC] if row in here else Value() for row in rows}


def _areas(sweep: _Sweep, names: Names) -> tuple[Column, list[Note]]:
    """AUKC over the seeds that have a result at every prune ratio, and why a row has none."""
    numbers: dict[RowKey, dict[int, float]] = {}
    reasons = []
    for row in sweep.rows:
        try:
            numbers[row] = _by_seed(sweep, row)
        except NotTestable as reason:
            numbers[row] = {}
            title = names.rows[row]
            reasons.append(Note(REMARK, f"AUKC of {title}", (Item(str(reason), (title,)),)))
    seeds = {seed for found in numbers.values() for seed in found}
    values = [_area(sweep, row, numbers[row], len(seeds)) for row in sweep.rows]
    return dict(zip(sweep.rows, ranked(values, _AUKC), strict=True)), reasons


def _by_seed(sweep: _Sweep, row: RowKey) -> dict[int, float]:
    cells = [block.ok(sweep.group, row) for block in sweep.blocks.values()]
    seeds = set.intersection(*(set(found) for found in cells))
    if not seeds:
        raise NotTestable("no seed has a result at every prune ratio")
    numbers = {}
    for seed in sorted(seeds):
        curve = sorted((len(found[seed]["kept_fields"] or ()), found[seed]["auc"]) for found in cells)
        numbers[seed] = aukc([k for k, _ in curve], [auc for _, auc in curve], k_max=sweep.last)
    return numbers


def _area(sweep: _Sweep, row: RowKey, numbers: Mapping[int, float], n_seeds: int) -> Value:
    if not numbers:
        return Value()
    mean = fmean(numbers.values())
    sd = sample_sd(numbers.values())
    cells = [block.ok(sweep.group, row)[seed]["config_hash"] for seed in numbers for block in sweep.blocks.values()]
    text, sd_text = _AUKC.text(mean), "" if sd is None else _AUKC.text(sd)
    found = Value(mean, sd, tuple(numbers), tuple(numbers.values()), tuple(cells), text, sd_text, rankable=True)
    return found if len(numbers) == n_seeds else replace(found, flags=(FEWER_SEEDS.symbol,), rankable=False)


def _rows(sweep: _Sweep, names: Names, columns: Sequence[Column]) -> tuple[Row, ...]:
    rows: list[Row] = []
    forms = {row for block in sweep.blocks.values() for row in block.field_forms}
    for key in sweep.rows:
        sample = next(block for block in sweep.blocks.values() if block.at(sweep.group, key)).row_sample(key)
        opens = key in forms and not any(row.opens for row in rows)
        values = tuple(column[key] for column in columns)
        heading = FIELD_FORMS if opens else ""
        rows.append(Row(sample["method"], key.label, key.budget, names.rows[key], values, opens=opens, heading=heading))
    return tuple(rows)


def _notes(sweep: _Sweep, titles: Titles) -> list[Note]:
    """The notes of every column, and what the baseline reaches with all fields."""
    notes: list[Note] = []
    for tau, block in sweep.blocks.items():
        names, here = names_of(block, titles), [row for row in sweep.rows if block.at(sweep.group, row)]
        title = f"{names.groups[sweep.group]} at τ = {tau:g}"
        shown = replace(names, groups={**names.groups, sweep.group: title})
        values = column_of(block, sweep.group, AUC, here)
        found = notes_of(block, values, shown, titles)
        once = {note.kind: note for note in of_data(block, values, names)}
        notes += [once.get(note.kind, note) for note in found]
        if absent := [names_of(b, titles).rows[row] for row in sweep.rows for b in _elsewhere(sweep, block, row)]:
            notes.append(Note(ABSENT, f"not run at τ = {tau:g}", (Item.listing(absent),)))
    reference = sweep.first.baseline(sweep.group)
    if reference is not None and (value := sweep.first.value(sweep.group, reference, AUC)).seeds:
        who = names_of(sweep.first, titles).rows[reference]
        notes.append(Note(REMARK, f"{who}, with all {sweep.n_fields} fields", (Item(f"AUC {value.text}", (who,)),)))
    return merged(notes)


def _elsewhere(sweep: _Sweep, block: Block, row: RowKey) -> list[Block]:
    """A block that has the row, where ``block`` lacks it."""
    if block.at(sweep.group, row):
        return []
    return [other for other in sweep.blocks.values() if other.at(sweep.group, row)][:1]
