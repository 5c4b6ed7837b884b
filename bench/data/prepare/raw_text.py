"""Generated rows as a raw text file: the label, then the fields in their order, TAB between them, no header."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.card.card import DatasetCard
from bench.data.prepare.parallel import map_ordered
from bench.data.prepare.workspace import Workspace
from bench.data.raw.generated import Content, GeneratedBlock, GeneratedData, generated_data, hex_words
from bench.errors import DataError, storage_error

Tick = Callable[[int, int | None], None]
_HEX_DIGITS = 8


def write_raw(card: DatasetCard, path: Path, pool: Executor, tick: Tick, device: str = "cpu") -> int:
    """Write the rows that the generator of ``card`` makes to ``path``, which is there whole or not at all.

    Args:
        card: a generated data set.
        path: the file, replaced if it is there.
        pool: turns blocks into text side by side.
        tick: is told the rows written and, where it is known, the rows in all.
        device: where the rows are made.

    Returns:
        The number of rows.

    Raises:
        DataError: not a generated data set, or the file cannot be written.
        ConfigError: the generator refuses the device.
    """
    if not card.generator:
        raise DataError(f"data set {card.name!r} is not generated: there is no raw text to write to {path}.")
    data = generated_data(card, device)
    with Workspace(path, "--raw-out") as work:
        try:
            rows = _write_blocks(data, work.folder / path.name, pool, tick)
            (work.folder / path.name).replace(path)
        except OSError as error:
            raise storage_error(error, path, "--raw-out") from error
    return rows


def _write_blocks(data: GeneratedData, path: Path, pool: Executor, tick: Tick) -> int:
    def work(block: GeneratedBlock) -> tuple[int, pa.Buffer]:
        return len(block.labels), block_text(block, data)

    rows = 0
    with path.open("wb", buffering=0) as file:
        for n_rows, text in map_ordered(work, data.blocks, pool):
            left = memoryview(text)
            while left:
                left = left[file.write(left) :]
            rows += n_rows
            tick(rows, data.n_rows)
    return rows


def block_text(block: GeneratedBlock, data: GeneratedData) -> pa.Buffer:
    """The lines of one block, as bytes."""
    columns = [pa.array(block.labels).cast(pa.string())]
    columns += [_texts(block.columns[name], data.content(name), data.missing) for name in data.fields]
    lines = pc.binary_join_element_wise(*columns, "\t")
    text = pc.binary_join_element_wise(lines, "", "\n")
    _, offsets, letters = text.buffers()
    places = np.frombuffer(offsets, dtype=np.int32)[text.offset : text.offset + len(text) + 1]
    return letters.slice(int(places[0]), int(places[-1] - places[0]))


def _texts(numbers: np.ndarray, content: Content, missing: int) -> pa.Array:
    """The text of each number, empty where it is missing."""
    gone = numbers == missing
    if content == "hex":
        offsets = np.zeros(len(numbers) + 1, dtype=np.int32)
        np.cumsum(~gone, out=offsets[1:])
        letters = hex_words(numbers[~gone] if gone.any() else numbers)
        buffers = [None, pa.py_buffer(offsets * np.int32(_HEX_DIGITS)), pa.py_buffer(letters)]
        return pa.Array.from_buffers(pa.string(), len(numbers), buffers)
    distinct = pa.array(numbers, mask=gone).dictionary_encode()
    texts = distinct.dictionary.cast(pa.string())
    return texts.take(distinct.indices).fill_null("")
