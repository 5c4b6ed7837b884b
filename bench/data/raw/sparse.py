"""Text of libsvm (``label index:value …``) and libffm (``label field:index:value …``) -> blocks of columns.

A categorical column holds which of its indices a row names (with the value 1), a column of numbers the value of its one
index; an index that is not there is a missing value. All work is done on the tokens of a chunk at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.card.layout import MULTI_MEND, Column, Layout
from bench.data.raw.columns import LocalColumn, local_column
from bench.data.raw.dialect import Chunk
from bench.data.raw.readers import RawBlock
from bench.data.raw.texts import parse_numbers
from bench.errors import DataError, quoted

_FORMS = {2: "index:value", 3: "field:index:value"}


@dataclass(frozen=True)
class _Tokens:
    """What a chunk says beside its labels."""

    rows: np.ndarray
    """Of each token, increasing, int64 [n]."""
    columns: np.ndarray
    """Place of the column each belongs to, int64 [n]."""
    indices: np.ndarray
    """int64 [n]."""
    values: np.ndarray
    """float64 [n]."""


class SparseParser:
    """Turns the chunks of one table into blocks."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._n_parts = 3 if layout.format == "libffm" else 2
        self._columns = [column for column in layout.columns if column.role != "label"]
        ranges = [column.index_range for column in self._columns]
        self._order = np.argsort([low for low, _ in ranges], kind="stable")
        self._lows = np.array([low for low, _ in ranges], dtype=np.int64)[self._order]
        self._highs = np.array([high for _, high in ranges], dtype=np.int64)[self._order]

    def parse(self, chunk: Chunk) -> RawBlock:
        """The rows of ``chunk``.

        Raises:
            DataError: a line of another form, or a value that is not of its column's kind; the message names the line.
        """
        labels, tokens = self._tokens(chunk)
        coded = {self._layout.label.name: local_column(labels.dictionary_encode())}
        numbers: dict[str, pa.Array] = {}
        for place, column in enumerate(self._columns):
            mine = tokens.columns == place
            rows, indices, values = tokens.rows[mine], tokens.indices[mine], tokens.values[mine]
            if column.role == "categorical":
                coded[column.name] = self._categories(chunk, column, (rows, indices, values), len(labels))
            elif column.role != "ignore":
                self._check_single(chunk, column, rows)
                found = np.full(len(labels), np.nan)
                found[rows] = values
                array = pa.array(found, mask=np.isnan(found))
                if column.role == "numeric":
                    numbers[column.name] = array
                else:
                    coded[column.name] = self._whole(chunk, column, array)
        return RawBlock(chunk.member, chunk.first_line, len(labels), coded, numbers)

    def _tokens(self, chunk: Chunk) -> tuple[pa.Array, _Tokens]:
        """The labels of the rows, and all else."""
        try:
            text = chunk.data.decode("ascii")
        except UnicodeDecodeError as error:
            raise self._error(chunk, chunk.data.count(b"\n", 0, error.start), "holds letters beyond ASCII") from None
        text = re.sub(r"#[^\n]*", "", text) if "#" in text else text
        lines = pa.array(text.removesuffix("\n").split("\n"), pa.large_string())
        lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines))
        words = lists.flatten()
        offsets = np.concatenate([[0], np.cumsum(np.asarray(pc.list_value_length(lists)))])
        blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(lines), ""))
        if blank.any():
            raise self._error(chunk, int(blank.argmax()), "has no label; take it out")
        is_label = np.zeros(len(words), dtype=bool)
        is_label[offsets[:-1]] = True
        rows = np.repeat(np.arange(len(lines)), np.diff(offsets))[~is_label]
        return words.filter(pa.array(is_label)), self._split(chunk, words.filter(pa.array(~is_label)), rows)

    def _split(self, chunk: Chunk, words: pa.Array, rows: np.ndarray) -> _Tokens:
        form = _FORMS[self._n_parts]
        whole = pc.match_substring_regex(words, r"^(\d{1,18}:)" + f"{{{self._n_parts - 1}}}" + r"[^:]+$")
        wrong = np.flatnonzero(~np.asarray(whole))
        parts = None if len(wrong) else pc.split_pattern(words, ":").flatten()
        numbers = [] if parts is None else [parts.take(pa.array(places)) for places in self._places(len(words))]
        values = parse_numbers(numbers[-1]) if numbers else None
        if values is None:
            bad = int(wrong[0]) if len(wrong) else _first_bad(numbers[-1])
            word = words[bad].as_py()
            why = "ranks queries, which is another task" if word.startswith("qid:") else f"is not of the form {form}"
            raise self._error(chunk, int(rows[bad]), f"holds {quoted(word)}, which {why}")
        keys = np.asarray(numbers[0].cast(pa.int64()))
        place = np.searchsorted(self._lows, keys, side="right") - 1
        known = (place >= 0) & (keys <= self._highs[place])
        if not known.all():
            bad = int((~known).argmax())
            what = "field" if self._n_parts == 3 else "index"
            raise self._error(
                chunk,
                int(rows[bad]),
                f'has the {what} {keys[bad]}, which no column of the card holds; add one, perhaps of the kind "ignore"',
            )
        indices = np.asarray(numbers[-2].cast(pa.int64()))
        return _Tokens(rows, self._order[place], indices, np.asarray(values))

    def _places(self, n_words: int) -> list[np.ndarray]:
        return [np.arange(part, n_words * self._n_parts, self._n_parts) for part in range(self._n_parts)]

    def _categories(
        self, chunk: Chunk, column: Column, tokens: tuple[np.ndarray, np.ndarray, np.ndarray], n_rows: int
    ) -> LocalColumn:
        rows, indices, values = tokens
        odd = ~np.isin(values, (0.0, 1.0))
        if odd.any():
            bad = int(odd.argmax())
            what = f"gives index {indices[bad]} of the categorical column {column.name!r} the value {values[bad]:g}"
            raise self._error(chunk, int(rows[bad]), f"{what}, and it is 1 for one that is there; or make it numeric")
        rows, indices = rows[values == 1], indices[values == 1]
        if column.multi:
            offsets = np.searchsorted(rows, np.arange(n_rows + 1))
            texts = pa.array(indices).cast(pa.large_string())
            lists = pa.LargeListArray.from_arrays(pa.array(offsets), texts)
            return LocalColumn(np.arange(1, n_rows + 1), lists)
        self._check_single(chunk, column, rows)
        encoded = pa.array(indices).dictionary_encode()
        codes = np.zeros(n_rows, dtype=np.int64)
        codes[rows] = np.asarray(encoded.indices) + 1
        return LocalColumn(codes, encoded.dictionary.cast(pa.large_string()))

    def _check_single(self, chunk: Chunk, column: Column, rows: np.ndarray) -> None:
        twice = rows[1:] == rows[:-1]
        if twice.any():
            mend = MULTI_MEND if column.role == "categorical" else "a column of numbers has one in a row"
            what = f"has several values of the column {column.name!r}: {mend}"
            raise self._error(chunk, int(rows[1:][twice][0]), what)

    def _whole(self, chunk: Chunk, column: Column, array: pa.Array) -> LocalColumn:
        numbers = array.to_numpy(zero_copy_only=False)
        odd = np.isfinite(numbers) & (numbers % 1 != 0)
        if odd.any():
            row = int(odd.argmax())
            raise self._error(chunk, row, f"has the value {numbers[row]:g} in {column.name!r}, which is not an integer")
        return local_column(array.cast(pa.int64()).dictionary_encode())

    def _error(self, chunk: Chunk, row: int, what: str) -> DataError:
        return DataError(f"{chunk.member}: line {chunk.first_line + row} {what}.")


def _first_bad(texts: pa.Array) -> int:
    return next(place for place in range(len(texts)) if parse_numbers(texts.slice(place, 1)) is None)
