"""Texts as tables: what the readers make of bytes in memory, row by row."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

from bench.data.card.layout import Column, Layout
from bench.data.prepare.parallel import map_ordered
from bench.data.raw.chunks import chunks
from bench.data.raw.dialect import Dialect
from bench.data.raw.header import read_header
from bench.data.raw.readers import BlockParser
from bench.data.raw.text_stream import TextStream
from bench.data.raw.texts import as_texts


class Bytes:
    """A stream of bytes under the name ``rows``."""

    def __init__(self, data):
        self.name, self._file = "rows", io.BytesIO(data)

    def read(self, size):
        return self._file.read(size)


def layout_of(n_columns, **keys):
    columns = tuple(Column(f"c{i}", "categorical" if i else "label", f"c{i}") for i in range(n_columns))
    keys = {"quote": '"', "missing": ()} | keys
    return Layout(files=(), columns=columns, fields=tuple(column.name for column in columns), **keys)


def texts_of(block, name):
    column = block.columns[name]
    texts = as_texts(column.values).to_pylist()
    return [texts[code - 1] if code else None for code in column.codes.tolist()]


def read_rows(data, layout, chunk_bytes=1 << 20, threads=1):
    """The table's rows as lists of texts, and the line of each."""
    stream = TextStream(Bytes(data), layout)
    header, rest = read_header(stream, layout, chunk_bytes)
    parts = chunks(stream, Dialect.of(layout), chunk_bytes, header, rest)
    rows, lines = [], []
    with ThreadPoolExecutor(threads) as pool:
        for block in map_ordered(BlockParser(layout, header).parse, parts, pool):
            rows += zip(*(texts_of(block, column.name) for column in layout.columns), strict=True)
            lines += [block.line(row) for row in range(block.n_rows)]
    return [list(row) for row in rows], lines
