"""How alike the kept fields and the rankings are: of one method over seeds, and of the methods with each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from bench.stats.agreement import kendall_matrix, ranking_agreement, spearman_matrix
from bench.stats.checks import NotTestable
from bench.stats.stability import nogueira
from bench.tables.cells import Block, GroupKey, Record, RowKey, Values, blocks, sample_sd
from bench.tables.metrics import N_KEPT, Metric, signed
from bench.tables.model import ABSENT, FEWER_SEEDS, REMARK, Flag, Group, Item, Note, Row, Table, Value
from bench.tables.naming import Names, caption, names_of, seeds_text, table_name, table_title
from bench.tables.notes import notes_of
from bench.tables.overall import group_of, rows_of
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["STABILITY", "agreement_tables", "stability_tables"]

STABILITY = (
    Metric("nogueira", "Φ", None, signed(2)),
    Metric("nogueira_low", "from", None, signed(2)),
    Metric("nogueira_high", "to", None, signed(2)),
    N_KEPT,
    Metric("seed_spearman", "ρ", None, signed(2)),
    Metric("seed_kendall", "τ-b", None, signed(2)),
)
"""Columns of the stability table."""
MIN_SEEDS = 3
"""Seeds from which on the interval is shown: two always agree with their mean equally well."""
_STABILITY = (
    "Φ: Nogueira's stability of the kept fields over seeds, 0 for selections by lot and 1 for equal ones; from, to: "
    "asymptotic 95 % confidence interval, from three seeds on. ρ, τ-b: Spearman's and Kendall's correlation of the "
    "field scores of two seeds, mean over pairs of seeds."
)
_AGREEMENT = (
    "{measure} of the field scores of two methods at the same seed, mean over the seeds that both have. Columns are "
    "numbered as the rows."
)
Scores = dict[int, np.ndarray]
"""Field scores by seed, [F] each."""
Measure = Callable[[np.ndarray], np.ndarray]
"""Scores [M, F] -> correlations of all pairs [M, M]."""
_MEASURES: dict[Metric, tuple[str, Measure]] = {
    Metric("kendall", "τ-b", None, signed(2)): ("Kendall's τ-b", kendall_matrix),
    Metric("spearman", "ρ", None, signed(2)): ("Spearman's ρ", spearman_matrix),
}
_WHAT = {"nogueira": "kept fields", "seed": "scores"}


def stability_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Agreement over seeds: one table by backbone, τ and data set with two seeds and a method that chooses.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    found = []
    for block, group in _places(run, titles):
        rows = [row for row in block.rows if block.at(group, row)]
        choose = [row for row in rows if _chooses(list(block.ok(group, row).values()))]
        if choose and len(block.seeds(group)) > 1:
            shown = [row for row in rows if row in choose or not block.ok(group, row)]
            found.append(_stability(block, group, shown, titles))
    return found


def agreement_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Agreement between methods: a table by measure, backbone, τ and data set with two rankings; arguments as above."""
    titles = Titles.registered() if titles is None else titles
    found = []
    for block, group in _places(run, titles):
        scores = {row: by_seed for row in block.rows if (by_seed := _scores(block.ok(group, row)))}
        if len(scores) > 1 and len({len(one) for by_seed in scores.values() for one in by_seed.values()}) == 1:
            found += [_agreement(block, group, scores, titles, measure) for measure in _MEASURES]
    return found


def _places(run: Run, titles: Titles) -> Iterator[tuple[Block, GroupKey]]:
    return ((block, group) for block in blocks(run, titles) for group in block.groups)


def _chooses(cells: Sequence[Record]) -> bool:
    """Whether a method drops fields or scores them."""
    return any(cell["field_scores"] or len(cell["kept_fields"] or ()) < len(cell["field_names"]) for cell in cells)


def _scores(cells: Mapping[int, Record]) -> Scores:
    """Of the seeds that have a score for every field."""
    found = {seed: cell["field_scores"] for seed, cell in sorted(cells.items()) if cell["field_scores"]}
    return {seed: np.array(scores, dtype=np.float64) for seed, scores in found.items() if None not in scores}


def _stability(block: Block, group: GroupKey, rows: Sequence[RowKey], titles: Titles) -> Table:
    names = names_of(block, titles)
    reasons: list[Item] = []
    found: dict[RowKey, dict[Metric, Value]] = {}
    for row in rows:
        cells = block.ok(group, row)
        found[row] = {}
        for part, measure in (("nogueira", _kept_numbers), ("seed", _score_numbers)):
            try:
                numbers = measure(cells) if cells else {}
            except NotTestable as reason:
                reasons.append(Item(f"{names.rows[row]}, {_WHAT[part]}: {reason}", (names.rows[row],)))
                continue
            found[row] |= {m: _value(block, group, row, m, numbers[m.name]) for m in STABILITY if m.name in numbers}
        found[row][N_KEPT] = block.value(group, row, N_KEPT)
    values: Values = {(group, row, m): found[row].get(m, Value()) for m in STABILITY for row in rows}
    notes = list(notes_of(block, values, names, titles))
    if reasons:
        notes.append(Note(REMARK, "Not measured", tuple(reasons)))
    return Table(
        name=table_name(block, [group]),
        backbone=block.backbone,
        tau=block.tau,
        title=table_title(names, block.tau, "Stability of selections"),
        caption=caption(block, [group], names, _STABILITY),
        groups=(group_of(block, group, names, STABILITY),),
        rows=rows_of(block, rows, names, [group], values),
        notes=tuple(notes),
        by_column=False,
    )


def _kept_numbers(cells: Mapping[int, Record]) -> dict[str, float]:
    """Φ, and its interval from ``MIN_SEEDS`` on; nothing where every seed keeps all fields."""
    chosen = [cell for cell in cells.values() if cell["kept_fields"] is not None]
    kept = np.zeros((len(chosen), max((len(cell["field_names"]) for cell in chosen), default=1)))
    for line, cell in zip(kept, chosen, strict=True):
        line[cell["kept_fields"]] = 1
    stable = nogueira(kept)
    numbers = {"nogueira": stable.value}
    if len(chosen) >= MIN_SEEDS:
        numbers |= {"nogueira_low": stable.low, "nogueira_high": stable.high}
    return {metric: number for metric, number in numbers.items() if math.isfinite(number)}


def _score_numbers(cells: Mapping[int, Record]) -> dict[str, float]:
    """Mean correlations of the seeds' scores; nothing for a method without scores."""
    scores = _scores(cells)
    if not scores:
        return {}
    agreement = ranking_agreement(list(scores.values()))
    if not math.isfinite(agreement.kendall):
        raise NotTestable("at some seed all fields have the same score")
    return {"seed_spearman": agreement.spearman, "seed_kendall": agreement.kendall}


def _value(block: Block, group: GroupKey, row: RowKey, metric: Metric, number: float) -> Value:
    cells = block.ok(group, row)
    seeds = tuple(sorted(cells))
    hashes = tuple(cells[seed]["config_hash"] for seed in seeds)
    few = list(seeds) != block.seeds(group)
    return Value(number, None, seeds, (), hashes, metric.text(number), flags=(FEWER_SEEDS.symbol,) if few else ())


def _agreement(
    block: Block, group: GroupKey, scores: Mapping[RowKey, Scores], titles: Titles, measure: Metric
) -> Table:
    names, rows = names_of(block, titles), list(scores)
    whole = group_of(block, group, names, (measure,))
    facts = whole.facts | {"dataset_title": whole.title}
    numbers = _between(scores, _MEASURES[measure][1])
    lines = []
    for i, row in enumerate(rows):
        cells = block.ok(group, row)
        found = [_mean(cells, measure, numbers[i, j], block.seeds(group)) for j in range(i)]
        blank = [Value(text="")] * (len(rows) - 1 - i)
        uses_tau = block.row_sample(row)["tau"] is not None
        method, title = block.row_sample(row)["method"], f"{i + 1} {names.rows[row]}"
        lines.append(Row(method, row.label, row.budget, title, (*found, *blank), uses_tau=uses_tau))
    return Table(
        name=f"{table_name(block, [group])}-{measure.name}",
        backbone=block.backbone,
        tau=block.tau,
        title=f"{table_title(names, block.tau, f'Agreement by {_MEASURES[measure][0]}')} on {names.groups[group]}",
        caption=caption(block, [group], names, _AGREEMENT.format(measure=_MEASURES[measure][0])),
        groups=tuple(
            Group(group.dataset, str(i), (measure,), whole.seeds, facts, against=row.label)
            for i, row in enumerate(rows[:-1], 1)
        ),
        rows=tuple(lines),
        notes=(*_agreement_notes(block.seeds(group), scores, names), *_failed(block, group, names)),
        by_column=False,
    )


def _between(scores: Mapping[RowKey, Scores], measure: Measure) -> dict[tuple[int, int], dict[int, float]]:
    """Correlation by pair of rows and by seed."""
    found: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    rows = list(scores.values())
    for seed in sorted({seed for by_seed in rows for seed in by_seed}):
        here = [i for i, by_seed in enumerate(rows) if seed in by_seed]
        values = measure(np.stack([rows[i][seed] for i in here]))
        for a, i in enumerate(here):
            for b, j in enumerate(here):
                found[i, j][seed] = float(values[a, b])
    return found


def _mean(cells: Mapping[int, Record], measure: Metric, numbers: Mapping[int, float], seeds: Sequence[int]) -> Value:
    if not numbers or not all(map(math.isfinite, numbers.values())):
        return Value()
    mean = fmean(numbers.values())
    sd = sample_sd(numbers.values())
    hashes = tuple(cells[seed]["config_hash"] for seed in numbers)
    text, sd_text = measure.text(mean), "" if sd is None else f"{sd:.2f}"
    few = list(numbers) != list(seeds)
    flags: tuple[Flag, ...] = (FEWER_SEEDS.symbol,) if few else ()
    return Value(mean, sd, tuple(numbers), tuple(numbers.values()), hashes, text, sd_text, flags=flags)


def _agreement_notes(seeds: Sequence[int], scores: Mapping[RowKey, Scores], names: Names) -> tuple[Note, ...]:
    """Which seeds a method lacks, and why it has dashes."""
    lacking = {names.rows[row]: [seed for seed in seeds if seed not in found] for row, found in scores.items()}
    few = tuple(Item(f"{title} lacks {seeds_text(lost)}", (title,)) for title, lost in lacking.items() if lost)
    flat = [names.rows[row] for row, found in scores.items() if any(np.ptp(s) == 0 for s in found.values())]
    notes = [Note(FEWER_SEEDS, "over fewer seeds", few)] if few else []
    if flat:
        notes.append(Note(ABSENT, "all fields have the same score at some seed", (Item.listing(flat),)))
    return tuple(notes)


def _failed(block: Block, group: GroupKey, names: Names) -> list[Note]:
    rows = [names.rows[row] for row in block.rows if block.at(group, row) and not block.ok(group, row)]
    return [Note(ABSENT, "without a result", (Item.listing(rows),))] if rows else []
