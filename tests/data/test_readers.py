from __future__ import annotations

import io

import pytest
from plain_reference import write_card

from bench.data.raw.chunks import chunks
from bench.data.raw.dialect import Dialect
from bench.data.raw.header import read_header
from bench.data.raw.readers import BlockParser
from bench.data.raw.sources import RawStream
from bench.data.raw.text_stream import TextStream
from bench.data.raw.texts import as_texts
from bench.errors import DataError

TABBED = """
name = "mine"
[raw]
delimiter = "\\t"
quote = ""
header = false
[raw.columns]
y = "label"
skip = "ignore"
n = "integer"
x = "numeric"
c = "categorical"
"""
CSV = TABBED.replace('delimiter = "\\t"\nquote = ""\nheader = false', "")


def values_of(block, name):
    if name in block.numbers:
        return block.numbers[name].to_pylist()
    column = block.columns[name]
    values = [None, *as_texts(column.values).to_pylist()]
    return [values[code] for code in column.codes]


def rows_of(tmp_path, card, data, size=1 << 20):
    layout = write_card(tmp_path, card).layouts[0]
    stream = TextStream(RawStream("rows", io.BufferedReader(io.BytesIO(data))), layout)
    header, rest = read_header(stream, layout, size)
    parser = BlockParser(layout, header)
    rows = []
    for chunk in chunks(stream, Dialect.of(layout), size, header, rest):
        block = parser.parse(chunk)
        assert chunk.first_line == len(rows) + 1 + header.lines
        rows += zip(*(values_of(block, name) for name in "ynxc"), strict=True)
    return rows


@pytest.mark.parametrize("size", [1, 7, 16, 1 << 20])
@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_rows_do_not_depend_on_chunks_or_line_ends(tmp_path, size, end, line_end):
    lines = ["1\tq\t-3\t0.5\ta", "0\t\t\t\t", '1\t"\t3\t1e3\t "b', "0\té\t4\tnan\té"]
    data = ("\n".join(lines) + end).replace("\n", line_end).encode()
    found = rows_of(tmp_path, TABBED, data, size)
    assert found[:3] == [("1", -3, 0.5, "a"), ("0", None, None, None), ("1", 3, 1000.0, ' "b')]
    assert len(found) == 4 and found[3][3] == "é"


def test_csv_with_header_in_any_order_and_quotes(tmp_path):
    data = b'\xef\xbb\xbfc,x,"n",y,skip\n"a,b",1,2,1,z\n"say ""hi""",,,0,\n'
    assert rows_of(tmp_path, CSV, data) == [("1", 2, 1.0, "a,b"), ("0", None, None, 'say "hi"')]


@pytest.mark.parametrize("size", [3, 1 << 20])
def test_a_long_delimiter_and_another_encoding(tmp_path, size):
    card = TABBED.replace('"\\t"', '"::"\nencoding = "latin-1"')
    assert rows_of(tmp_path, card, b"1::q::5::2::caf\xe9\n0::::::::", size) == [
        ("1", 5, 2.0, "café"),
        ("0", None, None, None),
    ]


def test_words_for_missing_values(tmp_path):
    card = TABBED.replace("header = false", 'header = false\nmissing = ["", "NA"]')
    for data in (b"1\tq\t NA\tNA\tNA\n", b"1\tq\tNA\tNA \tNA\n"):
        with pytest.raises(DataError, match=r"line 1, .*a missing value has no blanks around it; set trim = true"):
            rows_of(tmp_path, card, data)
    assert rows_of(tmp_path, card, b"1\tq\tNA\tNA\tNA\n") == [("1", None, None, None)]


GOOD = b"1\tq\t1\t1\ta\n"


@pytest.mark.parametrize("size", [8, 1 << 20])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"1\tq\t1\t1\n", r"rows: line 4 has 4 columns, the card wants 5 \(TAB between them\). Mend that line"),
        (b"1\tq\t1\t1\ta\tb\n", "rows: line 4 has 6 columns, the card wants 5"),
        (b"1\tq\t9223372036854775808\t1\ta\n", "column 'n': '9223372036854775808' is not an integer; mend the value"),
        (b"1\tq\tNone\t1\ta\n", r"column 'n': 'None' is not an integer .if it .*: missing = \[\"\", \"None\"\]"),
        (b"1\tq\t1\tna\ta\n", r"column 'x': 'na' is not a number .if it stands .*: missing = \[\"\", \"na\"\]"),
        (b"1\tq\t1\tnan(1)\ta\n", r"line 4, column 'x': 'nan\(1\)' is not a number; mend"),
        (b"1\tq\t1\t-NaN()\ta\n", r"line 4, column 'x': '-NaN\(\)' is not a number; mend"),
        (b"1\tq\t" + b"v" * 5000 + b"\t1\ta\n", "column 'n': 'v{60}'… is not an integer; mend"),
        (b"1\tq\t1\t1\ta\t\n", "has 6 columns, the card wants 5 .* A delimiter stands at its end: name one"),
        (b"1\tq\t3.0.0\t1\ta\n", "column 'n': '3.0.0' is not an integer; mend the value"),
        (b"1\tq\t1.5\t1\ta\n", "rows: line 4, column 'n': '1.5' is not an integer; mend the value or the column's"),
        (b"1\tq\t1\tone\ta\n", "rows: line 4, column 'x': 'one' is not a number"),
        (b"1\tq\t1\t1\t\xff\n", "rows: line 4, column 'c': not utf-8; set the card's encoding"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, bad, message, size):
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path, TABBED, GOOD * 3 + bad + GOOD * 3, size)


def test_a_bad_line_below_a_header(tmp_path):
    with pytest.raises(DataError, match=r"rows: line 3 has 2 columns, the card wants 5 .',' between them"):
        rows_of(tmp_path, CSV, b"y,skip,n,x,c\n1,q,1,1,a\n1,q\n")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"y,skip,n,x,d\n", "rows: the header lacks the column 'c'; it reads: y, skip, n, x, d."),
        (b"y,skip,n,x,cc\n", r"lacks the column 'c'; .* Mend file or card. Did you mean 'cc'?"),
        (b"y;skip;n;x;c\n", r"lacks the column 'y'; .* With delimiter = ',' it is one column; its own seems to be ';'"),
        (b"y,skip,n,x,c,d,e\n", "columns that the card does not name: 'd', 'e'; add them under .*'ignore'"),
        (b"y,skip,n,x,c,c\n", "names the column 'c' twice"),
        (b"\n", "the file is empty"),
        (b"\ny,skip,n,x,c\n1,2,3,4,5\n", "line 1 is blank; take it out"),
        (b"1,q,3,0.5,a\n", "lacks the column 'y'; .* If the file has no header, set header = false in the card"),
        (b"y,skip,n,n,c\n", "names the column 'n' twice; rename one"),
        (b"y\x1b[31m,d\n", r"lacks the column 'y'; it reads: 'y.+x1b.31m', d"),
    ],
)
def test_a_bad_header(tmp_path, header, message):
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path, CSV, header)


@pytest.mark.parametrize("size", [8, 1 << 20])
@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\n\n"])
def test_a_blank_line_between_rows_is_named(tmp_path, size, blank):
    """To skip it would shift the row numbers, and with them the split; to read it would invent a row."""
    with pytest.raises(DataError, match="rows: line 3 is blank; take it out"):
        rows_of(tmp_path, TABBED, GOOD * 2 + blank + GOOD, size)
    card = TABBED.replace('quote = ""', "quote = '\"'\nnewlines_in_values = true")
    with pytest.raises(DataError, match="rows: line 3 is blank; take it out"):
        rows_of(tmp_path, card, GOOD * 2 + blank + GOOD, size)


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("size", [8, 1 << 20])
def test_whole_numbers_as_pandas_writes_them_where_there_are_gaps(tmp_path, size, quote):
    texts = ["3", "3.0", "", "-2.000", "20240307.0", "3", " 4 ", "NA", "9223372036854775807"]
    numbers = [3, 3, None, -2, 20240307, 3, 4, None, 2**63 - 1]
    card = TABBED.replace("header = false", "header = false\nmissing = ['', 'NA']")
    card = card.replace('quote = ""', f"quote = '{quote}'")
    data = "".join(f"1\tq\t{quote}{text}{quote}\t1\ta\n" for text in texts).encode()
    assert [row[1] for row in rows_of(tmp_path, card, data, size)] == numbers
