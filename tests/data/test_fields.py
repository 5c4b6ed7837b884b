from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from plain_reference import write_card

from bench.data.raw.dialect import Chunk
from bench.data.raw.fields import make_fields, row_times
from bench.data.raw.header import Header
from bench.data.raw.readers import BlockParser
from bench.data.raw.texts import as_texts
from bench.errors import DataError

CARD = """
name = "mine"
[raw]
header = false
[raw.columns]
y = "label"
t = { kind = "time", format = "FORMAT", parts = { hour = "hour", weekday = "weekday", weekend = "weekend" } }
x = "numeric"
"""


def fields_of(tmp_path, text, time_format="YYMMDDHH", rule=""):
    card = CARD.replace("FORMAT", time_format).replace("header", f'label_rule = "{rule}"\nheader')
    layout = write_card(tmp_path, card).layouts[0]
    parser = BlockParser(layout, Header(("y", "t", "x"), 0))
    block = parser.parse(Chunk("rows", 11, text.encode(), text.count("\n")))
    made = make_fields(block, layout, (), False)
    texts = [[None, *as_texts(column.values).to_pylist()] for column in made.columns]
    values = [[text[i] for i in column.codes] for text, column in zip(texts, made.columns, strict=True)]
    return made.labels.tolist(), values, np.stack(made.numbers, axis=1)


def test_hours_of_avazu(tmp_path):
    labels, (hour, weekday, weekend, _), numbers = fields_of(tmp_path, "1,14102100,1.5\n0,14102523,\n0,,-2\n")
    assert labels == [1, 0, 0]
    assert (hour, weekday, weekend) == (["0", "23", None], ["1", "5", None], ["0", "1", None])
    np.testing.assert_array_equal(numbers, [[1.5], [np.nan], [-2]])


def test_times_in_iso_8601(tmp_path):
    texts = ["2024-03-07", "2024-03-09 21:18:27", "2024-03-10T23:59:59.75Z", "2024-03-11T00:30:00+01:00", ""]
    _, (hour, weekday, weekend, _), _ = fields_of(tmp_path, "".join(f"1,{text},1\n" for text in texts), "iso")
    # a Thursday, a Saturday, a Sunday, and half past eleven of that Sunday in UTC
    assert hour == ["0", "21", "23", "23", None]
    assert weekday == ["3", "5", "6", "6", None]
    assert weekend == ["0", "1", "1", "1", None]


def test_times_in_iso_8601_order_the_rows(tmp_path):
    layout = write_card(tmp_path, CARD.replace("FORMAT", "iso")).layouts[0]
    parser = BlockParser(layout, Header(("y", "t", "x"), 0))
    texts = ["2024-03-09 21:18:27", "1970-01-01", "1955-03-01", "0001-01-01", "20240309", "2024-03-09T21:18:27.9Z"]
    block = parser.parse(Chunk("rows", 1, "".join(f"1,{text},1\n" for text in texts).encode(), len(texts)))
    expected = [datetime.fromisoformat(text).replace(tzinfo=UTC, microsecond=0).timestamp() for text in texts]
    assert row_times(block, layout.columns[1]).tolist() == expected


@pytest.mark.parametrize(
    ("line", "time_format", "message"),
    [
        (
            "1,2024-02-30,1",
            "iso",
            "rows: line 12, column 't': '2024-02-30' is no time of the form 2024-03-07 or 2024-03",
        ),
        ("1,now,1", "iso", "rows: line 12, column 't': 'now' is no time of the form"),
        ("1,today,1", "iso", "rows: line 12, column 't': 'today' is no time of the form"),
        ("1,NaT,1", "iso", "rows: line 12, column 't': 'NaT' is no time of the form"),
        ("1,2024,1", "iso", "rows: line 12, column 't': '2024' is no time of the form"),
        ("1,14103224,1", "YYMMDDHH", "rows: line 12, column 't': 14103224 is no time of the form YYMMDDHH"),
        ("1,14023000,1", "YYMMDDHH", "14023000 is no time"),
        ("1,-5,1", "YYMMDDHH", "-5 is no time"),
        (
            "1,1400000000000,1",
            "unix",
            "1400000000000 is no time of the form seconds since 1970; it looks like milliseco",
        ),
        ("1,1400000000000000,1", "unix", "it looks like microseconds: divide by 1,000,000"),
        ("1,-1400000000000000000,1", "unix", "it looks like nanoseconds: divide by 1,000,000,000"),
        ("1,99,1e400", "unix", "line 12, column 'x': inf is no finite number that 64 bits can hold; mend the value"),
        ("1,99,-inf", "unix", "line 12, column 'x': -inf is no finite number"),
        ("2,99,1", "unix", "line 12, column 'y': the label is '2', not 0 or 1; mend the line, or say under .raw. of"),
        (",99,1", "unix", "line 12, column 'y': the label is missing, and must be 0 or 1"),
    ],
)
def test_values_that_cannot_be(tmp_path, line, time_format, message):
    good = "1,2024-03-07,1\n" if time_format == "iso" else "1,14102100,1\n"
    with pytest.raises(DataError, match=message):
        fields_of(tmp_path, good + line + "\n" + good, time_format)


def test_a_label_that_is_no_number(tmp_path):
    with pytest.raises(DataError, match=r"line 11, column 'y': the label is 'x', not a number"):
        fields_of(tmp_path, "x,14102100,1\n", rule=">= 4")


def test_times_before_1970(tmp_path):
    texts = {
        "iso": ["1955-03-01", "1969-12-31T23:59:59", "1900-02-28 05:00:00.5", "1969-12-31T23:30:00-02:00"],
        "unix": ["-468288000", "-1", "-2203959600", "5400"],
    }
    for time_format, written in texts.items():
        _, (hour, weekday, weekend, _), _ = fields_of(tmp_path, "".join(f"1,{t},1\n" for t in written), time_format)
        # a Tuesday, a Wednesday, a Wednesday, and half past one of a Thursday in UTC
        assert hour == ["0", "23", "5", "1"]
        assert weekday == ["1", "2", "2", "3"]
        assert weekend == ["0"] * 4


def test_numbers_keep_what_they_differ_in(tmp_path):
    texts = ["1700000000", "1700000059", "0.1", "-1e300", "1e-300", "16777217"]
    _, _, numbers = fields_of(tmp_path, "".join(f"1,14102100,{text}\n" for text in texts))
    assert numbers.dtype == np.float64
    assert numbers[:, 0].tolist() == [float(text) for text in texts]
