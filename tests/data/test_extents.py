"""Cutting a plain file where it lies gives the rows that reading it through gives."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.card.layout import Column, Layout
from bench.data.prepare import extents as module
from bench.data.prepare.extents import Extent, extents
from bench.data.raw import chunks as streaming
from bench.data.raw.chunks import chunks
from bench.data.raw.dialect import Dialect
from bench.data.raw.header import Header
from bench.data.raw.text_stream import TextStream
from bench.errors import DataError

LAYOUT = Layout((), (Column("y", "label", ""), Column("c", "categorical", "c")), ("c",))
DIALECT = Dialect(b",", b"", b"", newlines_in_values=False)
LINE = st.sampled_from(["", "\r", "1,a", "0,bb\r", "1,", "0," + "c" * 40, "1,d\r"])


def stream(data: bytes) -> TextStream:
    file = io.BytesIO(data)
    file.name = "t.csv"
    return TextStream(file, LAYOUT)


def cut(path: Path, size: int, header: tuple[int, int] = (0, 0)) -> list[Extent]:
    return list(extents(path, "t.csv", DIALECT, header, size))


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(LINE, max_size=12), end=st.sampled_from(["", "\n", "\r", "\n\n"]), size=st.integers(1, 60))
def test_the_pieces_are_the_rows(lines: list[str], end: str, size: int) -> None:
    data = ("1,z\n" + "\n".join(lines) + end).encode()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LOOK_BYTES", 8)
        path = Path(folder) / "t.csv"
        path.write_bytes(b"head\n" + data)
        found, begun = [], 0
        for extent in cut(path, size, (1, 5)):
            found.append(extent.load(begun))
            begun += found[-1].line_ends
    wanted = list(chunks(stream(data), DIALECT, size, Header((), 1), b""))
    assert b"".join(chunk.data for chunk in found) == b"".join(chunk.data for chunk in wanted)
    rows = data.split(b"\n")
    for chunk in found:
        line = chunk.first_line - 2  # the header is one
        assert chunk.data.split(b"\n")[0].rstrip(b"\r") == rows[line].rstrip(b"\r")
        assert chunk.line_ends == chunk.data.count(b"\n")
    assert all(chunk.data.endswith(b"\n") for chunk in found[:-1])


def test_a_row_without_an_end_is_refused_on_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LONGEST_ROW", 100)
    (tmp_path / "t.csv").write_bytes(b"y,c\n1,a\n0,b\n1," + b"x" * 300 + b"\n")
    with pytest.raises(DataError, match=r"t\.csv: line 4 is longer than 100 bytes"):
        cut(tmp_path / "t.csv", 8, (1, 4))


@pytest.mark.parametrize("change", [b"1,a\n0,c\n", b"1,a\n", None])
def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, change: bytes | None) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"1,a\n0,b\n")
    (extent,) = cut(path, 100)
    assert extent.load(6).first_line == 7
    path.unlink()
    if change is not None:
        path.write_bytes(change)
    what = "is not what it was when it was cut" if change else "there is no such file"
    with pytest.raises(DataError, match=what):
        extent.load()
