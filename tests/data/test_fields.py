from __future__ import annotations

import random
from datetime import UTC, datetime

import numpy as np
import pytest
from plain_reference import write_card

from bench.data.dialect import Chunk
from bench.data.fields import make_fields, row_times, time_part
from bench.data.header import Header
from bench.data.layout import TIME_PARTS, LabelRule
from bench.data.readers import BlockParser
from bench.data.texts import as_texts
from bench.errors import ConfigError, DataError


def test_parts_of_time_against_the_calendar():
    rng = random.Random(0)
    seconds = np.array([0, 951782399, 951782400, 4102444799, *(rng.randrange(4 * 10**9) for _ in range(300))])
    times = [datetime.fromtimestamp(s, UTC) for s in seconds.tolist()]
    expected = {
        "year": [t.year for t in times],
        "month": [t.month for t in times],
        "day": [t.day for t in times],
        "weekday": [t.weekday() for t in times],
        "weekend": [int(t.weekday() >= 5) for t in times],
        "hour": [t.hour for t in times],
    }
    assert set(expected) == set(TIME_PARTS)
    for part, values in expected.items():
        assert time_part(seconds, part).tolist() == values, part


@pytest.mark.parametrize(
    ("rule", "value", "label"),
    [
        ("", "1", 1),
        ("", "0", 0),
        ("", "2", None),
        ("", "true", None),
        (">= 4", "4.0", 1),
        (">= 4", "3.5", 0),
        (">=4", "x", None),
        ("< 2", "1", 1),
        ("== 3", "3.0", 1),
        ("== yes", "yes", 1),
        ("!= yes", "yes", 0),
        ("== yes", "no", 0),
        (">= 4", "nan", None),
    ],
)
def test_label_rules(rule, value, label):
    assert LabelRule.parse(rule, "here").label(value) == label


def test_label_rules_that_are_none():
    for text in ("4", ">=", "=> 4", ">= four"):
        with pytest.raises(ConfigError, match=r"here: label_rule"):
            LabelRule.parse(text, "here")


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
    return made.labels.tolist(), values, made.numbers


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
    texts = ["2024-03-09 21:18:27", "1970-01-01", "20240309", "2024-03-09T21:18:27.9Z"]
    block = parser.parse(Chunk("rows", 1, "".join(f"1,{text},1\n" for text in texts).encode(), len(texts)))
    expected = [datetime.fromisoformat(text).replace(tzinfo=UTC, microsecond=0).timestamp() for text in texts]
    assert row_times(block, layout.columns[1]).tolist() == expected


@pytest.mark.parametrize(
    ("line", "time_format", "message"),
    [
        ("1,2024-02-30,1", "iso", "rows: line 12, column 't': 2024-02-30 is no time of the form 2024-03-07 or 2024-03"),
        ("1,1969-12-31,1", "iso", "1969-12-31 is no time"),
        ("1,soon,1", "iso", "soon is no time of the form"),
        ("1,14103224,1", "YYMMDDHH", "rows: line 12, column 't': 14103224 is no time of the form YYMMDDHH"),
        ("1,14023000,1", "YYMMDDHH", "14023000 is no time"),
        ("1,-5,1", "YYMMDDHH", "-5 is no time"),
        ("1,1400000000000,1", "unix", "line 12, column 't': 1400000000000 is no time of the form seconds since 1970"),
        ("1,99,1e300", "unix", "line 12, column 'x': 1e.300 does not fit a 32-bit number"),
        ("1,99,inf", "unix", "line 12, column 'x': inf does not fit"),
        ("2,99,1", "unix", "line 12, column 'y': the label is '2', not 0 or 1; mend the line or the label rule"),
        (",99,1", "unix", "line 12, column 'y': the label is missing, not 0 or 1"),
    ],
)
def test_values_that_cannot_be(tmp_path, line, time_format, message):
    good = "1,2024-03-07,1\n" if time_format == "iso" else "1,14102100,1\n"
    with pytest.raises(DataError, match=message):
        fields_of(tmp_path, good + line + "\n" + good, time_format)


def test_a_label_that_is_no_number(tmp_path):
    with pytest.raises(DataError, match=r"line 11, column 'y': the label is 'x', not a number"):
        fields_of(tmp_path, "x,14102100,1\n", rule=">= 4")
