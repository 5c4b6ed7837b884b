"""The first pass: rows from a raw table or a generator -> labels and provisional codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.data.card.card import DatasetCard
from bench.data.card.labels import LabelValues, check_labels
from bench.data.card.layout import Layout
from bench.data.prepare.encode import Encoder, StoredBlock, store_block
from bench.data.prepare.parallel import map_ordered
from bench.data.prepare.spill import Spill
from bench.data.raw.buckets import bucket_keys
from bench.data.raw.chunks import chunks
from bench.data.raw.columns import LocalColumn, code_numbers, recode
from bench.data.raw.compression import plain_name
from bench.data.raw.dialect import Dialect
from bench.data.raw.fields import Extreme, FieldBlock, SideTable, make_fields, row_times
from bench.data.raw.generated import Content, GeneratedBlock, generated_data, hex_words, load_callable
from bench.data.raw.header import read_header
from bench.data.raw.markers import number_markers, without_markers
from bench.data.raw.parquet import ParquetReader
from bench.data.raw.readers import BlockParser, LongRows, RawBlock
from bench.data.raw.signatures import is_parquet, refuse_binary
from bench.data.raw.sources import RawSource, shown
from bench.data.raw.text_stream import TextStream
from bench.data.schema import Kind
from bench.errors import ConfigError, DataError, suggest

Tick = Callable[[int], None]


@dataclass(frozen=True)
class Ingested:
    """All rows, read."""

    encoder: Encoder
    labels: np.ndarray
    """uint8 [N]."""
    truth: np.ndarray | None = None
    """float32 [N], the true probabilities of generated data."""
    roles: dict[str, str] | None = None
    times: np.ndarray | None = None
    """Seconds since 1970, int64 [N], where a column of them decides the split."""
    extremes: Sequence[Sequence[Extreme]] = ()
    """Of each numeric field: the smallest and largest number of every block that has any."""
    notes: tuple[str, ...] = ()
    """What a person should know of the table."""


def ingest_raw(
    card: DatasetCard, source: RawSource, spill: Spill, pool: Executor, chunk_bytes: int, tick: Tick
) -> Ingested:
    """Read the table of ``card`` from ``source``.

    Raises:
        DataError: no such table in the source, a line that cannot be read, labels that the card does not know or of one
            class alone, or no times where the split needs them.
    """
    layout, member = choose_layout(card, source)
    sides = read_sides(layout, source)
    parts, parse = _reader(source, member, layout, chunk_bytes, spill.folder)
    markers = number_markers(layout.missing, layout.decimal)
    ordered_by = card.order.column_of(layout, member) if card.temporal and card.order else None

    def work(part: Any) -> tuple[FieldBlock, np.ndarray | None, StoredBlock, LongRows]:
        raw = without_markers(parse(part), markers)
        block = make_fields(raw, layout, sides, card.merged_buckets)
        times = None if ordered_by is None else row_times(raw, ordered_by)
        stored = store_block(block, spill)
        block.columns.clear()  # they are parked now
        return block, times, stored, raw.long_rows()

    kinds = [layout.kind(name) for name in layout.fields]
    encoder = Encoder(layout.fields, kinds, spill)
    labels: list[np.ndarray] = []
    values = LabelValues()
    times: list[np.ndarray] = []
    extremes: list[list[Extreme]] = [[] for kind in kinds if kind == "numeric"]
    rows, long_rows = 0, LongRows()
    for block, when, stored, spanning in map_ordered(work, parts, pool):
        encoder.add(stored, pool)
        long_rows += spanning
        labels.append(block.labels)
        values.add(block.label_values)
        times += [] if when is None else [when]
        for place, found in enumerate(block.extremes):
            extremes[place] += found
        rows += len(block.labels)
        tick(rows)
    if not labels:
        raise DataError(f"{shown(member)}: there are no rows below the header; pass the file with the rows.")
    source.check_alone(layout.files or ("*",))
    y = np.concatenate(labels)
    check_labels(values, y, layout.label_rule, f"{shown(member)}: the label column {layout.label.name!r}")
    moments = np.concatenate(times) if times else None
    return Ingested(encoder, y, times=moments, extremes=extremes, notes=_notes(long_rows, shown(member), source))


def _notes(long_rows: LongRows, member: str, source: RawSource) -> tuple[str, ...]:
    ignored = (f"{shown(source.path.name)}: {source.ignored}.",) if source.ignored else ()
    if not long_rows.n_rows:
        return ignored
    # A quote that was never closed and one that was never opened look like one value, which only a person can tell.
    n, most = long_rows.n_rows, long_rows.most_lines
    return (
        *ignored,
        f"{member}: {n:,} row{' runs' if n == 1 else 's run'} over several lines, the longest over {most:,} from line "
        f"{long_rows.line} on; if that is a quote out of place, mend it.",
    )


def _reader(
    source: RawSource, member: str, layout: Layout, chunk_bytes: int, folder: Path
) -> tuple[Iterator[Any], Callable[[Any], RawBlock]]:
    """The table's parts in order, and what turns one into a block; ``folder`` takes what cannot be streamed."""
    raw = source.stream(member)
    if is_parquet(raw.head):
        reader = ParquetReader(source.seekable_file(member, folder), layout, shown(member))
        return reader.batches(chunk_bytes), reader.block
    refuse_binary(raw.head, raw.name, layout.encoding, layout.delimiter)
    stream = TextStream(raw, layout)
    header, rest = read_header(stream, layout, chunk_bytes)
    return chunks(stream, Dialect.of(layout), chunk_bytes, header, rest), BlockParser(layout, header).parse


def read_sides(layout: Layout, source: RawSource) -> tuple[SideTable, ...]:
    """The side tables of ``layout``.

    Raises:
        ConfigError: the rule looks up by a column that is not there, or leaves a field of the card without values.
    """
    if not layout.rule:
        return ()
    sides: tuple[SideTable, ...] = tuple(load_callable(layout.rule)(source))
    keys = {column.name for column in layout.columns if column.role == "categorical" and not column.multi}
    made = {name for column in layout.columns for name in column.fields}
    for side in sides:
        made |= set(side.columns)
        if side.key not in keys:
            raise ConfigError(f"rule {layout.rule!r} looks up by {side.key!r}.{suggest(side.key, keys)}")
    for name in layout.fields:
        if name not in made:
            raise ConfigError(f"rule {layout.rule!r} gives no values of the field {name!r}.{suggest(name, made)}")
    return sides


def choose_layout(card: DatasetCard, source: RawSource) -> tuple[Layout, str]:
    """The layout in which the source holds the table, and the table's member.

    Raises:
        DataError: no member has a name that the card knows.
    """
    if source.is_single:
        name = source.names()[0]
        plain = plain_name(name)
        known = (one for one in card.layouts if one.matches(plain) or one.matches(name))
        return next(known, card.layouts[0]), name
    for layout in card.layouts:
        member = source.find(layout.files or ("*",))
        if member is not None:
            return layout, member
    wanted = [pattern for layout in card.layouts for pattern in layout.files]
    held = ", ".join(map(shown, source.names()[:8])) or "nothing"
    ignored = f"; {source.ignored}" if source.ignored else ""
    raise DataError(
        f"{shown(source.path.name)}: holds no {' or '.join(wanted)} (it holds {held}{ignored}); pass the table's own "
        f"file."
    )


def ingest_generated(
    card: DatasetCard, spill: Spill, pool: Executor, tick: Callable[[int, int | None], None], device: str = "cpu"
) -> Ingested:
    """Make the rows of a generated card on ``device``.

    Raises:
        ConfigError: the generator cannot be found, or refuses the card's parameters or the device.
        DataError: it makes no rows.
    """
    data = generated_data(card, device)

    def work(block: GeneratedBlock) -> tuple[GeneratedBlock, StoredBlock]:
        columns = [_coded(block.columns[name], data.content(name), data.missing) for name in data.fields]
        no_numbers = np.empty((len(block.labels), 0))
        return block, store_block(FieldBlock(block.labels, columns, no_numbers), spill)

    kinds: list[Kind] = ["integer" if data.content(name) == "integer" else "categorical" for name in data.fields]
    encoder = Encoder(data.fields, kinds, spill)
    labels: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    rows = 0
    for block, stored in map_ordered(work, (block for block in data.blocks if len(block.labels)), pool):
        encoder.add(stored, pool)
        labels.append(block.labels.astype(np.uint8))
        truth.append(block.truth.astype(np.float32))
        rows += len(block.labels)
        tick(rows, data.n_rows)
    if not labels:
        raise DataError(f"data set {card.name!r}: the generator made no rows; ask for more with its parameters.")
    return Ingested(encoder, np.concatenate(labels), np.concatenate(truth), dict(data.roles))


def _coded(numbers: np.ndarray, content: Content, missing: int) -> LocalColumn:
    codes, distinct = code_numbers(numbers, np.array([missing]))
    if content == "integer":
        return recode(codes, pa.array(bucket_keys(distinct, merged=False)))
    if content == "hex":
        return LocalColumn(codes, pa.array(hex_words(distinct).byteswap()))
    return LocalColumn(codes, pa.array(distinct).cast(pa.string()))
