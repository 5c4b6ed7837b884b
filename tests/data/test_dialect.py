"""Escapes, delimiters, headers and what the parser alone would take for granted."""

from __future__ import annotations

import numpy as np
import pytest
from text_tables import Bytes, layout_of, read_rows

from bench.data.card.layout import Column, Layout
from bench.data.raw.dialect import Chunk
from bench.data.raw.header import read_header
from bench.data.raw.quoted import quoted_spans
from bench.data.raw.readers import BlockParser
from bench.data.raw.text_stream import TextStream
from bench.errors import DataError


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("chunk_bytes", [1, 64, 1 << 20])
def test_an_escaped_quote_is_a_letter_where_the_card_says_so(end, chunk_bytes):
    text = f'"the \\"best\\" shoe",a\\,b{end or chr(10)}"c\\\\","d""e"{end}'
    layout = layout_of(2, header=False, escape="\\")
    assert read_rows(text.encode(), layout, chunk_bytes)[0] == [['the "best" shoe', "a,b"], ["c\\", 'd"e']]


def test_an_escaped_line_end_needs_the_cards_word():
    data = b"a,b\\\nc\nd,e\n"
    with pytest.raises(DataError, match="line 1 ends in an escaped line end"):
        read_rows(data, layout_of(2, header=False, escape="\\"))
    layout = layout_of(2, header=False, escape="\\", newlines_in_values=True)
    assert read_rows(data, layout, 4) == ([["a", "b\nc"], ["d", "e"]], [1, 3])


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("delimiter", [";", "\t", "|", "::", "¦", "\x01"])
def test_quotes_are_read_with_every_delimiter(delimiter, quote):
    row = [f"{quote}a{delimiter}b{quote}", f"{quote}7{quote}", "7"]
    data = delimiter.join(row) + "\n"
    layout = layout_of(3, header=False, delimiter=delimiter, quote=quote)
    assert read_rows(data.encode(), layout)[0] == [[f"a{delimiter}b", "7", "7"]]


def test_a_long_delimiter_meets_the_sign_that_stands_for_it():
    with pytest.raises(DataError, match=r"line 2 holds the control character U\+001F"):
        read_rows(b"a::b\nc::d\x1f\n", layout_of(2, header=False, delimiter="::"))


def test_a_header_in_quotes():
    data = b'y;"the; name";"say ""hi""\nthere"\n1;2;3\n'
    names = ("y", "the; name", 'say "hi"\nthere')
    columns = tuple(Column(name, "label" if name == "y" else "categorical", name) for name in names)
    keys = {"delimiter": ";", "quote": '"', "newlines_in_values": True}
    layout = Layout(files=(), columns=columns, fields=tuple(column.name for column in columns), **keys)
    assert read_rows(data, layout, 4) == ([["1", "2", "3"]], [3])
    for text, message in [
        ('y;"c', "line 1 opens a quote that is never closed; close it"),
        ("y;c\n", "the header lacks the column 'the; name'"),
    ]:
        with pytest.raises(DataError, match=message):
            read_rows(text.encode(), layout)
    bare = Layout(files=(), columns=columns[:1], fields=("y",), delimiter=";", quote="")
    with pytest.raises(DataError, match=r"lacks the column 'y'; .* Its names stand in quotes: set quote in the card"):
        read_rows(b'"y";"z"\n', bare)


def test_a_value_in_quotes_that_the_card_takes_for_letters():
    columns = (Column("c", "label", "c"), Column("n", "integer", "n"))
    layout = Layout(files=(), columns=columns, fields=("n",), header=False, delimiter=";", quote="")
    with pytest.raises(DataError, match=r"line 2, column 'n': .* is not an integer .quotes are taken for letters; set"):
        read_rows(b'a;1\nb;"7"\n', layout)
    with pytest.raises(DataError, match=r"line 2 has 3 columns, .*Quotes are taken for letters: set quote in the card"):
        read_rows(b'a;1\n"b;c";7\n', layout)


@pytest.mark.parametrize("text", ["0x10", "-0X1f", "0x"])
@pytest.mark.parametrize("beside", ["a", "a value that is long", "x"])
def test_hexadecimal_numbers_are_no_integers(text, beside):
    columns = (Column("c", "label", "c"), Column("n", "integer", "n"), Column("x", "numeric", "x"))
    layout = Layout(files=(), columns=columns, fields=("n", "x"), header=False)
    with pytest.raises(DataError, match=f"line 3, column 'n': '{text}' is not an integer; mend the value"):
        read_rows(f"{beside},10,1\n0x1,,2\n{beside},{text},3\n".encode(), layout)
    with pytest.raises(DataError, match=f"line 1, column 'x': '{text}' is not a number"):
        read_rows(f"{beside},10,{text}\n".encode(), layout)


def test_a_parser_that_finds_other_rows_is_not_believed(monkeypatch):
    layout = layout_of(2, header=False)
    parser = BlockParser(layout, read_header(TextStream(Bytes(b"a,b\n"), layout), layout, 9)[0])
    table = parser._read(b"a,b\n", parser._convert_options(["c0", "c1"], []), None)
    monkeypatch.setattr(parser, "_read", lambda *_: table)
    with pytest.raises(DataError, match="lines from 5 on hold 2 rows by their line ends and 1 by the parser"):
        parser.parse(Chunk("rows", 5, b'"a",b\nc,d\n', 2))


def test_spans_hold_what_lies_between_their_quotes():
    spans = quoted_spans(np.frombuffer(b'"a",b"c,"d""e","', dtype=np.uint8), b'"', ord(","))
    assert spans.is_open
    assert spans.hold(np.arange(16)).tolist() == [i in (1, 9, 10, 11, 12) for i in range(16)]


def test_an_escape_at_the_end_escapes_nothing():
    layout = layout_of(2, header=False, escape="\\")
    for spans in (False, True):
        layout = layout_of(2, header=False, escape="\\", newlines_in_values=spans)
        with pytest.raises(DataError, match="line 2 ends in an escape with nothing behind it; take it out"):
            read_rows(b'a,b\n",",\\', layout)
        assert read_rows(b"a,b\nc,d\\\\", layout)[0] == [["a", "b"], ["c", "d\\"]]


def test_a_long_delimiter_is_paired_from_the_left():
    layout = layout_of(3, header=False, delimiter="||")
    assert read_rows(b'1||50|||"pan\n2||"a||b"||c\n', layout)[0] == [["1", "50", '|"pan'], ["2", "a||b", "c"]]


@pytest.mark.parametrize("may_span", [False, True])
def test_a_header_whose_quote_is_never_closed_is_named_at_once(may_span):
    data = b'y,"c,d\n' + b"1,a,b\n" * 100_000
    with pytest.raises(DataError, match="line 1 opens a quote that is"):
        read_rows(data, layout_of(3, newlines_in_values=may_span))


@pytest.mark.parametrize("chunk_bytes", [64, 1 << 20])
def test_a_quote_that_ends_where_the_next_one_opens_swallows_no_row(chunk_bytes):
    """Its row and the next have the columns of one row together."""
    rows = [f'{i % 2},"item {i % 5}",{i}' for i in range(100)]
    rows[69] = '1,"12 inch pan,69'
    layout = layout_of(3, header=False, newlines_in_values=True)
    with pytest.raises(DataError, match="line 70 opens a quote that runs on for 1 line and then has text behind it"):
        read_rows("\n".join(rows).encode(), layout, chunk_bytes)
