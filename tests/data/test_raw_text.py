from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bench.data.prepare.raw_text import block_text, write_raw
from bench.data.raw.generated import NO_VALUE, GeneratedBlock, GeneratedData, hex_words
from bench.datasets import resolve_dataset
from bench.errors import DataError


def test_hexadecimal_digits():
    codes = np.array([0, 1, 255, 0xDEADBEEF, 2**32 - 1, 0x00010000])
    assert [word.tobytes().decode() for word in hex_words(codes)] == [f"{code:08x}" for code in codes.tolist()]


def test_lines_of_a_block():
    columns = {
        "h": np.array([5, NO_VALUE, 0xABCDEF01]),
        "n": np.array([-3, 12_345_678_901, NO_VALUE]),
        "c": np.array([NO_VALUE, NO_VALUE, NO_VALUE]),
    }
    block = GeneratedBlock(columns, np.array([0, 1, 1], np.uint8), np.zeros(3, np.float32))
    data = GeneratedData(("n", "c", "h"), {}, iter(()), {"h": "hex", "n": "integer"}, NO_VALUE)
    text = bytes(block_text(block, data)).decode()
    assert text == "0\t-3\t\t00000005\n1\t12345678901\t\t\n1\t\t\tabcdef01\n"


def test_the_file_is_there_whole_or_not_at_all(tmp_path):
    card = resolve_dataset("planted[rows=200000]")
    path = tmp_path / "rows.tsv"
    path.write_text("before")

    def fail(rows, total):
        assert (rows, total) == (65_536, None)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(KeyboardInterrupt):
            write_raw(card, path, pool, fail)
        assert [file.name for file in tmp_path.iterdir()] == ["rows.tsv"] and path.read_text() == "before"
        told = []
        small = resolve_dataset("planted[rows=300]")
        assert write_raw(small, path, pool, lambda rows, total: told.append(rows)) == 300
    assert told == [300]
    lines = path.read_text().splitlines()
    assert len(lines) == 300 and {line.count("\t") for line in lines} == {24}
    assert {line[0] for line in lines} == {"0", "1"}


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    card = resolve_dataset("planted[rows=300]")
    (tmp_path / "file").write_text("")

    def full(self, target):
        raise OSError(28, "No space left on device")

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(DataError, match=r"file: something else is there already; .* choose another --raw-out"):
            write_raw(card, tmp_path / "file" / "rows.tsv", pool, lambda *_: None)
        monkeypatch.setattr("pathlib.Path.replace", full)
        with pytest.raises(DataError, match=r"rows.tsv: the disk is full; .* or choose another --raw-out"):
            write_raw(card, tmp_path / "rows.tsv", pool, lambda *_: None)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
