"""From a printed number back to what made it: cells, settings, versions, command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.budget import Terms, tied_fields
from bench.errors import ConfigError, suggest
from bench.predictions import Predictions
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.formats.letters import visible
from bench.tables.cells import blocks
from bench.tables.claims import claim_tables
from bench.tables.difference import difference_tables
from bench.tables.field_terms import COUNTED
from bench.tables.kinds import GAIN, KINDS
from bench.tables.metrics import CT_S, IT_S, PT_S, Metric
from bench.tables.model import Group, Row, Table, Value
from bench.tables.overall import interval_of, tables_of
from bench.tables.stability import stability_tables
from bench.tables.titles import Titles
from bench.tables.tuned import tuned_tables

if TYPE_CHECKING:
    from bench.tables.cells import Run

_AS_ASKED = {"table2": "overall"}
"""Kinds of tables that go by another name here."""


@dataclass(frozen=True)
class Place:
    """One number of one table."""

    table: Table
    group: Group
    row: Row
    metric: Metric
    value: Value


@dataclass(frozen=True)
class Wanted:
    """Which numbers to explain; None stands for all."""

    table: str
    dataset: str
    method: str
    metric: str
    backbone: str | None = None
    tau: float | None = None


def _kinds(predictions: Predictions) -> dict[str, Callable[[Run, Titles], list[Table]]]:
    """How tables are made whose numbers can be explained, those that no report shows among them."""
    of_cells = {**{asked: KINDS[name] for asked, name in _AS_ASKED.items()}, **KINDS, "gain": GAIN}
    made: dict[str, Callable[[Run, Titles], list[Table]]] = {n: partial(tables_of, k) for n, k in of_cells.items()}
    of_rows: dict[str, Callable[[Run, Titles], list[Table]]] = {
        "difference": lambda run, titles: difference_tables(run, predictions, titles),
        "tuned": lambda run, titles: tuned_tables(run, predictions, titles),
    }
    return made | of_rows | {"stability": stability_tables, "claims": claim_tables}


class Explainer:
    """The records of a run and its tables, made once for many numbers."""

    def __init__(self, run: RunFolder) -> None:
        """Read the records.

        Raises:
            ConfigError: the folder is no run.
            DataError: a record cannot be read.
        """
        self.run = run
        records = run.require().records()
        self._by_hash = {record.config_hash: record for record in records}
        self._titles = Titles.registered()
        self._blocks = blocks(to_frame(records), self._titles)
        self._tables: dict[str, list[Table]] = {}

    def tables(self, name: str) -> list[Table]:
        """The tables of a kind.

        Raises:
            ConfigError: there is no such kind.
            DataError: kept predictions, which it is made of, are not what their records say.
        """
        known = _kinds(Predictions(self.run.predictions))
        if name not in known:
            raise ConfigError(f"table={name!r} is unknown.{suggest(name, [*known, 'fields'])}")
        if name not in self._tables:
            self._tables[name] = known[name](self._blocks, self._titles)
        return self._tables[name]

    def text(self, wanted: Wanted) -> str:
        """The numbers that ``wanted`` names, each with the cells behind it.

        Raises:
            ConfigError: the run has no such number; the message says what there is.
            DataError: kept predictions, which it is made of, are not what their records say.
        """
        places = list(_places(self.tables(wanted.table)))
        for name in ("dataset", "method", "metric", "backbone", "tau"):
            places = _narrow(places, name, getattr(wanted, name))
        cells = [[self._by_hash[one] for one in place.value.cells] for place in places]
        return "\n\n".join(_explained(place, own, self.run) for place, own in zip(places, cells, strict=True))

    def by_lot(self, metric: Metric, cells: Iterable[str]) -> float | None:
        """What fields drawn by lot have of the metric on average in the cells of these hashes, where that is known."""
        return _lot_of(metric, [self._by_hash[one] for one in cells])


def explain(run: RunFolder, wanted: Wanted) -> str:
    """The numbers that ``wanted`` names, each with the cells behind it.

    Raises:
        ConfigError: the folder is no run, or it has no such number; the message says what there is.
        DataError: a record, or predictions that the number is made of, cannot be read.
    """
    return Explainer(run).text(wanted)


def _places(tables: Sequence[Table]) -> Iterator[Place]:
    for table in tables:
        for row in table.rows:
            for (group, metric), value in zip(table.columns, row.values, strict=True):
                yield Place(table, group, row, metric, value)


_PARTS: dict[str, Callable[[Place], str | float | None]] = {
    "dataset": lambda place: place.group.dataset,
    "method": lambda place: place.row.label,
    "metric": lambda place: place.metric.name,
    "backbone": lambda place: place.table.backbone,
    "tau": lambda place: place.table.tau,
}


def _narrow(places: list[Place], name: str, asked: str | float | None) -> list[Place]:
    if asked is None:
        return places
    part = _PARTS[name]
    found = [place for place in places if part(place) == asked]
    if not found:
        known = list(dict.fromkeys(str(part(place)) for place in places))
        raise ConfigError(f"{name}={asked!r} is not in this table.{suggest(str(asked), known)}")
    return found


def _explained(place: Place, cells: Sequence[CellRecord], run: RunFolder) -> str:
    metric, value = place.metric, place.value
    sd = f" ± {value.sd_text}" if value.sd_text else ""
    sd += f" ({value.range_text})" if value.range_text else ""
    lines = [
        f"{place.table.title}",
        f"{place.row.title} on {place.group.title}: {metric.heading} = {value.text}{sd}{''.join(value.flags)}",
    ]
    lines += [f"{note.symbol} {note.text}" for note in place.table.notes if note.symbol in value.flags]
    if not cells:
        lines += [note.text for note in place.table.notes if note.about(place.row.title, place.group.title)]
    elif metric.origin:
        lines.append(metric.origin)
    elif len(cells) > 1 and value.numbers:
        lines.append(f"the mean of {len(cells)} seeds, ± their sample standard deviation")
    if (ends := interval_of(value)) is not None:
        low, high = (metric.text(end, like=value.mean) for end in ends)
        lines.append(f"95 % interval of the mean over seeds (Student's t): {low} to {high}")
    if metric.by_lot is not None and (lot := _lot_of(metric, cells)) is not None:
        lines.append(f"by lot: {metric.text(lot)}")
    settings = [_settings(cell) for cell in cells]
    shared = _shared(settings)
    for i, (cell, own) in enumerate(zip(cells, settings, strict=True)):
        number = f"{value.numbers[i]!r} " if value.numbers else ""  # a number of all seeds together has none of each
        lines += ["", f"seed {cell.seed}: {number}in {run.cell_file(cell.config_hash)}"]
        if metric.clock is not None and cell.timing is not None:
            lines += _listed(_repeats(cell.timing))
        lines += _listed({name: text for name, text in own.items() if name not in shared})
    if shared:
        lines += ["", f"the same for seeds {', '.join(str(cell.seed) for cell in cells)}:", *_listed(shared)]
    return visible("\n".join(lines))


def _lot_of(metric: Metric, cells: Sequence[CellRecord]) -> float | None:
    """What a draw by lot has of the metric in these cells, in the mean."""
    if metric.by_lot is None:
        return None
    found = [metric.by_lot(asdict(cell), None) for cell in cells]
    known = [number for number in found if number is not None]
    return fmean(known) if known else None


def _repeats(timing: Mapping[str, Any]) -> dict[str, str]:
    """The repeats of a timing pass, of whose times the medians are taken."""
    found = {}
    for metric in (PT_S, CT_S, IT_S):
        times = [metric.text(seconds) for seconds in timing[metric.name]]
        found[f"{metric.title} of {timing['repeats']} repeats"] = f"{', '.join(times)} {metric.unit}"
    for number, phases in enumerate(timing["disturbed"], 1):
        if phases:
            found[f"repeat {number}, disturbed"] = "; ".join(f"{phase.upper()}: {why}" for phase, why in phases.items())
    return found


def _shared(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What several cells agree on; nothing of a single one."""
    if len(settings) < 2:
        return {}
    first, *others = settings
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _listed(settings: Mapping[str, str]) -> list[str]:
    return [f"  {name}: {text}" for name, text in settings.items()]


def _settings(cell: CellRecord) -> dict[str, str]:
    """What the cell's result depends on."""
    fields = {
        "params": cell.params,
        "profile": cell.profile,
        "tuning": cell.tuning,
        "penalty": cell.penalty,
        "backbone_params": cell.backbone_params,
        "split_rows": cell.split_rows,
        "dataset_revision": cell.dataset_revision,
        "plugins": cell.plugins,
        "versions": cell.versions,
        "host": cell.host,
        "git": cell.git,
        "origin": cell.origin,
        "budget": cell.budget if cell.budget in COUNTED or cell.match else None,
        "embedding scalars": _held_to(cell),
        **_fields(cell),
        "command": cell.command,
    }
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def _held_to(cell: CellRecord) -> str | None:
    """The cell whose bytes this one was held to, and what these were."""
    if cell.match is None:
        return None
    said = cell.match
    return (
        f"at most {said['scalars']:,} of {said['of']:,}, as in cells/{said['config_hash'][:16]}.json ({said['label']})"
    )


def _fields(cell: CellRecord) -> dict[str, str]:
    """Names of the fields that the final model has, and of those that were dropped."""
    if cell.kept_fields is None or not cell.field_names:
        return {}
    kept = [cell.field_names[place] for place in cell.kept_fields]
    dropped = [name for name in cell.field_names if name not in kept]
    named = {"fields kept": ", ".join(kept) or "none", "fields dropped": ", ".join(dropped) or "none"}
    if cell.field_terms:
        named["what the card says of them"] = _plain(cell.field_terms)
    scores = [score for score in cell.field_scores or () if score is not None]
    return named | ({"fields tied": _tied(cell, scores)} if cell.tie_count and scores else {})


def _tied(cell: CellRecord, scores: Sequence[float]) -> str:
    """Names of the fields that share the score at the cut, and what became of them."""
    kept, terms = set(cell.kept_fields or ()), Terms.read(cell.field_terms or {}, cell.field_names)
    found = []
    for cut, tied in tied_fields(scores, kept, terms).items():
        names, stay = ", ".join(cell.field_names[place] for place in tied), sum(place in kept for place in tied)
        found.append(f"{names} (all of score {cut:.6g}; {stay} of {len(tied)} kept, by their order)")
    return "; ".join(found)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
