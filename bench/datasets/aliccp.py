"""The features of Ali-CCP, which lie in lists: some in every row, the others once for all rows that share them.

A row of ``sample_skeleton_*.csv`` is id, click, conversion, key, number of features, features; one of
``common_features_*.csv`` key, number of features, features. A list of features holds ``FIELD ␂ VALUE ␃ WEIGHT``, ␁
between two of them. Weights are left out.

The lists of a key have 518 features on average, nearly all of them values of four fields: of each field the first
``MOST`` are held, at about 0.5 kB a key, in files of 730,000 keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.raw.fields import SideTable
from bench.data.raw.sources import RawSource
from bench.errors import DataError, quoted

MOST = 10
"""Values of one field in one list that are read; the card may take fewer."""
OWN = ("205", "206", "207", "210", "216", "301", "508", "509", "702", "853")
"""Fields in the list of every row: five of the item, where it was shown, four of user and item together."""
COMMON = ("101", "121", "122", "124", "125", "126", "127", "128", "129", "109_14", "110_14", "127_14", "150_14")
"""Fields in the list of a key: nine of the user, four of what they did before."""
FILES = ("common_features_train.csv", "common_features_test.csv")
_SEVERAL = frozenset({"210", "109_14", "110_14", "127_14", "150_14"})
"""The others have one value in a list."""
_FORM = "^[^\x01-\x03]+\x02[^\x01-\x03]+\x03[^\x01-\x03]+$"
_READ_BYTES = 1 << 24


def joined(source: RawSource) -> tuple[SideTable, ...]:
    """The fields of both kinds of list.

    Raises:
        DataError: ``common_features_train.csv`` is not there, or a line of such a file is damaged.
    """
    return (_Lists("features", {name: {} for name in OWN}), _common(source))


@dataclass(frozen=True)
class _Lists(SideTable):
    """Reads fields from the list that each row has: looked up is the list itself."""

    def values_of(self, keys: pa.Array) -> Mapping[str, pa.Array]:
        try:
            return cut(keys, OWN)
        except _Damage as damage:
            raise DataError(
                f"sample_skeleton: the row with the features {quoted(keys[damage.row].as_py())} {damage.what}; "
                f"fetch the original file again."
            ) from None


@dataclass(frozen=True)
class _Common(SideTable):
    """Looks fields up by the key of their list."""

    keys: pa.Array = field(kw_only=True)
    values: Mapping[str, pa.Array] = field(kw_only=True)
    """Field -> its values joined by blanks, in the order of ``keys``; of each the place in a dictionary."""

    def values_of(self, keys: pa.Array) -> Mapping[str, pa.Array]:
        places = pc.index_in(keys.cast(pa.large_string()), value_set=self.keys)
        if places.null_count:
            key = keys.filter(pc.is_null(places))[0].as_py()
            raise DataError(
                f"the rows with the key {quoted(key)} have no common features: neither of {' and '.join(FILES)} that "
                f"are there holds it; pass the folder with the files of the rows, complete."
            )
        return {name: values.take(places).cast(pa.large_string()) for name, values in self.values.items()}


def _common(source: RawSource) -> _Common:
    members = [member for name in FILES if (member := source.find((name,))) is not None]
    if not members:
        raise DataError(
            f"{source.shown}: {FILES[0]} is not there, and the rows alone hold half of the fields; pass the folder "
            f"that holds both, and {FILES[1]} for the test rows."
        )
    keys: list[pa.Array] = []
    values: dict[str, list[pa.Array]] = {name: [] for name in COMMON}
    for member in members:
        for more, found in _pieces(source, member):
            keys.append(more)
            for name, texts in found.items():
                values[name].append(texts.dictionary_encode())
    joined_values = {name: pa.chunked_array(found).unify_dictionaries() for name, found in values.items()}
    return _Common(
        "common",
        {name: {} for name in COMMON},
        keys=pa.concat_arrays(keys),
        values={name: found.combine_chunks() for name, found in joined_values.items()},
    )


def _pieces(source: RawSource, member: str) -> Iterator[tuple[pa.Array, Mapping[str, pa.Array]]]:
    """Keys and fields, some lines at a time."""
    stream, rest, line = source.stream(member), b"", 1
    while data := stream.read(_READ_BYTES):
        text, _, rest = (rest + data).rpartition(b"\n")
        if text:
            yield _piece(member, text, line)
            line += text.count(b"\n") + 1
    if rest:
        yield _piece(member, rest, line)
    stream.close()


def _piece(member: str, text: bytes, first: int) -> tuple[pa.Array, Mapping[str, pa.Array]]:
    try:
        lines = pa.array(text.decode("ascii").replace("\r\n", "\n").split("\n"), pa.large_string())
    except UnicodeDecodeError as error:
        raise _damaged(member, first + text.count(b"\n", 0, error.start), "holds letters beyond ASCII") from None
    parts = pc.split_pattern(lines, ",")
    wrong = np.flatnonzero(np.asarray(pc.list_value_length(parts)) != 3)
    if len(wrong):
        found = len(parts[int(wrong[0])])
        raise _damaged(member, first + int(wrong[0]), f"has {found} columns, wanted 3: key, number, features")
    keys, numbers, lists = (parts.flatten().take(pa.array(np.arange(place, 3 * len(lines), 3))) for place in range(3))
    between = pc.count_substring(lists, "\x01")
    sizes = pc.if_else(pc.equal(lists, ""), 0, pc.add(between, 1)).cast(pa.large_string())
    other = np.flatnonzero(np.asarray(pc.not_equal(sizes, numbers)))
    if len(other):
        row = int(other[0])
        what = f"has {sizes[row]} features, but says {quoted(numbers[row].as_py())}: is it cut short?"
        raise _damaged(member, first + row, what)
    try:
        return keys, cut(lists, COMMON)
    except _Damage as damage:
        raise _damaged(member, first + damage.row, damage.what) from None


def _damaged(member: str, line: int, what: str) -> DataError:
    return DataError(f"{member}: line {line} {what}; fetch the original file again.")


class _Damage(Exception):
    """What is wrong with a list, and which one it is."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row, self.what = row, what


def cut(lists: pa.Array, names: tuple[str, ...]) -> dict[str, pa.Array]:
    """The values of each of the fields ``names`` in each list of features.

    Args:
        lists: texts.
        names: fields; others are passed over.

    Returns:
        Field -> large strings: the first ``MOST`` values with a blank between two, null where there are none.

    Raises:
        _Damage: a feature of another form, or several values of a field that has one.
    """
    lists = lists.cast(pa.large_string())
    cells = pc.split_pattern(pc.if_else(pc.equal(lists, ""), pa.scalar(None, pa.large_string()), lists), "\x01")
    rows = np.repeat(np.arange(len(lists)), np.asarray(pc.fill_null(pc.list_value_length(cells), 0)))
    features = cells.flatten()
    odd = np.flatnonzero(~np.asarray(pc.match_substring_regex(features, _FORM)))
    if len(odd):
        what = f"has the feature {quoted(features[int(odd[0])].as_py())}, which is not field ␂ value ␃ weight"
        raise _Damage(int(rows[odd[0]]), what)
    parts = pc.split_pattern_regex(features, "[\x02\x03]").flatten()
    fields, values = (parts.take(pa.array(np.arange(place, len(parts), 3))) for place in range(2))
    which = np.asarray(pc.fill_null(pc.index_in(fields, value_set=pa.array(names, pa.large_string())), -1))
    found = {}
    for number, name in enumerate(names):
        mine = np.flatnonzero(which == number)
        found[name] = _by_row(name, rows[mine], values.take(pa.array(mine)), len(lists))
    return found


def _by_row(name: str, rows: np.ndarray, values: pa.Array, n_rows: int) -> pa.Array:
    twice = np.flatnonzero(rows[1:] == rows[:-1])
    if len(twice) and name not in _SEVERAL:
        raise _Damage(int(rows[twice[0]]), f"has several values of the field {name}, which has one")
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < MOST
    offsets = np.searchsorted(rows[kept], np.arange(n_rows + 1))
    texts = pc.binary_join(
        pa.LargeListArray.from_arrays(pa.array(offsets), values.filter(pa.array(kept))),
        pa.scalar(" ", pa.large_string()),
    )
    return pc.if_else(pa.array(np.diff(offsets) > 0), texts, pa.scalar(None, pa.large_string()))
