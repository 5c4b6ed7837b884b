"""Encodings, byte-order marks and line ends of raw tables."""

from __future__ import annotations

import io

import pytest
from plain_reference import manifest_of, write_card

from bench.data.card.layout import Layout
from bench.data.prepare.prepare import Settings, prepare
from bench.data.raw import text_stream
from bench.data.raw.text_stream import TextStream
from bench.errors import ConfigError, DataError

CARD = """
name = "mine"
[raw]
encoding = "{encoding}"
[raw.columns]
y = "label"
c = "categorical"
"""
TEXT = "y,c\r\n" + "".join(f"{i % 2},Größe {i % 3}\r\n" for i in range(40))


class Bytes:
    def __init__(self, data):
        self.name, self._file = "rows", io.BytesIO(data)

    def read(self, size):
        return self._file.read(size)


def read(data, size, encoding="utf-8", **keys):
    stream = TextStream(Bytes(data), Layout(files=(), columns=(), fields=(), encoding=encoding, **keys))
    found = b""
    while more := stream.read(size):
        found += more
    return found


@pytest.mark.parametrize("size", [1, 3, 64, 1 << 20])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "UTF8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "cp037", "utf-7"]
)
def test_every_encoding_becomes_utf8(monkeypatch, encoding, size):
    for head in (8, 1 << 16):
        monkeypatch.setattr(text_stream, "_HEAD_BYTES", head)
        assert read(TEXT.encode(encoding), size, encoding) == TEXT.encode()
    assert read("日本語,語\n".encode("shift_jis"), size, "shift_jis") == "日本語,語\n".encode()


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252", "gb18030"])
def test_a_store_does_not_depend_on_the_encoding(tmp_path, encoding):
    sums = []
    for one in ("utf-8", encoding):
        (tmp_path / "t.csv").write_bytes(TEXT.encode(one))
        card = write_card(tmp_path, CARD.format(encoding=one))
        store = prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=Settings(chunk_bytes=50))
        sums.append(manifest_of(store)["files"])
    assert sums[0] == sums[1]


@pytest.mark.parametrize("size", [1, 64, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "bad", "shown"),
    [("cp1252", b"\x81", "0x81"), ("ascii", b"\xff", "0xff"), ("utf-16-le", b"\x00\xdc\n\x00", "0x00dc")],
)
def test_a_byte_that_is_none_of_the_encoding_is_named_with_its_line(tmp_path, size, encoding, bad, shown):
    data = TEXT.replace("ö", "o").replace("ß", "s").replace("\r", "").encode(encoding)
    lines = data.split("\n".encode(encoding))
    lines[7] += bad
    (tmp_path / "t.csv").write_bytes("\n".encode(encoding).join(lines))
    card = write_card(tmp_path, CARD.format(encoding=encoding))
    wanted = (
        f"t.csv: line 8: byte {shown} is no {encoding}; set" if shown else "t.csv: line 8, column 'c': not utf-8; set"
    )
    with pytest.raises(DataError, match=wanted):
        prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=Settings(chunk_bytes=size))


@pytest.mark.parametrize("encoding", ["utf-61", "hex", "rot13", "", "nonsense"])
def test_what_is_no_encoding_is_refused_with_the_card(tmp_path, encoding):
    with pytest.raises(ConfigError, match=f"encoding = '{encoding}' is unknown"):
        write_card(tmp_path, CARD.format(encoding=encoding))


def test_utf_16_that_the_card_does_not_say_is_recognised():
    with pytest.raises(DataError, match="rows: is UTF-16 text; set encoding = 'utf-16' in the card"):
        read(TEXT.encode("utf-16"), 64)


@pytest.mark.parametrize("chunk_bytes", [1, 64, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_a_store_does_not_depend_on_line_ends(tmp_path, chunk_bytes, end, last):
    card = write_card(tmp_path, CARD.format(encoding="utf-8"))
    sums = []
    for one in ("\n", end):
        text = TEXT.replace("\r\n", one)
        (tmp_path / "t.csv").write_text(text if last else text.removesuffix(one), newline="")
        store = prepare(card, tmp_path / "t.csv", tmp_path / "out", settings=Settings(chunk_bytes=chunk_bytes))
        sums.append(manifest_of(store)["files"])
    assert manifest_of(store)["n_rows"] == 40 and sums[0] == sums[1]


def test_carriage_returns_alone_cannot_stand_beside_line_ends_in_values():
    with pytest.raises(DataError, match=r"rows: its lines end in carriage returns alone, which .*; turn them into"):
        read(b"a\rb\r", 9, newlines_in_values=True)
    assert read(b"a\r\r\n", 9, newlines_in_values=True) == b"a\r\r\n"


def test_a_line_feed_far_behind_ends_a_line_of_its_own():
    """Line ends are told apart by a head of fixed size, so that chunks have no part in it."""
    data = b"a\r" * (1 << 15) + b"b\n"
    for size in (64, 1 << 20):
        assert read(data, size) == b"a\n" * (1 << 15) + b"b\n"
