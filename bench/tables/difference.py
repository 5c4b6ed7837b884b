"""How far a method's AUC is from the baseline's, with an interval over both seeds and test rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.predictions import Predictions
from bench.stats.checks import NotTestable
from bench.stats.delong import Components, components
from bench.stats.difference import Interval, interval_of
from bench.stats.paired import holm
from bench.tables.cells import Block, GroupKey, Record, RowKey, blocks
from bench.tables.metrics import AUC, Metric, p_value, signed, significant
from bench.tables.model import REMARK, Item, Note, Table, Value
from bench.tables.naming import Names, caption, names_of, table_name, table_title
from bench.tables.notes import notes_of
from bench.tables.overall import column_of, group_of, rows_of
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["components_of", "difference_tables", "kept_cells"]

_MEANING = "Difference: mean over seeds of the AUC less that of {reference} at the same seed. From, to: 95 % "
_BOTH = (
    "confidence interval over seeds and draws of the test rows, not corrected for the number of methods. SE seeds, SE "
    "rows: standard error from each. p: two-sided, corrected by Holm's rule over the methods."
)
_ONE_SEED = (
    "confidence interval over draws of the test rows alone, since there is one seed; what another seed would change is "
    "not in it. SE rows: standard error from these. p: two-sided, corrected by Holm's rule over the methods."
)

_ORIGIN = (
    "from the kept predictions of these cells and of the baseline's, which its AUC in this table leads to, at the same "
    "seeds"
)
_of_both = partial(Metric, better=None, origin=_ORIGIN)
_NUMBERS: dict[Metric, Callable[[Interval], float]] = {
    _of_both("difference", "Difference", decimals=signed(4)): lambda found: found.mean,
    _of_both("difference_low", "from", decimals=signed(4)): lambda found: found.low,
    _of_both("difference_high", "to", decimals=signed(4)): lambda found: found.high,
    _of_both("difference_se_seeds", "SE seeds", decimals=significant(2)): lambda found: math.sqrt(found.seed_var),
    _of_both("difference_se_rows", "SE rows", decimals=significant(2)): lambda found: math.sqrt(found.row_var),
}
_BY_SEEDS = "difference_se_seeds"
_P = _of_both("difference_p", "p", decimals=p_value)


@dataclass
class _Compared:
    """The rows of one data set against its baseline."""

    found: dict[RowKey, Interval] = field(default_factory=dict)
    lacking: list[Item] = field(default_factory=list)
    """Rows whose predictions are not all there."""
    refused: list[Item] = field(default_factory=list)


def difference_tables(run: Run, predictions: Predictions, titles: Titles | None = None) -> list[Table]:
    """One table by backbone, τ and data set where predictions are kept of the baseline and of another method.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        predictions: those of the run.
        titles: names and order of data sets and backbones in print; by default those that are registered.

    Raises:
        DataError: kept predictions are not what their records say.
    """
    titles = Titles.registered() if titles is None else titles
    tables = []
    for block in blocks(run, titles):
        for group in block.groups:
            reference, rows = block.baseline(group), [row for row in block.rows if block.at(group, row)]
            if reference is None or not kept_cells(block, group, reference, predictions):
                continue
            compared = _compare(block, group, reference, rows, predictions, names_of(block, titles))
            if compared.found:
                tables.append(_table(block, group, reference, rows, compared, titles))
    return tables


def kept_cells(block: Block, group: GroupKey, row: RowKey, predictions: Predictions) -> dict[int, Record] | None:
    """Cells of a row by seed, where every seed of the table has one with predictions."""
    cells = {seed: block.ok(group, row).get(seed) for seed in block.seeds(group)}
    there = {s: cell for s, cell in cells.items() if cell and predictions.has(cell["config_hash"], cell["predictions"])}
    return there if there and len(there) == len(cells) else None


def _compare(
    block: Block,
    group: GroupKey,
    reference: RowKey,
    rows: Sequence[RowKey],
    predictions: Predictions,
    names: Names,
) -> _Compared:
    compared = _Compared()
    base_cells = kept_cells(block, group, reference, predictions) or {}
    try:
        base = components_of(base_cells, predictions)
    except NotTestable:  # a test split with a single row of a class, which notes of the data say
        return compared
    for row in rows:
        if row == reference:
            continue
        cells = kept_cells(block, group, row, predictions)
        if cells is None:
            compared.lacking.append(Item(names.rows[row], (names.rows[row],)))
        elif any(_labels(cells[seed]) != _labels(base_cells[seed]) for seed in cells):
            compared.refused.append(Item(f"{names.rows[row]}: other test rows", (names.rows[row],)))
        else:
            own = components_of(cells, predictions)
            compared.found[row] = interval_of([own[seed] - base[seed] for seed in base])
    return compared


def components_of(cells: Mapping[int, Record], predictions: Predictions) -> dict[int, Components]:
    return {
        seed: components(
            predictions.logits(cell["config_hash"], cell["predictions"]), predictions.labels(cell["predictions"])
        )
        for seed, cell in cells.items()
    }


def _labels(cell: Record) -> str:
    return str(cell["predictions"]["labels_sha256"])


def _table(
    block: Block, group: GroupKey, reference: RowKey, rows: Sequence[RowKey], compared: _Compared, titles: Titles
) -> Table:
    names, seeds = names_of(block, titles), block.seeds(group)
    values = column_of(block, group, AUC, rows)
    for metric, numbers in _numbers(compared, len(seeds)).items():
        for row in rows:
            shown = _value(block, group, row, metric, numbers[row]) if row in numbers else Value()
            values[group, row, metric] = Value(text="") if row == reference else shown
    metrics = tuple(dict.fromkeys(metric for _, _, metric in values))
    meaning = (_MEANING + (_BOTH if len(seeds) > 1 else _ONE_SEED)).format(reference=names.rows[reference])
    return Table(
        name=table_name(block, [group]),
        backbone=block.backbone,
        tau=block.tau,
        title=table_title(names, block.tau, "Difference in AUC"),
        caption=caption(block, [group], names, meaning.replace("{", "{{").replace("}", "}}")),
        groups=(replace(group_of(block, group, names, metrics), against=reference.label),),
        rows=rows_of(block, rows, names, [group], values),
        notes=(*notes_of(block, values, names, titles), *_notes(compared)),
    )


def _numbers(compared: _Compared, n_seeds: int) -> dict[Metric, dict[RowKey, float]]:
    """What the table shows, by column and row."""
    found = compared.found
    numbers = {
        metric: {row: number(interval) for row, interval in found.items()}
        for metric, number in _NUMBERS.items()
        if n_seeds > 1 or metric.name != _BY_SEEDS
    }
    corrected = holm([interval.p for interval in found.values()]).tolist()
    return {**numbers, _P: dict(zip(found, corrected, strict=True))}


def _value(block: Block, group: GroupKey, row: RowKey, metric: Metric, number: float) -> Value:
    cells = block.ok(group, row)
    hashes = tuple(cells[seed]["config_hash"] for seed in sorted(cells))
    return Value(number, None, tuple(sorted(cells)), cells=hashes, text=metric.text(number))


def _notes(compared: _Compared) -> list[Note]:
    leads = {"Not compared, for want of predictions": compared.lacking, "Not compared": compared.refused}
    return [Note(REMARK, lead, tuple(items)) for lead, items in leads.items() if items]
