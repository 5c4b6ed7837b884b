"""The rows of raw files, part by part, and what turns a part into a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.data.card.layout import Layout
from bench.data.prepare.extents import Extent, extents
from bench.data.prepare.sampling import Part, n_rows_of
from bench.data.prepare.tables import Tables
from bench.data.raw.chunks import chunks
from bench.data.raw.dialect import Chunk, Dialect
from bench.data.raw.header import Header, read_header
from bench.data.raw.names import shown
from bench.data.raw.parquet import ParquetReader
from bench.data.raw.partitions import Partition
from bench.data.raw.readers import BlockParser, RawBlock
from bench.data.raw.signatures import is_parquet, refuse_binary
from bench.data.raw.sources import RawSource, RawStream, Recipe
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
    apart: bool = False
    """Whether parts are read in other processes, which open plain files for themselves."""


@dataclass(frozen=True)
class Opened:
    """One file."""

    parts: Iterator[Part] | Iterator[Extent]
    parse: Callable[[Any], RawBlock]
    dialect: Dialect | None = None
    """Of text: where rows end."""


@dataclass(frozen=True)
class WholeFile:
    """A file that is packed, or Parquet, of a table in several: who reads it opens it for itself."""

    recipe: Recipe
    """What opens the raw data."""
    tables: Tables
    """The file alone."""
    cut: Cut


def _never(part: object) -> RawBlock:
    raise TypeError(part)


_WHOLE = Opened(iter(()), _never)


def read_parts(source: RawSource, tables: Tables, cut: Cut) -> Iterator[tuple[int, Opened, Any]]:
    """All rows, file after file, each opened when it is its turn; with the place of their file."""
    several = len(tables.members) + len(tables.tests) > 1
    for place, member in enumerate((*tables.members, *tables.tests)):
        raw = source.stream(member)
        if several and cut.apart and source.is_packed(member, raw.head):
            raw.close()
            yield place, _WHOLE, WholeFile(source.recipe, tables.only(member), replace(cut, apart=False))
            continue
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
    folders, head = source.partition(member), raw.head
    if is_parquet(head):
        reader = ParquetReader(source.seekable_file(member, cut.folder), layout, shown(member), folders)
        reader.units |= {name: unit for name, unit in cut.units.items() if name in reader.units}
        parse = with_folders(reader.block, layout, folders, reader.names, member)
        return Opened(reader.batches(cut.chunk_bytes), parse)
    refuse_binary(head, raw.name, layout.encoding, layout.delimiter)
    stream = TextStream(raw, layout)
    path = source.plain_path(member, head) if cut.apart else None
    if layout.format != "table":
        rows = _Text(stream, _SPARSE)
        return Opened(rows.pieces(path, cut), SparseParser(layout).parse, _SPARSE)
    header, rest = read_header(stream, layout, cut.chunk_bytes, folders)
    parse = with_folders(BlockParser(layout, header).parse, layout, folders, frozenset(header.names), member)
    rows = _Text(stream, Dialect.of(layout), header, rest)
    return Opened(rows.pieces(path, cut), parse, rows.dialect)


@dataclass(frozen=True)
class _Text:
    """The rows of a text table."""

    stream: TextStream
    dialect: Dialect
    header: Header = Header((), 0)  # noqa: RUF009 - frozen
    rest: bytes = b""
    """What was read with the header."""

    def pieces(self, path: Path | None, cut: Cut) -> Iterator[Chunk] | Iterator[Extent]:
        """Consecutive rows, or, of a plain file at ``path``, where they lie."""
        place, dialect = self.stream.place, self.dialect
        if path is None or place is None or dialect.newlines_in_values:
            return chunks(self.stream, dialect, cut.chunk_bytes, self.header, self.rest)
        before = (self.header.lines, place - len(self.rest))
        return extents(path.absolute(), self.stream.name, dialect, before, cut.chunk_bytes)


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
    return partial(_parsed, Partition(layout, values, shown(member)), parse)


def _parsed(partition: Partition, parse: Callable[[Any], RawBlock], part: Any) -> RawBlock:
    return partition.add_to(parse(part))
