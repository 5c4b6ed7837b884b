"""Times of text and numbers against Python's calendar."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.card.layout import TIME_FORMATS, TIME_PARTS
from bench.data.raw.times import FORMATS, time_part


def read(time_format, values):
    """Seconds of each value, None where it is no time."""
    times = FORMATS[time_format].read(pa.array(values))
    return [s if ok else None for s, ok in zip(times.seconds.tolist(), times.valid.tolist(), strict=True)]


def seconds(when: datetime) -> int:
    """Whole seconds since 1970, earlier ones below zero."""
    return (when.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def test_every_format_is_read():
    assert set(FORMATS) == set(TIME_FORMATS)


def test_parts_of_time_against_the_calendar():
    rng = random.Random(0)
    drawn = [rng.randrange(-62_135_596_800, 253_402_300_800) for _ in range(500)]
    near = [rng.randrange(-4 * 10**9, 4 * 10**9) for _ in range(500)]
    stamps = np.array([0, -1, -86_400, -86_401, 951782399, 951782400, 4102444799, -62_135_596_800, *drawn, *near])
    times = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=s) for s in stamps.tolist()]
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
        assert time_part(stamps, part).tolist() == values, part


ZONES = st.sampled_from([None, UTC, *(timezone(timedelta(minutes=m)) for m in (-720, -210, -1, 60, 345, 840))])
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES)


@given(st.lists(st.tuples(MOMENTS, st.integers(0, 8), st.sampled_from("T ")), min_size=1, max_size=20))
@settings(max_examples=150, deadline=None)
def test_iso_8601_is_read_as_python_reads_it(drawn):
    texts = []
    for when, form, between in drawn:
        zone = when.strftime("%z")
        zone = "Z" if zone == "+0000" and form % 2 else f"{zone[:3]}:{zone[3:]}" if zone and form % 3 else zone
        texts.append(
            [
                f"{when.year:04d}-{when:%m-%d}",
                f"{when.year:04d}{when:%m%d}",
                f"{when.year:04d}-{when:%m-%d}{between}{when:%H}{zone}",
                f"{when.year:04d}-{when:%m-%d}{between}{when:%H:%M}{zone}",
                f"{when.year:04d}-{when:%m-%d}{between}{when:%H:%M:%S}{zone}",
                f"{when.year:04d}-{when:%m-%d}{between}{when:%H:%M:%S.%f}{zone}",
                f"{when.year:04d}-{when:%m-%d}{between}{when:%H:%M:%S},{when.microsecond // 1000:03d}{zone}",
                f"{when.year:04d}{when:%m%d}{between}{when:%H%M%S}{zone}",
                f"{when.year:04d}{when:%m%d}{between}{when:%H%M}{zone}",
            ][form]
        )
    parsed = [datetime.fromisoformat(text) for text in texts]
    expected = [seconds(one if one.tzinfo else one.replace(tzinfo=UTC)) for one in parsed]
    assert read("iso", texts) == expected


@given(st.lists(st.text("0123456789-:T Z+.,WnowtdaNy", max_size=22), max_size=12))
@settings(max_examples=300, deadline=None)
def test_what_is_read_is_what_python_reads_too(texts):
    found = read("iso", texts)
    if None in found:  # all up to the first that is no time
        found = found[: found.index(None)]
    for text, stamp in zip(texts, found, strict=False):
        parsed = datetime.fromisoformat(text)
        assert stamp == seconds(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


NO_TIMES = [
    "now", "today", "NOW", "yesterday", "NaT", "nan", "None", "null", "", " ", "0", "-", "T12", "12:30", "T12:30:00",
    "2024", "2024-03", "202403", "2024-3-7", "24-03-07", "07.03.2024", "03/07/2024", "2024/03/07", "2024-W10-4",
    "2024W104", "2024-067", "2024067", "2024-02-30", "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-10",
    "2024-01-00", "0000-01-01", "+002024-03-07", "-2024-03-07", "10000-01-01", "2024-03-07T", "2024-03-07t21:18",
    "2024-03-07T21:18z", "2024-03-07T24:00", "2024-03-07T24:00:00", "2024-03-07T21:60", "2024-03-07T23:59:60",
    "2024-03-07T21:18:27.", "2024-03-07T21:18.5", "2024-03-07 21:18:27 +01:00", "2024-03-07 21:18:27 UTC",
    "2024-03-07  21:18", " 2024-03-07", "2024-03-07 ", "2024-03-07Z", "2024-03-07+01:00", "2024-03-07T21:18+1",
    "2024-03-07T21:18+24:00", "2024-03-07T21:18+01:60", "2024-03-07/2024-03-08", "2024-03-07T21:18:2",
    "2024-03-07T2118:27", "2024-03-07T21:1827", "２０２４-03-07", "2024−03−07", "0001-01-01T00:00+01:00",
    "9999-12-31T23:59-01:00", "1700000000", "1e9",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_not_taken_for_one(text):
    assert read("iso", ["2024-03-07", text]) == [seconds(datetime(2024, 3, 7, tzinfo=UTC)), None]


def test_the_first_that_is_no_time_is_found_among_many_shapes():
    good = [f"2024-03-07 21:18:27.{'7' * digits}" for digits in range(1, 30)]
    for place in range(len(good)):
        texts = [*good[:place], "2024-02-30", *good[place:], "now", "2024-02-31"]
        assert read("iso", texts).index(None) == place


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (0, 0),
        (-1, -1),
        (-468_115_200, -468_115_200),
        (4_102_444_799, 4_102_444_799),
        (4_102_444_800, None),
        (-4_102_444_801, None),
        (1_700_000_000_000, None),
        (2**63 - 1, None),
        (-(2**63), None),
    ],
)
def test_seconds_since_1970(stamp, expected):
    assert read("unix", [stamp]) == [expected]


def test_two_digits_each_are_years_from_2000_on():
    stamps = [14102100, 23123123, 99010100, 240229 * 100, 230229 * 100, 14103224, -5, 114102100, 14102124, 14000100]
    expected = [
        datetime(2014, 10, 21, 0, tzinfo=UTC),
        datetime(2023, 12, 31, 23, tzinfo=UTC),
        datetime(2099, 1, 1, 0, tzinfo=UTC),
        datetime(2024, 2, 29, 0, tzinfo=UTC),
    ]
    assert read("YYMMDDHH", stamps) == [seconds(when) for when in expected] + [None] * 6
