"""Any values of any type: the store of the CSV, and the rows as they were."""

from __future__ import annotations

import datetime as dt
import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parquet_frames import N, card_for, frame_with, stores

from bench.data.prepare.prepare import Settings, prepare
from bench.rows.load import load

TYPES = st.one_of(
    st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))), min_size=1),
    st.lists(st.floats(width=64), min_size=1),
    st.lists(st.floats(width=32), min_size=1).map(lambda values: np.array(values, dtype=np.float32)),
    st.lists(st.floats(width=16), min_size=1).map(lambda values: np.array(values, dtype=np.float16)),
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1).map(lambda v: pd.array(v, "Int64")),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=1).map(lambda v: pd.array(v, "boolean")),
    st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), min_size=1).map(pd.to_datetime),
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-999, max_value=999), min_size=1),
    st.lists(st.one_of(st.none(), st.dates()), min_size=1).map(lambda v: pd.array(v, pd.ArrowDtype(pa.date32()))),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=TYPES, chunk_bytes=st.sampled_from([64, 500, 1 << 20]))
def test_any_values_give_the_same_store_as_a_categorical_column(tmp_path, values, chunk_bytes):
    frame = frame_with(pd.Series([values[i % len(values)] for i in range(40)], dtype=getattr(values, "dtype", None)))
    text, table = stores(tmp_path, frame, card_for(tmp_path, "categorical"), chunk_bytes)
    assert table["files"] == text["files"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.one_of(
        st.lists(st.floats(-1e30, 1e30), min_size=1),
        st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1).map(
            lambda values: np.array(values, dtype=np.float32)
        ),
        st.lists(st.floats(allow_infinity=False, width=16), min_size=1).map(lambda v: np.array(v, dtype=np.float16)),
        st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1).map(
            lambda v: pd.array(v, "Int64")
        ),
    )
)
def test_any_numbers_give_the_same_store_as_a_numeric_column(tmp_path, values):
    frame = frame_with(pd.Series([values[i % len(values)] for i in range(40)], dtype=getattr(values, "dtype", None)))
    text, table = stores(tmp_path, frame, card_for(tmp_path, "numeric"))
    assert table["files"] == text["files"]
    assert table["scaling"] == text["scaling"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"))), min_size=1),
    chunk_bytes=st.sampled_from([64, 500, 1 << 20]),
    threads=st.integers(1, 4),
)
def test_any_texts_are_read_back_row_by_row(tmp_path, values, chunk_bytes, threads):
    """Quotes, line ends and NUL bytes included."""
    texts = [values[i % len(values)] for i in range(N)]
    table = pa.table({"y": [0, 1] * 60, "v": pa.array(texts, pa.string()), "other": ["a"] * N})
    with gzip.open(tmp_path / "t.gz", "wb") as file:
        pq.write_table(table, file)
    card = card_for(tmp_path, "categorical", missing='[""]')
    work = Settings(chunk_bytes=chunk_bytes, threads=threads)
    store = prepare(card, tmp_path / "t.gz", tmp_path / "out", settings=work)
    data = load(store, card)
    rows = pq.read_table(store / "vocabulary.parquet").to_pylist()
    known = {row["local_id"]: row["value"] for row in rows if row["field"] == "v" and row["local_id"] > 1}
    in_train = {texts[row] for row in data.train.index}
    for part in (data.train, data.valid, data.test):
        for row, ids in zip(part.index, part.ids, strict=True):
            local = int(ids[data.schema.names.index("v")] - data.schema.offsets[data.schema.names.index("v")])
            wanted = texts[row] or None
            assert local == 1 if wanted is None else known.get(local) == (wanted if wanted in in_train else None)
