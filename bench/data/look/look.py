"""A first look at a raw table: what is in it, by rules that each file of this folder states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.card.card import DOWNLOADS, MAX_NAME_BYTES
from bench.data.look.columns import SOFT_MARKERS, Values, read_columns, seen_markers
from bench.data.look.flags import Flags, find_flags
from bench.data.look.kinds import Guess, guess
from bench.data.look.labels import Label, find_label
from bench.data.look.sample import Sample, take_sample
from bench.data.prepare.tables import beside_tables
from bench.data.raw.compression import plain_name
from bench.data.raw.sources import RawSource, shown
from bench.errors import DataError

MIN_COUNTS = (1, 2, 5, 10, 20, 50)
ROWS_PER_ID = 10
"""Rows that there should be for each id of a field."""


@dataclass(frozen=True)
class Look:
    """All that a look has told."""

    name: str
    """Of the table, for messages."""
    files: tuple[str, ...]
    """Of the card."""
    join: bool
    sample: Sample
    guesses: list[Guess]
    """Of all columns that can be read, the label among them."""
    label: Label
    positive: float
    """Share of the rows looked at."""
    missing: tuple[str, ...]
    decimal: str
    min_count: int
    time: Guess | None
    """The column that can order the rows in time."""
    flags: Flags
    passed_by: tuple[str, ...] = ()
    """Files of the folder that were not looked into: their names are not those of tables."""


def look_at(path: Path | Sequence[Path], label: str, folder: Path) -> Look:
    """Look at the table at ``path``.

    Args:
        path: a file, an archive or a folder, or several files; all tables there must be parts of one.
        label: the label column, or nothing.
        folder: takes the copy of a Parquet table inside an archive.

    Raises:
        DataError: no table, or one that cannot be read.
        ConfigError: no column or several could be the label.
    """
    with RawSource(path) as source:
        passed_by = beside_tables(source)
        members = _members(source, passed_by)
        files, join = _files(members)
        if join and source.lies_open:
            source.take_folders(members)
        sample = take_sample(source, members, folder)
    columns = read_columns(sample)
    if len(columns) < 2:
        raise DataError(f"{source.shown}: has one column that can be read; a label and one field are wanted.")
    markers = seen_markers(columns)
    decimal = _decimal(columns, markers, sample.layout.delimiter)
    found = find_label(columns, markers, label, sample.layout.header)
    guesses = [guess(column, markers, decimal) for column in columns]
    target = next(one for one in guesses if one.name == found.name)
    target.kind, target.why, target.notes = "label", "", []
    labels = found.of_rows(target.values, markers)
    if labels.min() == labels.max():
        raise DataError(f"{source.shown}: all rows looked at have one label; pass a table with both.")
    markers = (*markers, *_soft(guesses))
    return Look(
        source.shown if len(members) == 1 or not source.is_several else f"{source.shown} and {len(members) - 1} more",
        files,
        join,
        sample,
        guesses,
        found,
        float(labels.mean()),
        markers,
        decimal,
        suggest_min_count(guesses, sample.rows),
        next((one for one in guesses if one.kind == "time" and one.present.missing == 0), None),
        find_flags(guesses, labels, markers, decimal),
        tuple(passed_by),
    )


def _members(source: RawSource, passed_by: Sequence[str]) -> list[str]:
    """The files of the table.

    Raises:
        DataError: there are none, or of several kinds.
    """
    names = [name for name in source.names() if name not in passed_by]
    if not names:
        ignored = f" ({source.ignored})" if source.ignored else ""
        raise DataError(f"{source.shown}: holds no file{ignored}; pass the table's own file.")
    endings = Counter(Path(plain_name(name)).suffix for name in names)
    if len(endings) > 1:
        listed = ", ".join(map(shown, names[:8]))
        raise DataError(f"{source.shown}: holds files of several kinds ({listed}); pass the one that is the table.")
    return names if source.is_several else sorted(names)


def _files(members: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """What the card says of names, and whether all are parts of one table."""
    names = [plain_name(name.rsplit("/", 1)[-1]) for name in members]
    if len(members) == 1:
        return (names[0],), False
    return (f"*{Path(names[0]).suffix}",), True


def _decimal(columns: Sequence[Values], markers: Sequence[str], delimiter: str) -> str:
    """A comma where a column holds numbers with one and no column holds numbers with a point."""
    comma = False
    for column in columns:
        texts = column.without(markers).texts
        if texts is None or column.items is not None or not len(texts):
            continue
        if pc.all(pc.match_substring_regex(texts, r"^ *-?[0-9]+(\.[0-9]+)? *$")).as_py():
            if pc.any(pc.match_substring(texts, ".")).as_py():
                return "."
        elif pc.all(pc.match_substring_regex(texts, r"^ *-?[0-9]+(,[0-9]+)? *$")).as_py():
            comma = True
    return "," if comma else "."


def _soft(guesses: Sequence[Guess]) -> tuple[str, ...]:
    """The soft markers that columns of numbers and times hold, in whichever kind these end."""
    seen: set[str] = set()
    for one in guesses:
        texts = one.values.texts
        if texts is not None:
            gone = np.ones(len(texts), dtype=bool)
            gone[one.present.places] = False
            seen |= set(texts.filter(pa.array(gone)).to_pylist())
    return tuple(marker for marker in SOFT_MARKERS if marker in seen)


def suggest_min_count(guesses: Sequence[Guess], rows: int) -> int:
    """The smallest of ``MIN_COUNTS`` that leaves no field more than one id for ``ROWS_PER_ID`` of the rows looked at.

    A larger table has fewer ids for each of its rows, so that the guess errs on the side of fewer ids.
    """
    counts = [one.present.counts for one in guesses if one.kind == "categorical"]
    for least in MIN_COUNTS:
        if ROWS_PER_ID * max((int(np.count_nonzero(one >= least)) for one in counts), default=0) <= rows:
            return least
    return MIN_COUNTS[-1]


def free_name(name: str, taken: Sequence[str]) -> str:
    """``name``, or one like it where that is another data set's."""
    name = name[:MAX_NAME_BYTES]
    return f"my-{name}" if name in (*taken, DOWNLOADS) else name
