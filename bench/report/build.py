"""What ``report`` writes into a run folder: tables in three formats, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.advising.advice import FILE, read_advice
from bench.data.store.fields import read_fields
from bench.files import write_atomically
from bench.predictions import Predictions
from bench.records import RunFolder, load_frame
from bench.report import advice as advising
from bench.report.drawing import Drawing
from bench.report.formats import csv, html, latex, markdown
from bench.tables.adaptability import adaptability_tables
from bench.tables.beside import paper_tables
from bench.tables.cells import Block, Record, blocks_of, records_of
from bench.tables.datasets import dataset_tables
from bench.tables.difference import difference_tables
from bench.tables.fields import FieldsOf, fields_of, fields_table
from bench.tables.k_sweep import sweep_tables
from bench.tables.kinds import KINDS
from bench.tables.model import Table
from bench.tables.naming import file_name
from bench.tables.overall import tables_of
from bench.tables.places import places
from bench.tables.significance import significance_tables
from bench.tables.stability import agreement_tables, stability_tables
from bench.tables.titles import Titles
from bench.tables.tradeoffs import tradeoff_tables
from bench.tables.tuned import tuned_tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["build_report"]

_ANSWER, _LEAD = "tradeoffs", "pareto-"
"""Kind of table that answers what a run is for, and how the files of the figure beside it begin."""
_FIELDS = "fields"
"""Kind of table that comes first."""
_PRINTED = 60
"""Fields that a table in LaTeX shows."""


def build_report(run: Path | RunFolder, titles: Titles | None = None) -> list[Path]:
    """Write ``tables/``, ``figures/`` and ``report.html`` of a run; the same records give the same bytes.

    Returns:
        The files written: tables, figures, and last the page that shows both.

    Raises:
        ConfigError: ``run`` is no run folder.
        DataError: a file in it is no readable record, or predictions are not those that a record names.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    titles = Titles.of_run(folder.path) if titles is None else titles
    with Drawing(len(folder.record_files())) as drawing:
        frame = load_frame(folder)
        drawing.begin(frame, titles)
        cells, facts = records_of(frame), read_fields(folder.path)
        fields, predictions = fields_of(cells, titles, facts), Predictions(folder.predictions)
        kinds = [*_answer(cells, titles), *_tables(frame, blocks_of(cells, titles, facts), predictions, titles)]
        files = _field_files(fields) if fields else {}
        files |= {name: text for kind in kinds for name, text in _table_files(*kind).items()}
        written = [_write(folder.tables / name, text.encode()) for name, text in files.items()]
        figures, lead = {}, ""
        for name, title, data in drawing.files():
            written.append(_write(folder.figures / name, data))
            if name.endswith(".svg"):
                figures[title] = data
                lead = lead or (title if name.startswith(_LEAD) else "")
    opening, own = _advice(folder)
    first = [html.Section("Fields", [fields_table(one) for one in fields], _FIELDS, leads=True)] if fields else []
    sections = [*first, *(html.Section(heading, tables, name) for name, heading, tables in kinds)]
    text = html.page(cells, sections, figures, html.Answer(_ANSWER, lead), opening)
    return [*written, *own, _write(folder.path / "report.html", text.encode())]


def _advice(folder: RunFolder) -> tuple[html.Opening | None, list[Path]]:
    """What the page opens with where the run was made for advice, and the files of that.

    Raises:
        DataError: it cannot be read.
    """
    found = read_advice(folder.path)
    if found is None:
        return None, []
    beside = (folder.path / FILE).parent
    written = [_write(beside / name, text.encode()) for name, text in advising.files(found).items()]
    drawn = advising.figure(found)
    written += [_write(folder.figures / f"advice{suffix}", data) for suffix, data in drawn.items()]
    return advising.opening(found, drawn.get(".svg")), written


def _answer(cells: Sequence[Record], titles: Titles) -> list[tuple[str, str, Sequence[Table]]]:
    """The kind of table with which the page opens; none where no two methods can be compared."""
    tables = tradeoff_tables(places(cells, titles), titles)
    return [(_ANSWER, "Best trade-offs", tables)] if tables else []


def _tables(
    frame: pd.DataFrame, placed: Sequence[Block], predictions: Predictions, titles: Titles
) -> list[tuple[str, str, Sequence[Table]]]:
    """(name of the files, heading, tables) of every kind of table that the run has cells for."""
    kinds: list[tuple[str, str, Sequence[Table]]] = [
        *((kind.name, kind.section, tables_of(kind, placed, titles)) for kind in KINDS.values()),
        ("k-sweep", "AUC over kept fields", sweep_tables(placed, titles)),
        ("stability", "Stability", stability_tables(placed, titles)),
        ("agreement", "Agreement of rankings", agreement_tables(placed, titles)),
        ("significance", "Significance", significance_tables(placed, titles)),
        ("difference", "Difference over seeds and test rows", difference_tables(placed, predictions, titles)),
        ("tuned", "Tuned against default", tuned_tables(placed, predictions, titles)),
        ("table3", "Adaptability", adaptability_tables(placed, titles)),
        ("table1", "Data sets", dataset_tables(frame, titles)),
        ("paper", "Beside the paper", paper_tables(placed, titles)),
    ]
    return [kind for kind in kinds if kind[2]]


def _field_files(fields: Sequence[FieldsOf]) -> dict[str, str]:
    """As of other tables, but a line a field in CSV, and in LaTeX the first fields of many."""
    tables = [fields_table(one) for one in fields]
    files = _table_files(_FIELDS, "Fields", [fields_table(one, _PRINTED) for one in fields])
    whole = {f"{_FIELDS}.md": markdown.document(tables, "Fields"), f"{_FIELDS}.csv": csv.fields_document(fields)}
    return files | whole


def _table_files(kind: str, heading: str, tables: Sequence[Table]) -> dict[str, str]:
    """Contents by file name: all tables of a kind in three formats, and each alone as a tabular."""
    names: list[str] = []
    for table in tables:
        names.append(file_name(table.name, names))
    tabulars = dict(zip(names, map(latex.tabular, tables), strict=True))
    return {
        f"{kind}.md": markdown.document(tables, heading),
        f"{kind}.csv": csv.document(tables),
        f"{kind}.tex": latex.document(tables),
        **{f"tabular/{kind}-{name}.tex": text for name, text in tabulars.items()},
    }


def _write(path: Path, data: bytes) -> Path:
    with write_atomically(path, "wb") as file:
        file.write(data)
    return path
