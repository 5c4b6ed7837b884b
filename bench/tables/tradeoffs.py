"""The answer of a run: by data set and backbone, the methods that nothing else beats in AUC and one cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.stats.front import front
from bench.tables.cells import Block, Record, RowKey
from bench.tables.metrics import AUC, EMBEDDING_BYTES, IT_S, N_KEPT, TT_S, Metric
from bench.tables.model import Row, Table, Value
from bench.tables.naming import names_of, setting
from bench.tables.overall import group_of
from bench.tables.places import Place, tau_text
from bench.tables.titles import Titles

__all__ = ["COSTS", "tradeoff_tables"]

COSTS = (TT_S, IT_S, EMBEDDING_BYTES)
"""What AUC is weighed against."""
_COLUMNS = (AUC, *COSTS, N_KEPT)
_MEANING = (
    "Methods that nothing else beats in AUC and one of the costs, by falling AUC; bold: the costs in which that is so. "
    "TT: training time; IT: one pass over the test rows. The baseline is always shown; controls do not compete. "
    "What the seeds cannot tell apart is noted under the results."
)
_MIN_ROWS = 2
Entry = tuple[Block, RowKey, float | None]


def tradeoff_tables(places: Sequence[Place], titles: Titles) -> list[Table]:
    """One table by data set and backbone with two methods or more that have AUC and a cost at every seed.

    Args:
        places: as ``bench.tables.places.places`` returns them.
        titles: names and order of data sets and backbones in print.
    """
    return [table for place in places if (table := _table(place, titles)) is not None]


def _table(place: Place, titles: Titles) -> Table | None:
    entries = list(place.entries())
    rivals = [entry for entry in entries if entry[1] not in place.controls]
    best = {metric: _front(place, rivals, metric) for metric in COSTS}
    shown = [entry for entry in rivals if _is_baseline(place, entry) or any(entry in found for found in best.values())]
    shown = [entry for entry in shown if _number(place, entry, AUC).mean is not None]
    if len(shown) < _MIN_ROWS or not any(best.values()):
        return None
    shown.sort(key=lambda entry: -(_number(place, entry, AUC).mean or 0.0))
    block = place.blocks[0]
    names = names_of(block, titles)
    columns = tuple(m for m in _COLUMNS if any(_number(place, entry, m).mean is not None for entry in shown))
    return Table(
        name=place.key,
        backbone=place.backbone_label,
        tau=None,
        title=f"Best trade-offs on {place.title}",
        caption=setting([(place.dataset, block, place.group)], _MEANING),
        groups=(replace(group_of(block, place.group, names, columns), title=place.dataset),),
        rows=tuple(_row(place, entry, columns, best) for entry in shown),
        by_column=False,
    )


def _front(place: Place, entries: Sequence[Entry], cost: Metric) -> list[Entry]:
    known = [entry for entry in entries if _number(place, entry, cost).rankable]
    known = [entry for entry in known if _number(place, entry, AUC).mean is not None]
    costs, gains = ([_number(place, entry, metric).mean or 0.0 for entry in known] for metric in (cost, AUC))
    return [known[i] for i in front(costs, gains)] if len({row for _, row, _ in known}) >= _MIN_ROWS else []


def _number(place: Place, entry: Entry, metric: Metric) -> Value:
    block, row, _ = entry
    return place.numbers(block, metric.name).get(row, Value())


def _is_baseline(place: Place, entry: Entry) -> bool:
    block, row, _ = entry
    return row == block.baseline(place.group)


def _row(place: Place, entry: Entry, columns: Sequence[Metric], best: dict[Metric, list[Entry]]) -> Row:
    block, key, tau = entry
    sample: Record = place.sample(block, key)
    values = [
        replace(_number(place, entry, metric), mark="best" if entry in best.get(metric, ()) else "")
        for metric in columns
    ]
    where = f", {tau_text(tau)}" if tau is not None and len(place.taus) > 1 else ""
    return Row(
        method=sample["method"],
        label=key.label,
        budget=key.budget,
        title=place.rows[key] + where,
        values=tuple(values),
        uses_tau=tau is not None,
        facts={"tau": None if tau is None else f"{tau:g}"},
    )
