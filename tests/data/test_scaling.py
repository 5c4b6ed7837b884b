"""Numeric columns from the file to the network: what they are scaled to, and what cannot be scaled."""

from __future__ import annotations

import json
import math
import random
import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.data.store.scaling import LIMIT, CollapseError, Scaling, fit_scaling, standardise
from bench.errors import DataError
from bench.rows.load import load

CARD = """
name = "m"
[raw.columns]
y = "label"
t = "numeric"
c = "categorical"
"""


def everywhere(numbers):
    return fit_scaling(np.array(numbers, dtype=np.float64), np.ones(len(numbers), dtype=bool))[0]


@given(st.lists(st.one_of(st.just(math.nan), st.floats(-1e150, 1e150), st.integers(-60, 60).map(float)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_mean_and_standard_deviation_are_those_of_numpy(numbers):
    known = np.array([number for number in numbers if not math.isnan(number)])
    try:
        found = everywhere(numbers)
    except CollapseError:
        return
    if len(set(known.tolist())) < 2:
        assert found == Scaling(float(known[0]) if len(known) else 0.0, 1.0)
        return
    scale = max(np.abs(known).max(), 1e-200)
    np.testing.assert_allclose(found.mean / scale, (known / scale).mean(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.sd / scale, (known / scale).std(), rtol=1e-9, atol=1e-15)


def test_numbers_far_from_zero_keep_all_they_differ_in():
    for base in (0, 1_700_000_000, 10**15, -(10**15)):
        numbers = np.array([base + i % 60 for i in range(6000)], dtype=np.float64)
        scaling = everywhere(numbers)
        exact = (np.arange(6000) % 60 - 29.5) / np.arange(60).std()
        np.testing.assert_allclose(scaling.sd, np.arange(60).std(), rtol=1e-12)
        scaled = standardise(numbers, scaling)
        np.testing.assert_allclose(scaled, exact, rtol=0, atol=0.01 if abs(base) == 10**15 else 1e-6)
        assert len(set(scaled.tolist())) == 60


def test_neither_large_nor_small_numbers_overflow():
    for factor in (1e300, 2.0**1018, 1e-300, 2.0**-1000):
        scaling = everywhere([factor * (i % 60) for i in range(600)])
        np.testing.assert_allclose(scaling.mean / factor, 29.5, rtol=1e-12)
        np.testing.assert_allclose(scaling.sd / factor, np.arange(60).std(), rtol=1e-12)
    both = everywhere([-1.7e308, 1.7e308] * 10)
    assert (both.mean, both.sd) == (pytest.approx(0.0, abs=1e293), pytest.approx(1.7e308))


def test_constant_and_missing_columns_are_no_error():
    assert everywhere([0.0, 5e-324] * 50) == Scaling(0.0, 1.0)  # they differ by less than a deviation can say
    for numbers in ([], [math.nan] * 5, [7.0, math.nan, 7.0], [0.1] * 1000, [1e15] * 9):
        scaling = everywhere(numbers)
        assert scaling.sd == 1.0
        known = [number for number in numbers if not math.isnan(number)]
        assert not standardise(np.array(known), scaling).any()


@pytest.mark.parametrize(
    "numbers",
    [
        [0.3, 0.1 + 0.2] * 50 + [1.0] * 5,  # one number, twice rounded
        [*range(1000), 1e9],  # an outlier that leaves the others apart
        [0] * 960 + [1e-6, 1e-9] * 20 + [1.0] * 40,  # some, but few, fall onto the most frequent
        list(np.random.default_rng(0).random(100_000)),  # more values than a float32 has near one
        list(np.random.default_rng(0).lognormal(0, 3, 10_000)),
    ],
)
def test_what_does_not_matter_is_no_collapse(numbers):
    scaling, note = fit_scaling(np.array(numbers, dtype=np.float64), np.ones(len(numbers), dtype=bool))
    np.testing.assert_allclose(scaling.sd, np.std(numbers), rtol=1e-9)
    assert note is None


def test_what_is_lost_of_a_column_that_still_tells_rows_apart_is_noted(tmp_path):
    numbers = [0.0, 1e-5, 0.5, 2.0, 12345.5, 700.0] * 100
    merged = standardise(np.array(numbers), everywhere(numbers))
    assert len(set(merged.tolist())) == 5  # 0 and 1e-5 are one by now
    table(tmp_path, numbers)
    store = prepare(write_card(tmp_path, CARD), tmp_path / "t.csv", tmp_path / "out")
    (note,) = manifest_of(store)["notes"]
    place = "t.csv: line 6, column 't' holds 12345.5"
    assert re.match(f"{place}, and the column's values from 0.0 to 1e-05, 3[234]% of the train rows", note)
    table(tmp_path, [0.0, 1e-5, 2e-5, 1e12] * 150)
    with pytest.raises(DataError, match=r"line 5, column 't' holds 1000000000000.0, and .* 7[3-7]% of the train rows"):
        prepare(write_card(tmp_path, CARD), tmp_path / "t.csv", tmp_path / "out")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([i % 60 for i in range(6000)] + [1e30], r"from 0.0 to 59.0, 100% of the train rows, become one number"),
        (
            [1.7e9 + i % 60 for i in range(6000)] + [1e300],
            r"from 1700000000.0 to 1700000059.0, .* \(mean 1\.\d+e\+296, standard deviation",
        ),
        (
            [i % 2 for i in range(1000)] + [-1e12],
            r"from 0.0 to 1.0, 100% of the train rows, .* make the column categorical",
        ),
        ([1.7e18 + i % 60 for i in range(600)], r"lie between 1.7e\+18 and 1.7e\+18, so close .* subtract a constant"),
        ([2.0**60] * 100, r"so close together that 64 bits do not tell them apart"),
    ],
)
def test_a_collapse_is_named(numbers, message):
    with pytest.raises(CollapseError, match=message):
        everywhere(numbers)


def table(folder, numbers, seed=0):
    """A table whose label depends on the number, and its rows."""
    rng = random.Random(seed)
    rows = pd.DataFrame(
        {
            "y": [int(rng.random() < 1 / (1 + math.exp(-((i * 7) % 60 - 29.5) / 6))) for i in range(len(numbers))],
            "t": numbers,
            "c": [rng.choice("abc") for _ in numbers],
        }
    )
    rows.to_csv(folder / "t.csv", index=False)
    return rows


def seconds(n):
    return [str(1_700_000_000 + i * 7 % 60) for i in range(n)]


def test_a_stored_column_is_standardised_in_64_bits(tmp_path):
    rows = table(tmp_path, [number if i % 9 else "" for i, number in enumerate(seconds(900))])
    card = write_card(tmp_path, CARD)
    opened = load(prepare(card, tmp_path / "t.csv", tmp_path / "s", settings=Settings(chunk_bytes=500)), card)
    column = pd.to_numeric(rows["t"]).astype(np.float64)
    train = column[opened.train.index.numpy()]
    expected = ((column - train.mean()) / train.std(ddof=0)).fillna(1.0).astype(np.float32)
    for part in (opened.train, opened.valid, opened.test):
        assert part.numeric.dtype == torch.float32
        np.testing.assert_allclose(part.numeric[:, 0], expected[part.index.numpy()], rtol=0, atol=1e-6)
    known = opened.train.numeric[opened.train.ids[:, 0] == 2, 0]
    assert len(set(known.tolist())) == 60
    scaling = manifest_of(tmp_path / "s")["scaling"]["t"]
    assert scaling == pytest.approx({"mean": train.mean(), "sd": train.std(ddof=0)}, rel=1e-12)


def test_numbers_far_from_zero_are_learnt_and_kept_as_those_near_it(bench, tmp_path):
    (tmp_path / "cwd" / "m.toml").write_text(CARD + 'd = "categorical"\n')
    found = {}
    for base in (0, 1_700_000_000):
        numbers = [str(base + i * 7 % 60) for i in range(2000)]
        rows = table(tmp_path, numbers)
        rows.assign(d=rows["c"].to_numpy()[::-1]).to_csv(tmp_path / "cwd" / "t.csv", index=False)
        assert bench("prepare", "m.toml", "--raw", "t.csv", "--force").code == 0
        flags = ["--methods", "no-selection", "lasso", "xgboost", "--backbones", "dnn[mlp=8]", "--seeds", "1"]
        flags += ["--set", "l2=1e-5"]  # given, so that none need be chosen first
        out = tmp_path / "cwd" / str(base)
        done = bench("run", "--datasets", "m.toml", *flags, "--epochs", "4", "--prune-ratio", "0.6", "--out", str(out))
        assert done.code == 0, done.err
        found[base] = [line.partition("AUC ")[2][:6] for line in done.err.splitlines() if "seed 0: AUC" in line]
        for method in ("lasso", "xgboost"):
            told = bench("explain", str(out), "table2", "m", method, "auc").out
            assert re.search(r"kept +t\b|[Kk]ept.*\bt\b", told), told
    assert len(found[0]) == 3
    assert found[0] == found[1_700_000_000]
    assert min(map(float, found[0])) > 0.85


@pytest.mark.parametrize("value", ["1e38", "1e300", "-1.79e308", "1e12"])
@pytest.mark.parametrize("split", [1, 2])
@pytest.mark.parametrize("chunk_bytes", [300, 1 << 24])
def test_a_number_out_of_range_outside_train_is_named_with_its_line(tmp_path, value, split, chunk_bytes):
    table(tmp_path, seconds(400))
    card = write_card(tmp_path, CARD)
    splits = np.load(prepare(card, tmp_path / "t.csv", tmp_path / "good") / "split.npy")
    row = int(np.flatnonzero(splits == split)[5])
    table(tmp_path, [*seconds(400)[:row], value, *seconds(400)[row + 1 :]])
    wanted = (
        rf"t.csv: line {row + 2}, column 't': {float(value)!r} is more than 1e.09 standard deviations from the mean"
    )
    with pytest.raises(DataError, match=wanted.replace("+", r"\+")):
        prepare(card, tmp_path / "t.csv", tmp_path / "bad", settings=Settings(chunk_bytes=chunk_bytes))
    assert not (tmp_path / "bad").exists()


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_validation_that_overflows_ends_the_cell_with_its_reason(bench, tmp_path, monkeypatch):
    """Without the check of the range, one validation row overflows: no weights are the best, so none are tested."""
    monkeypatch.setattr("bench.data.store.scaling.LIMIT", math.inf)
    (tmp_path / "cwd" / "m.toml").write_text(CARD)
    table(tmp_path, seconds(400))
    splits = np.load(prepare(write_card(tmp_path, CARD), tmp_path / "t.csv", tmp_path / "s") / "split.npy")
    row = int(np.flatnonzero(splits == 1)[5])
    table(tmp_path, [*seconds(400)[:row], "1e300", *seconds(400)[row + 1 :]])
    assert bench("prepare", "m.toml", "--raw", str(tmp_path / "t.csv")).code == 0
    flags = ["--methods", "no-selection", "--backbones", "dnn[mlp=8]", "--seeds", "1", "--epochs", "3", "--out", "r"]
    done = bench("run", "--datasets", "m.toml", *flags)
    (record,) = [json.loads(path.read_text()) for path in (tmp_path / "cwd" / "r" / "cells").glob("*.json")]
    assert (record["status"], record["auc"]) == ("failed", None), done.err
    assert record["reason"].startswith("NonFiniteQualityError: train: validation after epoch 1: AUC nan")
    assert (
        f"the scores of 1 of 40 rows are not finite, the first that of row {row + 1} of the table" in record["reason"]
    )


def test_numbers_up_to_the_limit_pass(tmp_path):
    numbers = [str(i % 2) for i in range(400)]
    table(tmp_path, numbers)
    card = write_card(tmp_path, CARD)
    splits = np.load(prepare(card, tmp_path / "t.csv", tmp_path / "s") / "split.npy")
    row = int(np.flatnonzero(splits == 2)[0])
    train = np.array(numbers, dtype=float)[splits == 0]
    for share, fine in ((0.999, True), (1.001, False)):
        numbers[row] = repr(float(train.mean() + share * LIMIT * train.std()))
        table(tmp_path, numbers)
        if fine:
            opened = load(prepare(card, tmp_path / "t.csv", tmp_path / "s"), card)
            assert np.isfinite(opened.test.numeric.double().numpy() ** 4).all()
        else:
            with pytest.raises(DataError, match=r"more than 1e.09 standard deviations"):
                prepare(card, tmp_path / "t.csv", tmp_path / "s")


def test_a_collapse_of_a_table_names_line_and_column(tmp_path):
    table(tmp_path, seconds(400))
    card = write_card(tmp_path, CARD)
    splits = np.load(prepare(card, tmp_path / "t.csv", tmp_path / "good") / "split.npy")
    row = int(np.flatnonzero(splits == 0)[5])
    table(tmp_path, [*seconds(400)[:row], "1e30", *seconds(400)[row + 1 :]])
    with pytest.raises(
        DataError, match=rf"t.csv: line {row + 2}, column 't' holds 1e\+30, and the column's values from"
    ):
        prepare(card, tmp_path / "t.csv", tmp_path / "bad")


@pytest.mark.parametrize("wanted", [60, 200])
def test_fewer_rows_are_scaled_and_checked_by_themselves(tmp_path, wanted):
    card = write_card(tmp_path, CARD)
    table(tmp_path, seconds(400))
    few = load(prepare(card, tmp_path / "t.csv", tmp_path / "s"), card, wanted)
    chosen = np.concatenate([few.train.index, few.valid.index, few.test.index])
    row = int(few.test.index[3])
    head = f"'m' with rows={wanted}: column 't'"
    for base, at_row, message in (
        (0, 10**13, rf"{head}, row {row + 1} of the table: 10000000000000.0 is more than 1e.09 standard deviations"),
        (2**60, 2**60, rf"{head}: the column's values lie between .* so close together"),
    ):
        numbers = [base if i in chosen else base + i * 10**10 for i in range(400)]
        numbers[row] = at_row
        table(tmp_path, numbers)
        store = prepare(card, tmp_path / "t.csv", tmp_path / "s")
        assert load(store, card).train.numeric.numpy().std() == pytest.approx(1)
        with pytest.raises(DataError, match=message):
            load(store, card, wanted)


def test_a_store_of_the_older_rules_is_refused(tmp_path):
    table(tmp_path, seconds(100))
    card = write_card(tmp_path, CARD)
    store = prepare(card, tmp_path / "t.csv", tmp_path / "data" / "m")
    assert np.load(store / "numeric.npy").dtype == np.float64
    text = (store / "manifest.json").read_text()
    (store / "manifest.json").write_text(text.replace('"format": 2', '"format": 1'))
    with pytest.raises(DataError, match=r"store format 1, wanted 2. Make it anew: python -m bench prepare m --raw"):
        load(store, card)
