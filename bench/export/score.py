"""The rows of a raw table, read by the suite's readers and scored by an exported model.

Text and files are what the suite knows of them; what a value means is left to the model's own reader, which is asked
once for each distinct value of a block. The label, and columns that the model does not take, may be there or not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from bench.data.card.layout import Column, Layout
from bench.data.raw.chunks import CHUNK_BYTES, chunks
from bench.data.raw.dialect import Dialect
from bench.data.raw.header import Header, check_columns, read_names, split_row
from bench.data.raw.parquet import ParquetReader
from bench.data.raw.readers import BlockParser, RawBlock
from bench.data.raw.signatures import is_parquet, refuse_binary
from bench.data.raw.sources import RawSource, shown
from bench.data.raw.text_stream import TextStream
from bench.data.raw.texts import as_texts
from bench.errors import DataError
from bench.export.reader import Field, Model

Table = dict[str, Any]
"""What the manifest says of the raw table."""
_ROLES = {"count": "integer", "number": "numeric", "time": "time"}
"""Roles of columns by the reader's kind; the others are categorical."""


def open_model(folder: Path) -> Model:
    """The exported model in ``folder``.

    Raises:
        DataError: there is none, or a file of it was changed.
    """
    try:
        return Model(folder)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} is no exported model: it has no {Path(error.filename).name}. Make one: python -m bench export "
            f"RUN DATASET METHOD --to FOLDER"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{error}." if str(error).endswith("anew") else f"{folder}: the model is damaged.") from None


def score(model: Model, path: Path) -> Iterator[np.ndarray]:
    """Probabilities of the rows of a raw table, in their order, float32, block by block.

    Args:
        model: the model.
        path: the table, as ``prepare`` takes it: text or Parquet, plain, compressed, in an archive or a folder.

    Raises:
        DataError: a file that cannot be read, a column that is not there, or a value that its column cannot hold.
    """
    layout = _layout(model)
    if layout.format != "table":
        raise DataError(f"rows of the format {layout.format} cannot be scored from a file; give mappings to reader.py.")
    with tempfile.TemporaryDirectory() as folder, RawSource(path) as source:
        for member in _members(source, layout):
            for block in _blocks(source, member, layout, model.table, Path(folder)):
                yield model.run({field.input: _encoded(field, block) for field in model.fields})


def _members(source: RawSource, layout: Layout) -> tuple[str, ...]:
    if source.is_single or source.is_several:
        return tuple(source.names())
    patterns = layout.files or ("*",)
    if layout.join:
        return source.find_parts(patterns)
    member = source.find(patterns)
    if member is None:
        raise DataError(f"{source.shown}: holds no {' or '.join(patterns)}; pass the table's own file.")
    return (member,)


def _layout(model: Model) -> Layout:
    """The raw table as the model's manifest describes it, with the columns that the model takes."""
    table = model.table
    text = ("delimiter", "header", "quote", "escape", "newlines_in_values", "encoding", "decimal", "trim")
    return Layout(
        files=tuple(table["files"]),
        columns=tuple({field.column: _column(field) for field in model.fields}.values()),
        fields=(),
        missing=tuple(table["missing"]),
        **{name: table[name] for name in (*text, "join", "format")},
    )


def _column(field: Field) -> Column:
    multi = field.kind if field.kind in ("combination", "position") else ""
    role = _ROLES.get(field.kind, "categorical")
    return Column(field.column, role, field.column, time_format=field.entry.get("format", ""), multi=multi)


def _blocks(source: RawSource, member: str, layout: Layout, table: Table, folder: Path) -> Iterator[RawBlock]:
    """The rows of a file, with the columns that the model takes; ``folder`` takes what cannot be streamed."""
    raw = source.stream(member)
    if is_parquet(raw.head):
        file = source.seekable_file(member, folder)
        reader = ParquetReader(file, _with_names(layout, _parquet_names(file, member)), shown(member))
        yield from map(reader.block, reader.batches(CHUNK_BYTES))
        return
    refuse_binary(raw.head, raw.name, layout.encoding, layout.delimiter)
    stream = TextStream(raw, layout)
    header, rest = read_names(stream, layout, CHUNK_BYTES)
    if not layout.header:
        header = _unnamed(rest, layout, table)
    full = _with_names(layout, header.names)
    check_columns(list(header.names), full, stream.name)
    parser = BlockParser(full, header)
    yield from map(parser.parse, chunks(stream, Dialect.of(full), CHUNK_BYTES, header, rest))


def _parquet_names(file: Path, member: str) -> list[str]:
    try:
        return list(parquet.read_schema(file).names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shown(member)}: the file is cut short or damaged ({error}); make it anew.") from None


def _unnamed(rest: bytes, layout: Layout, table: Table) -> Header:
    """The columns of a table without a header: those of training, with or without the label."""
    line = rest[: Dialect.of(layout).first_row_end(rest) or len(rest)].decode(errors="replace").rstrip("\r\n")
    names: list[str] = table["columns"]
    if len(split_row(line, layout)) == len(names) - 1:
        names = [name for name in names if name != table["label"]]
    return Header(tuple(names), 0)


def _with_names(layout: Layout, names: Iterable[str]) -> Layout:
    """``layout`` for a table with the columns ``names``; those that the model does not take are not read."""
    mine = {column.name for column in layout.columns}
    others = [Column(name, "ignore", name) for name in names if name not in mine]
    return replace(layout, columns=(*layout.columns, *others))


def _encoded(field: Field, block: RawBlock) -> np.ndarray:
    """The input that ``field`` makes of its column.

    Raises:
        DataError: a value that the column cannot hold; the message names the line.
    """
    if field.kind == "number":
        values: list[Any] = block.numbers[field.column].to_pylist()
        codes = np.arange(block.n_rows)
    else:
        column = block.columns[field.column]
        values, codes = [None, *as_texts(column.values).to_pylist()], column.codes
    try:
        return field.encode(values)[codes]
    except ValueError as error:
        line = block.line(_first_bad(field, values, codes))
        raise DataError(f"{block.member}: {block.unit} {line}, {error}.") from None


def _first_bad(field: Field, values: list[Any], codes: np.ndarray) -> int:
    """The first row whose value the field refuses."""

    def fits(value: Any) -> bool:
        try:
            field.encode([value])
        except ValueError:
            return False
        return True

    bad = [place for place, value in enumerate(values) if not fits(value)]
    return int(np.isin(codes, bad).argmax())
