"""The same frame as CSV and as Parquet, both written by pandas: the same store, for every kind and type."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parquet_frames import N, card_for, frame_with, stores
from plain_reference import manifest_of

from bench.data.prepare.prepare import prepare
from bench.errors import DataError
from bench.rows.load import load


def cycle(values, dtype=None):
    return pd.Series([values[i % len(values)] for i in range(N)], dtype=dtype)


def arrow(values, kind):
    return cycle(values, pd.ArrowDtype(kind))


WHOLE = [0, 1, 2, 7, 3, 100, 1, 1]
FLOATS = [0.1, 1e-5, 3.0, -0.0, 0.0, 12345.5, 5e-3, 1e4, None, -999.0]
TEXTS = ["a", "ü", "", "NULL", "null", "-999", "nan", "3", None, "x y", "a,b"]
DAYS = pd.to_datetime(["2024-03-07", "2024-12-31", None])
TIMES = pd.to_datetime(["2024-03-07 00:00:00", "2024-12-31 23:59:58", None])
MOMENTS = pd.to_datetime(["2024-03-07 01:02:03.000001", "2024-12-31 23:59:58", "1999-01-01"], format="ISO8601")
CATEGORICAL = {
    "str": cycle(TEXTS, "str"),
    "object": cycle(TEXTS, object),
    "string": cycle(TEXTS, "string"),
    "large_string": arrow(TEXTS, pa.large_string()),
    "category": cycle(TEXTS).astype("category"),
    "category of numbers": cycle([3, 5, 3]).astype("category"),
    "category of floats": cycle([3.0, 0.1, None]).astype("category"),
    "bool": cycle([True, False]),
    "boolean with gaps": cycle([True, None, False], "boolean"),
    **{f"int{bits}": cycle([*WHOLE, -3], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": cycle(WHOLE, f"uint{bits}") for bits in (8, 16, 32, 64)},
    "largest": cycle([2**64 - 1, 1], "uint64"),
    "Int64": cycle([*WHOLE, -999, None], "Int64"),
    "float with gaps": cycle([*WHOLE, -999, None], "float64"),
    **{f"float{bits}": cycle([*FLOATS, np.inf], f"float{bits}") for bits in (16, 32, 64)},
    "arrow double": arrow(FLOATS, pa.float64()),
    "decimal": arrow([decimal.Decimal("1.50"), decimal.Decimal("-2.00"), None], pa.decimal128(7, 2)),
    "tiny decimal": arrow([decimal.Decimal("0.0000001"), decimal.Decimal("3")], pa.decimal128(12, 7)),
    "date32": arrow([dt.date(2024, 3, 7), None, dt.date(1969, 1, 2)], pa.date32()),
    "date objects": cycle([dt.date(2024, 3, 7), dt.date(2023, 1, 2)], object),
    "time": cycle([dt.time(1, 2, 3), dt.time(4, 5, 6, 7)], object),
    "days": cycle(DAYS),
    "times": cycle(TIMES),
    "moments": cycle(MOMENTS),
    **{f"moments in {unit}": cycle(TIMES.as_unit(unit)) for unit in ("s", "ms", "us", "ns")},
    **{f"moments in {zone}": cycle(MOMENTS.tz_localize(zone)) for zone in ("UTC", "Europe/Berlin", "-03:30")},
    "days in UTC": cycle(DAYS.tz_localize("UTC")),
    "nothing": cycle([None], object),
}
INTEGER = {
    "str": cycle(["1", " 2", "", "NULL", "-999", "07", "-4", "300"]),
    "category": cycle(["1", "2", "NULL", "30"]).astype("category"),
    "Int64": cycle([*WHOLE, -999, None], "Int64"),
    **{f"int{bits}": cycle([*WHOLE, -3], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": cycle(WHOLE, f"uint{bits}") for bits in (8, 16, 32, 64)},
    "far": cycle([2**63 - 1, -(2**63), 2**53 + 1]),
    "nothing": cycle([None], object),
}
NUMERIC = {
    "str": cycle(["1.5", " 2", "", "NULL", "-999", "1e-3", "nan"]),
    "category": cycle([1.5, 2.0, None, -999.0]).astype("category"),
    "Int64": cycle([*WHOLE, -999, None], "Int64"),
    **{f"int{bits}": cycle([*WHOLE, -3], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": cycle(WHOLE, f"uint{bits}") for bits in (8, 16, 32, 64)},
    "beyond 2 to the 53": cycle([2**53 + 1, 2**62 + 12345, 1]),
    **{f"float{bits}": cycle(FLOATS, f"float{bits}") for bits in (16, 32, 64)},
    "decimal": arrow([decimal.Decimal("0.10"), decimal.Decimal("-999.00"), None], pa.decimal128(7, 2)),
    "nothing": cycle([None], object),
}
TABLE = {
    "categorical": CATEGORICAL,
    "integer": INTEGER,
    "numeric": NUMERIC,
    "unix": {
        "int64": cycle([0, 1_700_000_000, 1_710_000_001]),
        "int32": cycle([0, 1_700_000_000], "int32"),
        "Int64": cycle([1_700_000_000, None, -999], "Int64"),
        "str": cycle(["1700000000", "NULL", ""]),
    },
    "digits": {"int64": cycle([14102100, 14103123]), "str": cycle(["14102100", "NULL"])},
    "iso": {
        "str": cycle(["2024-03-07", "NULL", "2024-03-07T21:18:27+01:00", None]),
        "whole numbers": cycle([20240307, 19991231]),
        **{f"moments in {unit}": cycle(TIMES.as_unit(unit)) for unit in ("s", "ms", "us", "ns")},
        **{f"moments in {zone}": cycle(MOMENTS.tz_localize(zone)) for zone in ("UTC", "Europe/Berlin", "-03:30")},
        "days": cycle(DAYS),
        "category": cycle(TIMES).astype("category"),
        "date32": arrow([dt.date(2024, 3, 7), None], pa.date32()),
        "date64": arrow([dt.date(2024, 3, 7), None], pa.date64()),
    },
    "ignore": {"list": pd.Series([[1, 2]] * N), "str": cycle(TEXTS)},
}
CASES = [(kind, name) for kind, table in TABLE.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind}-{name}" for kind, name in CASES])
def test_the_same_frame_gives_the_same_store(tmp_path, kind, name):
    text, table = stores(tmp_path, frame_with(TABLE[kind][name]), card_for(tmp_path, kind))
    assert table["files"] == text["files"]
    assert table["scaling"] == text["scaling"]
    assert table["n_rows"] == N


def missing_rows(store, card):
    """Whether the field v is missing, by row."""
    data = load(store, card)
    place = data.schema.names.index("v")
    gone = np.zeros(N, dtype=bool)
    for part in (data.train, data.valid, data.test):
        gone[part.index] = part.ids[:, place] == data.schema.offsets[place] + 1
    return gone


@pytest.mark.parametrize(
    ("kind", "values", "gone"),
    [
        ("categorical", pd.Series(["a", "", "NULL", None] * 30), [0, 1, 1, 1]),
        ("categorical", pd.Series([0.5, np.nan, -999.0, 3.0] * 30), [0, 1, 1, 0]),
        ("categorical", pd.Series([True, None, False, True] * 30, dtype="boolean"), [0, 1, 0, 0]),
        ("integer", pd.Series([5, None, -999, 7] * 30, dtype="Int64"), [0, 1, 1, 0]),
        ("integer", pd.Series([5, np.nan, -999, 7] * 30), [0, 1, 1, 0]),
        ("numeric", pd.Series([0.5, np.nan, -999.0, 3.0] * 30), [0, 1, 1, 0]),
        ("numeric", pd.Series([0.5, np.nan, -999.0, 3.0] * 30, dtype="float32"), [0, 1, 1, 0]),
        ("numeric", pd.Series(["1", "NULL", "-999", "2"] * 30), [0, 1, 1, 0]),
    ],
)
def test_missing_markers_and_gaps_of_parquet(tmp_path, kind, values, gone):
    card = card_for(tmp_path, kind)
    frame_with(values).to_parquet(tmp_path / "t.parquet")
    store = prepare(card, tmp_path / "t.parquet", tmp_path / "out")
    np.testing.assert_array_equal(missing_rows(store, card), np.array(gone * 30, dtype=bool))


@pytest.mark.parametrize("kind", ["categorical", "numeric", "integer"])
def test_a_nan_that_arrow_does_not_take_for_null_is_missing(tmp_path, kind):
    card = card_for(tmp_path, kind)
    values = np.array([2.0, np.nan, 3.0, 4.0] * 30)
    columns = {"y": [0, 1] * 60, "v": pa.array(values, from_pandas=False), "other": ["a"] * N}
    assert pa.table(columns)["v"].null_count == 0
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    store = prepare(card, tmp_path / "t.parquet", tmp_path / "out")
    np.testing.assert_array_equal(missing_rows(store, card), np.isnan(values))


@pytest.mark.parametrize("written", ["-999", "-999.0", "-9.99e2"])
@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_a_marker_that_is_a_number_holds_for_the_number(tmp_path, written, extension):
    """However pandas writes it: -999.0 in a column with gaps, where the card says -999."""
    values = pd.Series([1.0, -999.0, np.nan, 3.0] * 30)
    frame = frame_with(values)
    card = card_for(tmp_path, "numeric", missing=f'["", "{written}"]')
    path = tmp_path / f"t.{extension}"
    frame.to_csv(path, index=False) if extension == "csv" else frame.to_parquet(path)
    manifest = manifest_of(prepare(card, path, tmp_path / "out"))
    store = load(tmp_path / "out", card)
    kept = values.to_numpy()[store.train.index]
    kept = kept[(kept == 1) | (kept == 3)]
    assert manifest["scaling"]["v"]["mean"] == pytest.approx(kept.mean(), rel=1e-12)
    assert manifest["scaling"]["v"]["sd"] == pytest.approx(kept.std(), rel=1e-12)


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_a_marker_that_is_a_number_holds_in_integer_columns_but_is_text_in_others(tmp_path, extension):
    frame = frame_with(pd.Series([5, -999, 7, 8] * 30))
    path = tmp_path / f"t.{extension}"
    frame.to_csv(path, index=False) if extension == "csv" else frame.to_parquet(path)
    for kind, gone in (("integer", [False, True, False, False]), ("categorical", [False] * 4)):
        card = card_for(tmp_path, kind, missing='["", "-999.0"]')
        store = prepare(card, path, tmp_path / "out")
        np.testing.assert_array_equal(missing_rows(store, card), gone * 30)


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        (pd.Series([3.0, np.nan, 0.0, -999.0] * 30), pd.Series([3, None, 0, None] * 30, dtype="Int64")),
        (pd.Series([True, False, True, True] * 30), pd.Series([1, 0, 1, 1] * 30)),
        (arrow([decimal.Decimal("7.00"), None], pa.decimal128(5, 2)), pd.Series([7, None] * 60, dtype="Int64")),
    ],
)
@pytest.mark.parametrize("kind", ["integer", "numeric"])
def test_whole_numbers_of_any_type_are_whole_numbers(tmp_path, kind, values, whole):
    card = card_for(tmp_path, kind)
    frame_with(values).to_parquet(tmp_path / "t.parquet")
    frame_with(whole).to_csv(tmp_path / "t.csv", index=False)
    found = manifest_of(prepare(card, tmp_path / "t.parquet", tmp_path / "table"))
    assert found["files"] == manifest_of(prepare(card, tmp_path / "t.csv", tmp_path / "text"))["files"]


@pytest.mark.parametrize(
    ("rule", "labels", "ones"),
    [
        ("", pd.Series([True, False] * 60), [1, 0]),
        ("", pd.Series([1.0, 0.0] * 60, dtype="float32"), [1, 0]),
        ("", pd.Series([decimal.Decimal("1.0"), decimal.Decimal("0.0")] * 60), [1, 0]),
        ("== True", pd.Series([True, False] * 60), [1, 0]),
        ("== 1", pd.Series([True, False] * 60), [1, 0]),
        ("!= 1", pd.Series([1.0, 2.0] * 60), [0, 1]),
        (">= 4", pd.Series([5.0, 3.5] * 60), [1, 0]),
        ("== yes", pd.Series(["yes", "no"] * 60).astype("category"), [1, 0]),
    ],
)
def test_labels_of_any_type(tmp_path, rule, labels, ones):
    card = card_for(tmp_path, "categorical", raw=f'label_rule = "{rule}"')
    frame_with(cycle(["a", "b", "c"])).assign(y=labels).to_parquet(tmp_path / "t.parquet")
    data = load(prepare(card, tmp_path / "t.parquet", tmp_path / "out"), card)
    for part in (data.train, data.valid, data.test):
        np.testing.assert_array_equal(part.labels, np.array(ones * 60)[part.index])


@pytest.mark.parametrize("kind", ["int64", "Int64", "bool", "boolean", "float32", "float64", "str", "category"])
def test_labels_of_any_type_are_those_of_the_csv(tmp_path, kind):
    labels = cycle([1, 0, 0]).astype("str" if kind == "category" else kind).astype(kind)
    frame = frame_with(cycle(["a", "b", "c"])).assign(y=labels)
    text, table = stores(tmp_path, frame, card_for(tmp_path, "categorical"))
    assert table["files"] == text["files"] and table["positives"] == 40


def test_bytes_and_views_are_text_where_they_are_utf8(tmp_path):
    card = card_for(tmp_path, "categorical")
    values = [b"ab", "ü".encode()] * 60
    kinds = (pa.large_binary(), pa.binary_view(), pa.string_view())
    for array in (pa.array(values, pa.binary(2)), *(pa.array(values).cast(kind) for kind in kinds)):
        columns = {"y": [0, 1] * 60, "v": array, "other": ["a"] * N}
        pq.write_table(pa.table(columns), tmp_path / "t.parquet")
        found = manifest_of(prepare(card, tmp_path / "t.parquet", tmp_path / "table"))
        pd.DataFrame(columns | {"v": ["ab", "ü"] * 60}).to_csv(tmp_path / "t.csv", index=False)
        assert found["files"] == manifest_of(prepare(card, tmp_path / "t.csv", tmp_path / "text"))["files"]


def test_dictionaries_with_unsigned_codes_nulls_and_markers(tmp_path):
    card = card_for(tmp_path, "categorical")
    codes = pa.array([0, 1, 1, 2, None, 1] * 20, pa.uint32())
    coded = pa.DictionaryArray.from_arrays(codes, pa.array(["a", "NULL", "b"]))
    pq.write_table(pa.table({"y": [0, 1] * 60, "v": coded, "other": ["a"] * N}), tmp_path / "t.parquet")
    store = prepare(card, tmp_path / "t.parquet", tmp_path / "out")
    np.testing.assert_array_equal(missing_rows(store, card), [False, True, True, False, True, True] * 20)


def test_a_pandas_index_is_no_column(tmp_path):
    frame = frame_with(cycle(["a", "b"]))
    card = card_for(tmp_path, "categorical")
    text, _ = stores(tmp_path, frame, card)
    frame.index = np.arange(N) * 3
    frame.to_parquet(tmp_path / "i.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "i.parquet").names
    assert manifest_of(prepare(card, tmp_path / "i.parquet", tmp_path / "out"))["files"] == text["files"]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("integer", [1.0] * 9 + [1.5] * 111, r"row 10, column 'v': '1.5' is not an integer; mend the value"),
        ("integer", [2.0**63] * N, r"row 1, column 'v': '9223372036854775808' is not an integer"),
        ("integer", ["1", "0x10"] * 60, r"row 2, column 'v': '0x10' is not an integer"),
        ("integer", pa.array([1, 2**64 - 1] * 60, pa.uint64()), r"row 2, column 'v': '18446744073709551615' is not an"),
        ("numeric", ["1", "two"] * 60, r"row 2, column 'v': 'two' is not a number"),
        (
            "numeric",
            pa.array([dt.date(2024, 1, 1)] * N),
            r"'v' of type date32.* cannot be read as numeric; write it as n",
        ),
        (
            "unix",
            pa.array([dt.datetime(2024, 1, 1)] * N),
            r"read as time; write it as whole numbers, or give it the format",
        ),
        ("categorical", [b"\xff\xfe"] * N, r"row 1, column 'v': .* is not utf-8 text"),
        (
            "categorical",
            pa.array([1] * N, pa.duration("s")),
            r"'v' of type duration\[s\] cannot be read as categorical",
        ),
        ("categorical", [{"a": 1}] * N, r"of type struct.* cannot be read as categorical; write it as text or numbers"),
        ("categorical", pa.array([uuid.UUID(int=5).bytes] * N, pa.uuid()), r"uuid.* cannot be read as categorical"),
        ("categorical", pa.array([1] * N, pa.time64("ns")), r"row 1, column 'v': .* is finer than microseconds"),
    ],
)
def test_values_that_do_not_fit_are_named_with_their_row(tmp_path, kind, values, message):
    pq.write_table(pa.table({"y": [0, 1] * 60, "v": values, "other": ["a"] * N}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=rf"t\.parquet: .*{message}"):
        prepare(card_for(tmp_path, kind), tmp_path / "t.parquet", tmp_path / "out")


def test_pandas_periods_and_intervals_are_refused_by_name(tmp_path):
    months = pd.Series(pd.period_range("2020-01", periods=N, freq="M"))
    frame_with(months).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"pandas\.period.* cannot be read as categorical; write it as text or numbers"):
        prepare(card_for(tmp_path, "categorical"), tmp_path / "t.parquet", tmp_path / "out")


@pytest.mark.parametrize("kind", ["categorical", "integer", "numeric", "unix"])
def test_texts_that_are_no_utf8_are_named_with_their_row(tmp_path, kind):
    """Some writers do not check them."""
    data = [b"1", b"2", b"\xe9a"] + [b"3"] * (N - 3)
    offsets = np.cumsum([0, *map(len, data)], dtype=np.int32)
    array = pa.Array.from_buffers(pa.string(), N, [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(data))])
    pq.write_table(pa.table({"y": [0, 1] * (N // 2), "v": array, "other": ["a"] * N}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: row 3, column 'v': b'.xe9a' is not utf-8 text"):
        prepare(card_for(tmp_path, kind), tmp_path / "t.parquet", tmp_path / "out")


@pytest.mark.parametrize(("kind", "unused"), [("iso", "now"), ("integer", "bad"), ("numeric", "bad"), ("label", "no")])
def test_categories_that_no_row_has_do_not_count(tmp_path, kind, unused):
    values = {"iso": ["2024-03-07", "1999-01-01"]}.get(kind, ["4", "3"])
    column = pd.Series(pd.Categorical(cycle(values), categories=[unused, *values]))
    if kind == "label":
        card = card_for(tmp_path, "categorical", raw='label_rule = ">= 4"')
        frame = frame_with(cycle(["a", "b", "c"])).assign(y=column)
    else:
        card, frame = card_for(tmp_path, kind), frame_with(column)
    text, table = stores(tmp_path, frame, card)
    assert table["files"] == text["files"] and table["n_rows"] == N


def test_moments_are_read_whatever_zone_writes_them(tmp_path):
    """Before there were zones, local time was seconds apart from UTC."""
    moments = pd.to_datetime(["1874-12-07 18:40:00", "2024-03-07 21:18:27"], utc=True).tz_convert("Europe/Berlin")
    frame_with(cycle(moments)).to_parquet(tmp_path / "t.parquet")
    manifest_of(prepare(card_for(tmp_path, "iso"), tmp_path / "t.parquet", tmp_path / "out"))
    rows = pq.read_table(tmp_path / "out" / "vocabulary.parquet").to_pylist()
    assert [row["value"] for row in rows if row["field"] == "a"] == [None, None, "18", "21"]


def test_zones_days_and_footers_that_cannot_be(tmp_path):
    path, card = tmp_path / "t.parquet", card_for(tmp_path, "categorical")
    base = {"y": [0, 1] * (N // 2), "other": ["a"] * N}
    pq.write_table(pa.table(base | {"v": pa.array([0] * N, pa.timestamp("s", "Foo/Bar"))}), path)
    with pytest.raises(DataError, match="column 'v' has times of the zone 'Foo/Bar', which is unknown here; write"):
        prepare(card, path, tmp_path / "out")
    pq.write_table(pa.table(base | {"v": pa.array([0, 2**31 - 1] * (N // 2), pa.int32()).cast(pa.date32())}), path)
    with pytest.raises(DataError, match="row 2, column 'v': the day 2147483647 since 1970 is beyond the calendar"):
        prepare(card, path, tmp_path / "out")
    pq.write_table(pa.table(base | {"v": ["a"] * N}), path)
    whole = path.read_bytes()
    for place in range(len(whole) - 300, len(whole) - 8, 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            prepare(card, path, tmp_path / "out")
        except DataError:
            continue  # never a traceback
