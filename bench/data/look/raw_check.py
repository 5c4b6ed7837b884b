"""What of a raw table does not fit a card: columns, then the values of a bounded sample, each column for itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from bench.data.card.card import DatasetCard
from bench.data.card.labels import LabelValues, check_labels
from bench.data.card.layout import Column, Layout
from bench.data.look.sample import PIECE_BYTES, Spread, piece_bytes
from bench.data.prepare.tables import Tables, choose_tables
from bench.data.raw.chunks import chunks
from bench.data.raw.dialect import Chunk, Dialect
from bench.data.raw.fields import FieldBlock, make_fields
from bench.data.raw.header import column_faults, read_names
from bench.data.raw.markers import number_markers, without_markers
from bench.data.raw.parquet import Batch, ParquetReader, column_names
from bench.data.raw.readers import BlockParser, RawBlock
from bench.data.raw.signatures import is_parquet, refuse_binary
from bench.data.raw.sources import RawSource, shown
from bench.data.raw.text_stream import TextStream
from bench.errors import DataError

Fault = tuple[str, str]
"""The column that it is about, or nothing, and what is wrong."""
_MOST_PIECES = 16
"""Pieces with faults that are read column by column."""


@dataclass(frozen=True)
class CheckedRaw:
    """What a look at a raw table has told."""

    faults: tuple[Fault, ...]
    rows: int
    """Looked at."""
    n_rows: int
    """There are; lines, where rows may run over several."""


@dataclass(frozen=True)
class _Piece:
    """Rows as they lie."""

    part: Any
    layout: Layout
    """The card's, with the columns of this file: those it lacks are left out, those it has besides are ignored."""
    parse: Callable[[Layout, Any], RawBlock]


def check_raw(card: DatasetCard, raw: Path | Sequence[Path], folder: Path) -> CheckedRaw:
    """Compare the raw data at ``raw`` with ``card``.

    Args:
        card: not of generated data.
        raw: as ``--raw`` names it.
        folder: takes the copy of a Parquet table inside an archive.

    Raises:
        DataError: there is no table, or it is no text and no Parquet.
    """
    with RawSource(raw, card.max_expansion, card.column_names) as source:
        tables = choose_tables(card, source)
        if tables.layout.format != "table":
            return CheckedRaw((), 0, 0)
        spread: Spread[_Piece] = Spread()
        faults: list[Fault] = []
        n_rows = 0
        for member in (*tables.members, *tables.tests):
            for piece, rows, size in _pieces(source, member, tables.layout, folder, faults):
                spread.add(piece, rows, size)
                n_rows += rows
        if not n_rows and not faults:
            raise DataError(f"{tables.shown}: there are no rows below the header; pass the file with the rows.")
        looked_at = sum(rows for _, rows, _ in spread.kept)
        label = tables.layout.label.name
        if n_rows and all(label in {column.name for column in piece.layout.columns} for piece in spread.pieces):
            faults += _value_faults(tables, spread.pieces, is_whole=looked_at == n_rows)
    return CheckedRaw(tuple(dict.fromkeys(faults)), looked_at, n_rows)


def _pieces(
    source: RawSource, member: str, layout: Layout, folder: Path, faults: list[Fault]
) -> Iterator[tuple[_Piece, int, int]]:
    """The rows of ``member`` with their number and size, after its columns were compared."""
    raw, name, folders = source.stream(member), shown(member), source.partition(member)
    if is_parquet(raw.head):
        yield from _batches(source.seekable_file(member, folder), layout, name, faults, folders)
        return
    refuse_binary(raw.head, raw.name, layout.encoding, layout.delimiter)
    stream = TextStream(raw, layout)
    header, rest = read_names(stream, layout, PIECE_BYTES, folders)
    fitted = _fitted([*header.names], layout, name, faults, folders)

    def parse(wanted: Layout, chunk: Chunk) -> RawBlock:
        return BlockParser(wanted, header).parse(chunk)

    for chunk in chunks(stream, Dialect.of(layout), piece_bytes(len(header.names)), header, rest):
        rows = chunk.line_ends + (not chunk.data.endswith(b"\n"))
        yield _Piece(chunk, fitted, parse), rows, len(chunk.data)
    if not source.is_single:  # its file is opened only once
        raw.close()


def _batches(
    path: Path, layout: Layout, name: str, faults: list[Fault], folders: Collection[str]
) -> Iterator[tuple[_Piece, int, int]]:
    """The rows of a Parquet file, which is opened once for all of its columns and types to be compared."""
    try:
        names = column_names(parquet.read_schema(path), layout)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: the file is cut short or damaged ({error}); make it anew.") from None
    fitted = _fitted(names, layout, name, faults, folders)
    try:
        reader = ParquetReader(path, fitted, name, lenient=True)
    except DataError as error:  # of no single column, or of one that is there twice
        faults += [("", str(error))] * (str(error) not in (text for _, text in faults))
        return
    faults += [(column, str(fault)) for column, fault in reader.faults.items()]
    fitted = _ignoring(fitted, reader.faults)

    def parse(wanted: Layout, batch: Batch) -> RawBlock:
        return reader.narrowed(wanted).block(batch)

    if any(column.role == "label" for column in fitted.columns):
        for batch in reader.batches(piece_bytes(len(fitted.columns))):
            yield _Piece(batch, fitted, parse), batch.columns.num_rows, batch.columns.nbytes


def _fitted(names: list[str], layout: Layout, member: str, faults: list[Fault], folders: Collection[str]) -> Layout:
    """``layout`` with the columns ``names``; faults are added, but for what ``folders`` give."""
    faults += [(column, str(fault)) for column, fault in column_faults(names, layout, member, folders)]
    known = {column.name: column for column in layout.columns}
    columns = [known.get(name, Column(name, "ignore", name)) for name in names]
    return _ignoring(replace(layout, columns=tuple(columns)), set())


def _ignoring(layout: Layout, names: Collection[str]) -> Layout:
    """``layout`` without the columns ``names``, and with no fields but those that columns make."""
    columns = [replace(one, role="ignore", multi="") if one.name in names else one for one in layout.columns]
    fields = tuple(name for column in columns for name in column.fields)
    return replace(layout, columns=tuple(columns), fields=fields)


def _only(layout: Layout, columns: Sequence[Column]) -> Layout:
    """``layout`` with the label and ``columns`` alone."""
    fields = tuple(name for column in columns for name in column.fields)
    return replace(layout, columns=(layout.label, *columns), fields=fields)


def _value_faults(tables: Tables, pieces: Sequence[_Piece], *, is_whole: bool) -> list[Fault]:
    """Values that are not of their column's kind: of each column the first one, and labels that the card does not know.

    A piece is read with all columns first, and with some of them where that fails.
    """
    layout = tables.layout
    markers = number_markers(layout.missing, layout.decimal)

    def read(piece: _Piece, wanted: Layout) -> FieldBlock:
        return make_fields(without_markers(piece.parse(wanted, piece.part), markers), wanted, (), merged_buckets=False)

    values, labels, bad = LabelValues(), [np.empty(0, dtype=np.uint8)], []
    for piece in pieces:
        try:
            block = read(piece, piece.layout)
        except DataError:
            bad.append(piece)
        else:
            values.add(block.label_values)
            labels.append(block.labels)
    texts: dict[str, str] = {}
    for piece in bad[:_MOST_PIECES]:
        for name, text in _faults_by_column(piece, texts, read):
            texts.setdefault(name, text)
    in_order = [layout.label.name, *(column.name for column in layout.columns if column.role != "label")]
    found: dict[str, str] = {}
    for name in filter(texts.__contains__, in_order):
        found.setdefault(texts[name], name if f"column {name!r}" in texts[name] else "")
    if not bad:
        found |= _label_faults(tables, values, np.concatenate(labels), is_whole)
    return [(column, text) for text, column in found.items()]


def _faults_by_column(
    piece: _Piece, known: Collection[str], read: Callable[[_Piece, Layout], object]
) -> list[tuple[str, str]]:
    """What is wrong with each column of a piece but those of ``known`` faults; what all share is the label's.

    Halves of the columns are read in which something is wrong, down to single ones: most of them have no fault.
    """

    def fault(columns: Sequence[Column]) -> str:
        try:
            read(piece, _only(piece.layout, columns))
        except DataError as error:
            return str(error)
        return ""

    shared = fault(())
    found = [(piece.layout.label.name, shared)] if shared else []
    waiting = [[one for one in piece.layout.columns if one.role not in ("label", "ignore") and one.name not in known]]
    while waiting:
        columns = waiting.pop()
        if not columns or (text := fault(columns)) in ("", shared):
            continue
        if len(columns) == 1:
            found.append((columns[0].name, text))
        else:
            half = len(columns) // 2
            waiting += [columns[:half], columns[half:]]
    return found


def _label_faults(tables: Tables, values: LabelValues, labels: np.ndarray, is_whole: bool) -> dict[str, str]:
    if not is_whole and labels.min() == labels.max():
        return {}  # the other label may be where nobody looked
    try:
        where = f"{tables.shown}: the label column {tables.layout.label.name!r}"
        check_labels(values, labels, tables.layout.label_rule, where)
    except DataError as error:
        return {str(error): tables.layout.label.name}
    return {}
