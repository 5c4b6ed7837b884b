"""Searched settings beside defaults, method by method: who was held back by its defaults?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.predictions import Predictions
from bench.run.settings import PARAMS
from bench.run.tuning import values_text
from bench.stats.checks import NotTestable
from bench.stats.difference import Interval, interval_of
from bench.tables.cells import Block, GroupKey, Record, RowKey, Values, blocks
from bench.tables.difference import components_of, kept_cells
from bench.tables.metrics import AUC, Metric, count, signed, significant
from bench.tables.model import REMARK, Item, Note, Table, Value
from bench.tables.naming import Names, caption, names_of, table_name, table_title
from bench.tables.notes import notes_of
from bench.tables.overall import group_of, rows_of
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["tuned_tables"]

_MEANING = (
    "Default: test AUC with the method's defaults and the profile's rate and L2; tuned: with what trials have chosen "
    "by validation AUC, the first of them having the defaults. Difference: mean over seeds of the second less the "
    "first. From, to: 95 % confidence interval over draws of the test rows{seeds}, not corrected for the number of "
    "methods. On validation: the same difference there, of the one seed of the trials, which flatters: the choice was "
    "made by it. Trials: as many for every row; given up: those among them that were stopped early. Time: PT + CT of "
    "all trials."
)
_DEFAULT = replace(AUC, name="auc_default", title="AUC, default", better=None)
_TUNED = replace(AUC, name="auc_tuned", title="AUC, tuned", better=None)
_OF_BOTH = "from these cells and those with defaults, which auc_default in this table leads to, at the same seeds"
_OF_TRIALS = "from the trials that these cells share, which their tuning tells one by one"
_of_both = partial(Metric, better=None, decimals=signed(4), origin=_OF_BOTH)
_of_search = partial(Metric, better=None, origin=_OF_TRIALS)
_DIFFERENCE = _of_both("tuned_difference", "Difference")
_LOW = _of_both("tuned_difference_low", "from")
_HIGH = _of_both("tuned_difference_high", "to")
_GAIN = _of_search("tuned_valid_gain", "on validation", decimals=signed(4))
_TRIALS = _of_search("tuned_trials", "Trials", decimals=count, counted=True)
_PRUNED = _of_search("tuned_pruned", "given up", decimals=count, counted=True)
_LR = _of_search("tuned_lr", "lr", decimals=significant(3))
_L2 = _of_search("tuned_l2", "L2", decimals=significant(3))
_PARAMS = _of_search("tuned_params", "Parameters", decimals=0)
_SECONDS = _of_search("tune_s", "Time", decimals=significant(3), unit="s")
_COLUMNS = (_DEFAULT, _TUNED, _DIFFERENCE, _LOW, _HIGH, _GAIN, _TRIALS, _PRUNED, _LR, _L2, _PARAMS, _SECONDS)


def tuned_tables(run: Run, predictions: Predictions, titles: Titles | None = None) -> list[Table]:
    """One table by backbone, τ and data set where settings were searched.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        predictions: those of the run.
        titles: names and order of data sets and backbones in print; by default those that are registered.

    Raises:
        DataError: kept predictions are not what their records say.
    """
    titles = Titles.registered() if titles is None else titles
    found = []
    for block in blocks(run, titles):
        found += [_table(block, group, predictions, titles) for group in block.groups if _searched(block.sample(group))]
    return found


def _searched(cell: Record) -> bool:
    return cell["tuning"] is not None and "space" in cell["tuning"]


def _defaults(block: Block, group: GroupKey) -> GroupKey:
    """The column of the same cells without a search."""
    tuning, profile = block.sample(group)["tuning"], json.loads(group.profile)
    profile.pop("trials")
    own = {name: tuning["default"][name] for name in ("lr", "l2")}
    return replace(group, profile=json.dumps(profile | own, sort_keys=True))


def _table(block: Block, group: GroupKey, predictions: Predictions, titles: Titles) -> Table:
    names, before = names_of(block, titles), _defaults(block, group)
    rows = [row for row in block.rows if block.at(group, row)]
    values: Values = {}
    for row in rows:
        numbers = _row(block, before, group, row, predictions)
        values |= {(group, row, metric): numbers.get(metric, Value()) for metric in _COLUMNS}
    seeds = " and seeds" if len(block.seeds(group)) > 1 else ", since there is one seed"
    return Table(
        name=table_name(block, [group]),
        backbone=block.backbone,
        tau=block.tau,
        title=table_title(names, block.tau, "Tuned against default"),
        caption=caption(block, [group], names, _MEANING.format(seeds=seeds)),
        groups=(group_of(block, group, names, _COLUMNS),),
        rows=rows_of(block, rows, names, [group], values),
        notes=(*_lacking(block, before, rows, names), *notes_of(block, values, names, titles)),
    )


def _row(block: Block, before: GroupKey, group: GroupKey, row: RowKey, predictions: Predictions) -> dict[Metric, Value]:
    """The numbers of one method, by column."""
    cells = block.ok(group, row)
    found = {_TUNED: block.value(group, row, AUC), _DEFAULT: block.value(before, row, AUC)}
    if not cells:
        return found
    tuning = next(iter(cells.values()))["tuning"]
    found |= {metric: _number(metric, number, cells) for metric, number in _told_of(tuning, cells).items()}
    own = {name: value for name, value in tuning["values"].items() if name.startswith(PARAMS)}
    found[_PARAMS] = Value(text=values_text(own) or "none declared", cells=_hashes(cells))
    both = block.by_seed(before, row, AUC).keys() & cells.keys()
    if both:
        mean = sum(cells[seed]["auc"] - block.ok(before, row)[seed]["auc"] for seed in both) / len(both)
        found[_DIFFERENCE] = _number(_DIFFERENCE, mean, {seed: cells[seed] for seed in sorted(both)})
    interval = _interval(block, before, group, row, predictions)
    if interval is not None:
        found |= {m: _number(m, end, cells) for m, end in ((_LOW, interval.low), (_HIGH, interval.high))}
    return found


def _told_of(tuning: Mapping[str, Any], cells: Mapping[int, Record]) -> dict[Metric, float]:
    """What a search says of itself."""
    trials = tuning["trials"]
    scored = [one["valid_auc"] for one in trials if one["valid_auc"] is not None]
    found: dict[Metric, float] = {
        _LR: tuning["values"]["lr"],
        _L2: tuning["values"]["l2"],
        _TRIALS: len(trials) or tuning.get("given", {}).get("trials", 0),
        _SECONDS: next(iter(cells.values()))["tune_s"],
    }
    if trials:
        found[_PRUNED] = sum(one["status"] == "pruned" for one in trials)
    if trials and trials[0]["valid_auc"] is not None:
        found[_GAIN] = max(scored) - trials[0]["valid_auc"]
    return found


def _interval(
    block: Block, before: GroupKey, group: GroupKey, row: RowKey, predictions: Predictions
) -> Interval | None:
    """Of the difference, where predictions of all seeds are kept, of the same test rows."""
    sides = [kept_cells(block, key, row, predictions) for key in (before, group)]
    old, new = sides
    if old is None or new is None or old.keys() != new.keys():
        return None
    if len({cell["predictions"]["labels_sha256"] for side in (old, new) for cell in side.values()}) > 1:
        return None
    try:
        parts = [components_of(side, predictions) for side in (old, new)]
    except NotTestable:  # a test split with a single row of a class, which notes of the data say
        return None
    return interval_of([parts[1][seed] - parts[0][seed] for seed in new])


def _number(metric: Metric, number: float, cells: Mapping[int, Record]) -> Value:
    return Value(number, None, tuple(cells), cells=_hashes(cells), text=metric.text(number))


def _hashes(cells: Mapping[int, Record]) -> tuple[str, ...]:
    return tuple(cell["config_hash"] for cell in cells.values())


def _lacking(block: Block, before: GroupKey, rows: list[RowKey], names: Names) -> list[Note]:
    """How to get the cells with defaults that are not there."""
    without = [names.rows[row] for row in rows if not block.ok(before, row)]
    lead = "No cells with defaults to compare with; run the same with --tune none into this folder"
    return [Note(REMARK, lead, (Item.listing(without),))] if without else []
