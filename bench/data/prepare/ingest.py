"""The first pass: rows from a raw table or a generator -> labels and provisional codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa

from bench.data.card.card import DatasetCard
from bench.data.card.labels import LabelValues, check_labels
from bench.data.card.layout import Layout
from bench.data.prepare.alike import check_alike
from bench.data.prepare.blocks import StoredBlock, store_block
from bench.data.prepare.crew import Crew, in_order
from bench.data.prepare.encode import Encoder
from bench.data.prepare.parallel import map_ordered
from bench.data.prepare.reading import Cut, Opened, count_rows, read_parts
from bench.data.prepare.sampling import Part, Sample, n_rows_of, sample_of, thinned
from bench.data.prepare.tables import Tables, choose_tables
from bench.data.prepare.work import Job, Seen, Work, parse_thinned
from bench.data.raw.buckets import bucket_keys
from bench.data.raw.columns import LocalColumn, code_numbers, recode
from bench.data.raw.fields import Extreme, FieldBlock, SideTable
from bench.data.raw.generated import Content, GeneratedBlock, generated_data, hex_words, load_callable
from bench.data.raw.names import partition_keys
from bench.data.raw.readers import LongRows
from bench.data.raw.row_numbers import Numbered, index_notes
from bench.data.raw.sources import RawSource, shown
from bench.data.schema import Kind
from bench.data.store.splits import MIN_ROWS
from bench.errors import ConfigError, DataError, quoted, suggest

Tick = Callable[[int], None]
_WIDTH, _MOST_WIDTHS = 500, 4
"""Columns of a table whose chunks are not larger than those of others, and how many times as large chunks may be."""


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
    group_splits: np.ndarray | None = None
    """Of each row the split of its group, ``UNKNOWN`` without one, uint8 [N], where groups decide the split."""
    extremes: Sequence[Sequence[Extreme]] = ()
    """Of each numeric field: the smallest and largest number of every block that has any."""
    notes: tuple[str, ...] = ()
    """What a person should know of the table."""
    test_rows: int = 0
    """The last so many rows are the test split by the card's word."""
    rows: np.ndarray | None = None
    """Their numbers in the raw table where they are a part of it, increasing, int64 [N]."""


def ingest_raw(card: DatasetCard, source: RawSource, crew: Crew, chunk_bytes: int, tick: Tick) -> Ingested:
    """Read the table of ``card`` from ``source``.

    Raises:
        DataError: no such table in the source, a line that cannot be read, labels that the card does not know or of one
            class alone, or no times where the split needs them.
    """
    tables = choose_tables(card, source)
    layout, spill = tables.layout, crew.spill
    cut = Cut(chunk_bytes * _widths(layout), spill.folder, check_alike(source, tables, spill.folder))
    sample = sample_of(card, lambda: count_rows(source, tables, cut))
    work = Work(card, tables, read_sides(layout, source))
    kinds = [layout.kind(name) for name in layout.fields]
    encoder = Encoder(layout.fields, kinds, spill, [layout.positions(name) for name in layout.fields])
    labels: list[np.ndarray] = []
    values = LabelValues()
    deciding: list[np.ndarray] = []
    extremes: list[list[Extreme]] = [[] for kind in kinds if kind == "numeric"]
    members = (*tables.members, *tables.tests)
    counts = [Counted() for _ in members]
    drawn = None if sample is None else _Drawn(sample)
    parts = read_parts(source, tables, replace(cut, apart=crew.is_apart and drawn is None))
    jobs = (Job(place, opened.parse, part) for place, opened, part in parts) if drawn is None else drawn.of(parts)
    for found in in_order(crew, work, jobs, source.read_on):
        encoder.add(found.stored, crew.mergers)
        counts[found.place].add(found.seen)
        labels.append(found.block.labels)
        values.add(found.block.label_values)
        deciding += [] if found.decides is None else [found.decides]
        for number, ends in enumerate(found.block.extremes):
            extremes[number] += ends
        tick(sum(one.rows for one in counts) if drawn is None else drawn.n_read)
    test_rows = sum(one.rows for one in counts[len(tables.members) :])
    if drawn is not None:
        drawn.check(card, sum(map(len, labels)))
    if sum(map(len, labels)) == test_rows:
        raise _no_rows(tables.members[0])
    if tables.tests and not test_rows:
        raise _no_rows(tables.tests[0])
    tables.check_alone(source)
    y = np.concatenate(labels)
    check_labels(values, y, layout.label_rule, f"{tables.shown}: the label column {layout.label.name!r}")
    decided = np.concatenate(deciding) if deciding else None
    times, groups = (None, decided) if card.group else (decided, None)
    notes = (*_notes(tables, counts, source), *([] if drawn is None else [drawn.note(card, len(y))]))
    rows = None if drawn is None else drawn.numbers
    return Ingested(
        encoder,
        y,
        times=times,
        group_splits=groups,
        extremes=extremes,
        notes=notes,
        test_rows=test_rows,
        rows=rows,
    )


def _widths(layout: Layout) -> int:
    """How many chunks of a narrow table are one of this: what is done for each column of a chunk has a price."""
    return min(max(len(layout.columns) // _WIDTH, 1), _MOST_WIDTHS)


def _no_rows(member: str) -> DataError:
    return DataError(f"{shown(member)}: there are no rows below the header; pass the file with the rows.")


@dataclass
class Counted:
    """What was found in one file so far."""

    rows: int = 0
    long_rows: LongRows = LongRows()  # noqa: RUF009 - frozen
    numbered: Numbered = field(default_factory=Numbered)

    def add(self, seen: Seen) -> None:
        """Take in a block."""
        self.rows += seen.rows
        self.long_rows += seen.long_rows
        self.numbered.add(seen.rows, seen.numbered)


class _Drawn:
    """The rows that a sample takes of a table, while they are read."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._numbers: list[np.ndarray] = []
        self.n_read = 0

    def of(self, parts: Iterable[tuple[int, Opened, Part]]) -> Iterator[Job]:
        """The parts that hold any of them, without the other rows."""
        for place, opened, part in parts:
            first, n_rows = self.n_read, n_rows_of(part, opened.dialect)
            self.n_read += n_rows
            places = self._sample.places(first, n_rows)
            if len(places):
                self._numbers.append(places + first)
                thin = thinned(part, opened.dialect, places)
                yield Job(place, partial(parse_thinned, parse=opened.parse), thin)

    @property
    def numbers(self) -> np.ndarray:
        """Row numbers of all taken, int64 [N]."""
        return np.concatenate(self._numbers)

    def check(self, card: DatasetCard, n_rows: int) -> None:
        """Make sure that there are rows to split.

        Raises:
            DataError: too few were drawn.
        """
        if n_rows < MIN_ROWS <= self.n_read:
            raise DataError(
                f"data set {card.spec}: {n_rows} of its {self.n_read:,} rows are drawn, too few to split; take more."
            )

    def note(self, card: DatasetCard, n_rows: int) -> str:
        """Says that the store is not the whole."""
        return f"{n_rows:,} of {self.n_read:,} rows, drawn by a hash of their numbers: {card.spec} is not the whole."


def _notes(tables: Tables, counts: Sequence[Counted], source: RawSource) -> tuple[str, ...]:
    notes = [f"{source.shown}: {source.ignored}."] if source.ignored else []
    notes += [passed_by(tables.passed_by)] if tables.passed_by else []
    members = (*tables.members, *tables.tests)
    if len(members) > 1:
        read = [f"{shown(name)} ({one.rows:,})" for name, one in zip(members, counts, strict=True)]
        main, tests = read[: len(tables.members)], read[len(tables.members) :]
        more = f" and {len(main) - 10} more" if len(main) > 10 else ""
        of_test = f"; test rows of {', '.join(tests)}" if tests else ""
        notes.append(f"rows of {', '.join(main[:10])}{more}{of_test}.")
    declared = {column.name for column in tables.layout.columns}
    if unnamed := {key: None for member in members for key in partition_keys(member) if key not in declared}:
        notes.append(
            f"the folders of the files give {', '.join(map(quoted, unnamed))}, which the card does not name; to make "
            f"fields of them, add them under [raw.columns]."
        )
    for member, one in zip(members, counts, strict=True):
        if n := one.long_rows.n_rows:
            # A quote never closed and one never opened look like one value, which only a person can tell.
            most, line = one.long_rows.most_lines, one.long_rows.line
            notes.append(
                f"{shown(member)}: {n:,} row{' runs' if n == 1 else 's run'} over several lines, the longest over "
                f"{most:,} from line {line} on; if that is a quote out of place, mend it."
            )
    return (*notes, *index_notes(tables.layout, [one.numbered for one in counts if one.rows]))


def passed_by(names: Sequence[str]) -> str:
    """Says that the files ``names`` of a folder were not read."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"passed by, as no tables: {', '.join(map(shown, names[:5]))}{more}."


def read_sides(layout: Layout, source: RawSource) -> tuple[SideTable, ...]:
    """The side tables of ``layout``.

    Raises:
        ConfigError: the rule looks up by a column that is not there, or leaves a field of the card without values.
    """
    if not layout.rule:
        return ()
    sides: tuple[SideTable, ...] = tuple(load_callable(layout.rule)(source))
    keys = {column.name for column in layout.columns if column.role == "categorical" and not column.multi}
    made = {name for column in layout.all_columns for name in column.fields}
    for side in sides:
        made |= set(side.columns)
        if side.key not in keys:
            raise ConfigError(f"rule {layout.rule!r} looks up by {side.key!r}.{suggest(side.key, keys)}")
    for name in layout.fields:
        if name not in made:
            raise ConfigError(f"rule {layout.rule!r} gives no values of the field {name!r}.{suggest(name, made)}")
    return sides


def ingest_generated(
    card: DatasetCard, crew: Crew, tick: Callable[[int, int | None], None], device: str = "cpu"
) -> Ingested:
    """Make the rows of a generated card on ``device``.

    Raises:
        ConfigError: the generator cannot be found, or refuses the card's parameters or the device.
        DataError: it makes no rows.
    """
    data = generated_data(card, device)
    spill, pool = crew.spill, crew.pool

    def work(block: GeneratedBlock) -> tuple[GeneratedBlock, StoredBlock]:
        columns = [_coded(block.columns[name], data.content(name), data.missing) for name in data.fields]
        return block, store_block(FieldBlock(block.labels, columns, ()), spill)

    kinds: list[Kind] = ["integer" if data.content(name) == "integer" else "categorical" for name in data.fields]
    encoder = Encoder(data.fields, kinds, spill)
    labels: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    rows = 0
    for block, stored in map_ordered(work, (block for block in data.blocks if len(block.labels)), pool):
        encoder.add(stored, crew.mergers)
        labels.append(block.labels.astype(np.uint8))
        truth.append(block.truth.astype(np.float32))
        rows += len(block.labels)
        tick(rows, data.n_rows)
    if not labels:
        raise DataError(f"data set {card.name!r}: the generator made no rows; ask for more with its parameters.")
    return Ingested(encoder, np.concatenate(labels), np.concatenate(truth), dict(data.roles))


def _coded(numbers: np.ndarray, content: Content, missing: int) -> LocalColumn:
    codes, distinct = code_numbers(np.concatenate([[missing], numbers], dtype=np.int64), n_missing=1)
    if content == "integer":
        return recode(codes, pa.array(bucket_keys(distinct, merged=False)))
    if content == "hex":
        return LocalColumn(codes, pa.array(hex_words(distinct).byteswap()))
    return LocalColumn(codes, pa.array(distinct).cast(pa.string()))
