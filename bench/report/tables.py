"""The tables of a run: results across data sets; and what each method costs and leaves, by data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.metrics import METRICS
from bench.report.cells import Block, GroupKey, RowKey, Values, blocks
from bench.report.model import Flag, Group, Row, Table, ranked
from bench.report.naming import Names, caption, names_of, table_name, table_title
from bench.report.notes import cell_flags, notes_of, optimizers
from bench.report.titles import Titles

if TYPE_CHECKING:
    from bench.report.cells import Run

__all__ = [
    "EFFICIENCY",
    "FIELD_FORMS",
    "OVERALL",
    "RECOVERY",
    "column_of",
    "efficiency_tables",
    "group_of",
    "overall_tables",
    "recovery_tables",
    "rows_of",
]

OVERALL = ("auc", "logloss", "tt_ratio")
"""Columns of a data set in the overall table."""
EFFICIENCY = (
    *("pt_s", "ct_s", "tt_s", "it_s", "epochs", "n_kept", "network_params", "embedding_params", "embedding_bytes"),
    *("kept_bytes", "flops_per_row", "peak_mem_bytes"),
)
"""Columns of the efficiency table; those of which a run has no number are left out."""
OPTIONAL = ("network_params", "kept_bytes", "flops_per_row", "peak_mem_bytes")
RECOVERY = ("precision_at_k", "main_recall", "interaction_recall", "attainable_auc_share", "score_cardinality_corr")
"""Columns of the recovery table; ``bench.recovery`` defines them."""
FIELD_FORMS = "Held to whole fields (budget=field)"
"""Heading of the rows below the others."""
_HEADINGS = {OVERALL: "Results", EFFICIENCY: "Cost and size", RECOVERY: "Recovery of the true fields"}
_MEANINGS = {
    OVERALL: "TT is the ratio, seed by seed, to {baseline}.",
    EFFICIENCY: (
        "PT: pretraining; CT: continued training; TT: both; IT: one pass over the test rows. Kept values: bytes of "
        "what a mask leaves of the embeddings, which keep their place all the same. Operations: of a forward pass. "
        "Peak memory: on a CPU known with --isolate only."
    ),
    RECOVERY: (
        "Precision at K: true fields among the K highest scores, K being their number, a field and its copies counted "
        "once. Attainable AUC: share of what the true probabilities reach above 0.5. Score ~ log values: rank "
        "correlation of scores with vocabulary size."
    ),
}


def overall_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """AUC, Logloss and TT of every method on every data set: one table by backbone and τ.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    return [_table(block, block.groups, OVERALL, titles) for block in blocks(run, titles)]


def efficiency_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Times, epochs and sizes of every method: one table by backbone, τ and data set; arguments as above."""
    titles = Titles.registered() if titles is None else titles
    found = blocks(run, titles)
    return [_table(block, [group], EFFICIENCY, titles) for block in found for group in block.groups]


def recovery_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """What of a known truth every method found: by backbone, τ and generated data set; arguments as above."""
    titles = Titles.registered() if titles is None else titles
    tables = []
    for block in blocks(run, titles):
        for group in block.groups:
            cells = [cell for row in block.rows for cell in block.ok(group, row).values()]
            if any(cell["recovery"] for cell in cells):
                tables.append(_table(block, [group], RECOVERY, titles))
    return tables


def _table(block: Block, groups: Sequence[GroupKey], metrics: tuple[str, ...], titles: Titles) -> Table:
    names = names_of(block, titles)
    rows = [row for row in block.rows if any(block.at(group, row) for group in groups)]
    values: Values = {}
    for group in groups:
        for metric in metrics:
            values.update(column_of(block, group, metric, rows))
    shown = _shown(metrics, values)
    values = {place: value for place, value in values.items() if place[2] in shown}
    return Table(
        name=table_name(block, [] if metrics == OVERALL else groups),
        backbone=block.backbone,
        tau=block.tau,
        title=table_title(names, block.tau, _HEADINGS[metrics]),
        caption=caption(block, groups, names, _MEANINGS[metrics]),
        groups=tuple(group_of(block, group, names, shown) for group in groups),
        rows=rows_of(block, rows, names, groups, values),
        notes=notes_of(block, values, names, titles),
    )


def _shown(metrics: tuple[str, ...], values: Values) -> tuple[str, ...]:
    """The columns without those that no cell has measured, and without kept values where nothing is masked."""

    def column(metric: str) -> list[float | None]:
        return [value.mean for (_, _, name), value in values.items() if name == metric]

    found = {metric for metric in OPTIONAL if any(number is not None for number in column(metric))}
    if column("kept_bytes") == column("embedding_bytes"):
        found.discard("kept_bytes")
    return tuple(metric for metric in metrics if metric not in OPTIONAL or metric in found)


def column_of(block: Block, group: GroupKey, metric: str, rows: Sequence[RowKey]) -> Values:
    """The flagged and ranked numbers of one column."""
    values = {row: block.value(group, row, metric) for row in rows}
    seeds = {seed for value in values.values() for seed in value.seeds}
    other = _other_optimizer(block, group, rows) if METRICS[metric].clock == "training" else set()
    below = block.below_anchor(group) is not None
    for row, value in values.items():
        flags: list[Flag] = []
        if value.seeds and set(value.seeds) != seeds:
            flags.append("†")
        if METRICS[metric].clock and any(cell["resumed"] for cell in block.ok(group, row).values()):
            flags.append("‡")
        if metric == "auc":
            flags += [flag.symbol for flag in cell_flags(block, [group], row)]
        if value.seeds and row in other:
            flags.append("¶")
        if metric == "auc" and value.seeds and below:
            flags.append("‖")
        rankable = bool(value.seeds) and not {"†", "¶"} & set(flags)
        values[row] = replace(value, flags=tuple(flags), rankable=rankable)
    marked = ranked(list(values.values()), METRICS[metric])
    return {(group, row, metric): value for row, value in zip(rows, marked, strict=True)}


def _other_optimizer(block: Block, group: GroupKey, rows: Iterable[RowKey]) -> set[RowKey]:
    """Rows whose optimizer is not the baseline's; without a baseline, all rows unless they agree."""
    used = {row: optimizers(cells.values()) for row in rows if (cells := block.ok(group, row))}
    reference = block.baseline(group)
    if reference in used:
        return {row for row, found in used.items() if found != used[reference]}
    return set(used) if len({tuple(found) for found in used.values()}) > 1 else set()


def rows_of(
    block: Block, keys: Sequence[RowKey], names: Names, groups: Sequence[GroupKey], values: Values
) -> tuple[Row, ...]:
    """Rows in table order; the first of those held to whole fields opens a set of its own."""
    rows = [_row_of(block, key, names, groups, values) for key in keys]
    first = next((i for i, key in enumerate(keys) if key in block.field_forms), None)
    if first is not None:
        rows[first] = replace(rows[first], opens=True, heading=FIELD_FORMS)
    return tuple(rows)


def _row_of(block: Block, key: RowKey, names: Names, groups: Sequence[GroupKey], values: Values) -> Row:
    sample = block.row_sample(key)
    metrics = list(dict.fromkeys(metric for _, _, metric in values))
    flagged = [] if "auc" in metrics else cell_flags(block, groups, key)
    return Row(
        method=sample["method"],
        label=key.label,
        budget=key.budget,
        title=names.rows[key],
        values=tuple(values[group, key, metric] for group in groups for metric in metrics),
        flags=tuple(flag.symbol for flag in flagged if not flag.of_data),
        uses_tau=sample["tau"] is not None,
    )


def group_of(block: Block, key: GroupKey, names: Names, metrics: tuple[str, ...]) -> Group:
    sample = block.sample(key)
    facts: dict[str, str | int | None] = {"revision": key.revision, "profile": sample["profile"].get("name")}
    facts.update({f"{split}_rows": n for split, n in sample["split_rows"].items()})
    return Group(key.dataset, names.groups[key], metrics, tuple(block.seeds(key)), facts)
