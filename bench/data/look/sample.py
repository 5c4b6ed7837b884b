"""The rows of a raw table that are looked at: all of a small one, evenly spread pieces of a large one.

Text is read from its beginning to its end, so that its rows are counted, but only the pieces are taken apart. Memory
is bounded by the pieces, whatever the table's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa
from pyarrow import parquet

from bench.data.card.layout import Column, Layout
from bench.data.look.sniff import HEAD_BYTES, Cut, sniff
from bench.data.prepare.reading import with_folders
from bench.data.raw.arrow_texts import has_texts
from bench.data.raw.chunks import chunks
from bench.data.raw.dialect import Chunk, Dialect
from bench.data.raw.header import Header, check_columns, read_names
from bench.data.raw.multi import is_list
from bench.data.raw.parquet import Batch, ParquetReader, column_names, extension_of, value_type
from bench.data.raw.readers import BlockParser, RawBlock
from bench.data.raw.signatures import is_parquet, refuse_binary
from bench.data.raw.sources import RawSource, shown
from bench.data.raw.text_stream import TextStream
from bench.errors import DataError

SAMPLE_ROWS = 200_000
"""Rows that are looked at, at most."""
SAMPLE_BYTES = 1 << 26
"""Bytes of text, or of Arrow's memory, that are looked at, at most."""
PIECE_BYTES = 1 << 18
"""Text that is kept or left out as one."""
_WIDE = 100
"""Columns of a table whose pieces are not larger than those of others."""
_QUOTING = (('"', "", False), ('"', "\\", False), ('"', "", True), ('"', "\\", True), ("", "", False))
"""Quote, escape and line ends in values, in the order in which they are tried."""
_MARKS = (b"\xff\xfe", b"\xfe\xff")

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """The rows that are looked at, with what reading them has told."""

    layout: Layout
    """How the table is read; its columns hold texts, but for lists and floats of Parquet."""
    blocks: list[RawBlock]
    n_rows: int
    """Of the whole table."""
    is_exact: bool = True
    """Whether ``n_rows`` was counted; else it was reckoned from lines."""
    is_parquet: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()
    """Columns that nothing can be made of, and their type."""

    @property
    def rows(self) -> int:
        """Rows looked at."""
        return sum(block.n_rows for block in self.blocks)

    @property
    def is_whole(self) -> bool:
        """Whether they are all rows."""
        return self.rows == self.n_rows


def piece_bytes(n_columns: int) -> int:
    """Text that is kept or left out as one of a table: more where columns are many, as each has a price in a piece."""
    return PIECE_BYTES * max(1, n_columns // _WIDE)


class Spread(Generic[T]):
    """Evenly spread pieces of a stream of unknown length: whenever they are too many, every other one goes."""

    def __init__(self) -> None:
        self.kept: list[tuple[T, int, int]] = []
        self._stride = 1
        self._seen = 0

    def add(self, piece: T, rows: int, size: int) -> None:
        """Take in the next piece, of so many rows and bytes."""
        if self._seen % self._stride == 0:
            self.kept.append((piece, rows, size))
        self._seen += 1
        while len(self.kept) > 1 and self._is_full():
            self.kept = self.kept[::2]
            self._stride *= 2

    def _is_full(self) -> bool:
        rows, size = sum(one[1] for one in self.kept), sum(one[2] for one in self.kept)
        return rows > SAMPLE_ROWS or size > SAMPLE_BYTES

    @property
    def pieces(self) -> list[T]:
        return [one[0] for one in self.kept]


def take_sample(source: RawSource, members: Sequence[str], folder: Path) -> Sample:
    """Look at the table whose parts are ``members``.

    Args:
        source: holds them.
        members: at least one.
        folder: takes the copy of a Parquet table inside an archive.

    Raises:
        DataError: it is no table, its parts have other columns, or no way of reading it fits all of it.
    """
    raw = source.stream(members[0])
    head = raw.head
    if not source.is_single:
        raw.close()
    if is_parquet(head):
        return _sample_parquet(source, members, folder)
    encodings = ("utf-16",) if head.startswith(_MARKS) else ("utf-8", "cp1252", "latin-1")
    refuse_binary(head, shown(members[0]), encodings[0], ",")
    for encoding in encodings[:-1]:
        try:
            return _sample_encoded(source, members, encoding)
        except _OtherEncoding:
            continue
    return _sample_encoded(source, members, encodings[-1])


class _OtherEncoding(DataError):
    """The text is not of the encoding that was tried."""


def _sample_encoded(source: RawSource, members: Sequence[str], encoding: str) -> Sample:
    """Look at text of ``encoding``, its quotes taken in the first way that fits."""
    cut = _sniffed(source, members[0], encoding)
    fault: DataError | None = None
    for quote, escape, newlines in _QUOTING:
        layout = Layout(
            files=(),
            columns=(),
            fields=(),
            delimiter=cut.delimiter,
            header=cut.header,
            trim=cut.trim,
            quote=quote,
            escape=escape,
            newlines_in_values=newlines,
            encoding=encoding,
            missing=(),
        )
        try:
            return _sample_text(source, members, layout, cut.width)
        except _OtherEncoding:
            raise
        except DataError as error:
            fault = fault or error
    raise fault or DataError(f"{shown(members[0])}: cannot be read.")


def _sniffed(source: RawSource, member: str, encoding: str) -> Cut:
    """How the first rows of ``member`` seem to be cut."""
    layout = Layout(files=(), columns=(), fields=(), encoding=encoding)
    with _opened(source, member, layout) as stream:
        head = b""
        while len(head) < HEAD_BYTES and (more := stream.read(HEAD_BYTES - len(head))):
            head += more
    whole = head[: head.rfind(b"\n") + 1] if len(head) >= HEAD_BYTES else head
    try:
        return sniff((whole or head).decode(errors="strict" if whole else "ignore"), shown(member))
    except UnicodeDecodeError:
        raise _not(encoding, member) from None


@contextmanager
def _opened(source: RawSource, member: str, layout: Layout) -> Iterator[TextStream]:
    raw = source.stream(member)
    try:
        yield TextStream(raw, layout)
    except (UnicodeDecodeError, DataError) as error:
        if layout.encoding == "cp1252" or isinstance(error, UnicodeDecodeError):
            raise _not(layout.encoding, member) from None  # latin-1 takes what it does not
        raise
    finally:
        if not source.is_single:  # its file is opened only once
            raw.close()


def _not(encoding: str, member: str) -> _OtherEncoding:
    return _OtherEncoding(f"{shown(member)}: is no {encoding} text; save it as UTF-8.")


def _sample_text(source: RawSource, members: Sequence[str], layout: Layout, width: int) -> Sample:
    """Look at text cut as ``layout`` says, whose columns are not known yet."""
    spread: Spread[tuple[Chunk, Header, str]] = Spread()
    lines = 0
    names: tuple[str, ...] = () if layout.header else tuple(f"c{place}" for place in range(1, width + 1))
    for member in members:
        with _opened(source, member, layout) as stream:
            folders = source.partition(member)
            header, rest = read_names(stream, _reading(layout, names), PIECE_BYTES, folders)
            if not layout.columns:
                names = names or header.names
                layout = _reading(layout, names := (*names, *(key for key in sorted(folders) if key not in names)))
            check_columns([*header.names], layout, shown(member), folders)
            for chunk in chunks(stream, Dialect.of(layout), piece_bytes(len(header.names)), header, rest):
                if layout.is_utf8 and not chunk.data.isascii():
                    chunk.data.decode()
                n_lines = chunk.line_ends + (not chunk.data.endswith(b"\n"))
                lines += n_lines
                spread.add((chunk, header, member), n_lines, len(chunk.data))
    if not lines:
        raise DataError(f"{shown(members[0])}: there are no rows below the header; pass the file with the rows.")
    looked_at = sum(rows for _, rows, _ in spread.kept)
    blocks = []
    for chunk, header, member in spread.pieces:
        parse, held = BlockParser(layout, header).parse, frozenset(header.names)
        blocks.append(with_folders(parse, layout, source.partition(member), held, member)(chunk))
    rows = sum(block.n_rows for block in blocks)
    n_rows = lines if rows == looked_at else round(lines * rows / looked_at)
    exact = looked_at in (rows, lines)
    return Sample(layout, blocks, n_rows, exact)


def _reading(layout: Layout, names: Sequence[str]) -> Layout:
    """``layout`` with columns of texts; the parser wants a label, which is a text too."""
    columns = [Column(name, "label" if place == 0 else "categorical", name) for place, name in enumerate(names)]
    return replace(layout, columns=tuple(columns), fields=tuple(names[1:]))


def _sample_parquet(source: RawSource, members: Sequence[str], folder: Path) -> Sample:
    """Look at Parquet, whose floats and lists are taken as they are and all else as texts."""
    spread: Spread[tuple[Batch, ParquetReader, str]] = Spread()
    layout, n_rows = None, 0
    unreadable: list[tuple[str, str]] = []
    for member in members:
        path, folders = source.seekable_file(member, folder), source.partition(member)
        if layout is None:
            layout, unreadable = _parquet_layout(path, shown(member))
            known = {column.name for column in layout.columns}
            keys = [Column(key, "categorical", key) for key in sorted(folders) if key not in known]
            layout = replace(layout, columns=(*layout.columns, *keys))
        reader = ParquetReader(path, layout, shown(member), folders)
        for batch in reader.batches(piece_bytes(len(layout.columns))):
            spread.add((batch, reader, member), batch.columns.num_rows, batch.columns.nbytes)
            n_rows += batch.columns.num_rows
    if layout is None or not n_rows:
        raise DataError(f"{shown(members[0])}: there are no rows; pass the file with the rows.")
    blocks = [
        with_folders(reader.block, layout, source.partition(member), reader.names, member)(batch)
        for batch, reader, member in spread.pieces
    ]
    return Sample(layout, blocks, n_rows, is_parquet=True, unreadable=tuple(unreadable))


def _parquet_layout(path: Path, name: str) -> tuple[Layout, list[tuple[str, str]]]:
    """Columns by their types, and those (with their type) of which nothing can be made."""
    try:
        schema = parquet.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: the file is cut short or damaged ({error}); make it anew.") from None
    columns: list[Column] = []
    unreadable: list[tuple[str, str]] = []
    nothing = Layout(files=(), columns=(), fields=(), missing=())
    for field in map(schema.field, column_names(schema, nothing)):
        kind = value_type(field.type)
        role, multi = "categorical", ""
        if not has_texts(kind) or extension_of(field):
            role = "ignore"
            unreadable.append((field.name, str(field.type)))
        elif is_list(field.type):
            multi = "combination"
        elif pa.types.is_floating(field.type):
            role = "numeric"
        columns.append(Column(field.name, role, field.name, multi=multi))
    return replace(nothing, columns=tuple(columns)), unreadable
