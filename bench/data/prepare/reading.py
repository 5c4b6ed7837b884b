"""The rows of raw files, part by part, and what turns a part into a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.card.layout import Layout
from bench.data.prepare.sampling import Part, n_rows_of
from bench.data.prepare.tables import Tables
from bench.data.raw.chunks import chunks
from bench.data.raw.dialect import Dialect
from bench.data.raw.header import Header, read_header
from bench.data.raw.names import shown
from bench.data.raw.parquet import ParquetReader
from bench.data.raw.partitions import Partition
from bench.data.raw.readers import BlockParser, RawBlock
from bench.data.raw.signatures import is_parquet, refuse_binary
from bench.data.raw.sources import RawSource, RawStream
from bench.data.raw.sparse import SparseParser
from bench.data.raw.text_stream import TextStream
from bench.errors import DataError

_SPARSE = Dialect(b" ", b"", b"", newlines_in_values=False)


@dataclass(frozen=True)
class Cut:
    """How files are read."""

    chunk_bytes: int
    folder: Path
    """Takes what cannot be streamed."""
    units: dict[str, str]
    """Of the columns of timestamps that are written in one way in all parts."""


@dataclass(frozen=True)
class Opened:
    """One file."""

    parts: Iterator[Part]
    parse: Callable[[Any], RawBlock]
    dialect: Dialect | None = None
    """Of text: where rows end."""


def read_parts(source: RawSource, tables: Tables, cut: Cut) -> Iterator[tuple[int, Opened, Part]]:
    """All rows, file after file, each opened when it is its turn; with the place of their file."""
    several = len(tables.members) + len(tables.tests) > 1
    for place, member in enumerate((*tables.members, *tables.tests)):
        raw = source.stream(member)
        try:
            opened = _open(source, raw, member, tables.layout, cut)
        except DataError as error:
            if member not in tables.tests:
                raise
            raise DataError(f"{error} (The test files need the columns of the others, the label among them.)") from None
        yield from ((place, opened, part) for part in opened.parts)
        if several:
            raw.close()


def count_rows(source: RawSource, tables: Tables, cut: Cut) -> int:
    """The rows of all files, which are read for it but not parsed."""
    return sum(n_rows_of(part, opened.dialect) for _, opened, part in read_parts(source, tables, cut))


def _open(source: RawSource, raw: RawStream, member: str, layout: Layout, cut: Cut) -> Opened:
    folders = source.partition(member)
    if is_parquet(raw.head):
        reader = ParquetReader(source.seekable_file(member, cut.folder), layout, shown(member), folders)
        reader.units |= {name: unit for name, unit in cut.units.items() if name in reader.units}
        parse = with_folders(reader.block, layout, folders, reader.names, member)
        return Opened(reader.batches(cut.chunk_bytes), parse)
    refuse_binary(raw.head, raw.name, layout.encoding, layout.delimiter)
    stream = TextStream(raw, layout)
    if layout.format != "table":
        parts = chunks(stream, _SPARSE, cut.chunk_bytes, Header((), 0), b"")
        return Opened(parts, SparseParser(layout).parse, _SPARSE)
    header, rest = read_header(stream, layout, cut.chunk_bytes, folders)
    parse = with_folders(BlockParser(layout, header).parse, layout, folders, frozenset(header.names), member)
    dialect = Dialect.of(layout)
    return Opened(chunks(stream, dialect, cut.chunk_bytes, header, rest), parse, dialect)


def with_folders(
    parse: Callable[[Any], RawBlock],
    layout: Layout,
    folders: Mapping[str, str | None],
    held: frozenset[str],
    member: str,
) -> Callable[[Any], RawBlock]:
    """``parse``, with the columns that the file does not hold and its folders do."""
    values = {name: text for name, text in folders.items() if name not in held}
    if not values:
        return parse
    partition = Partition(layout, values, shown(member))
    return lambda part: partition.add_to(parse(part))
