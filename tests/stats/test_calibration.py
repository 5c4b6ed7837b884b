from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import expit, logit

from bench.stats.calibration import ece, pcoc
from bench.stats.checks import NotTestable
from bench.tables.kinds import KINDS


def test_pcoc_is_predicted_over_observed_clicks() -> None:
    # 0.2 + 0.2 + 0.6 = 1 click predicted, 2 observed
    assert pcoc(logit([0.2, 0.2, 0.6]), [0, 1, 1]) == pytest.approx(0.5)


def test_ece_is_the_mean_gap_of_its_bins() -> None:
    # two bins of two rows: |0.2 + 0.4 - 1| / 4 and |0.6 + 0.8 - 1| / 4
    assert ece(logit([0.8, 0.2, 0.6, 0.4]), [1, 1, 0, 0], bins=2) == pytest.approx((0.4 + 0.4) / 4)


def test_ece_is_that_of_equal_parts_of_the_sorted_rows() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(-1, 2, 1003)
    y = (rng.random(1003) < expit(z + 0.5)).astype(float)
    order = np.argsort(z)
    starts = [b * 1003 // 20 for b in range(21)]
    parts = [order[a:b] for a, b in itertools.pairwise(starts)]
    expected = sum(abs(expit(z[part]).mean() - y[part].mean()) * len(part) for part in parts) / 1003
    assert ece(z, y) == pytest.approx(expected, rel=1e-12)


def test_equal_predictions_share_a_bin_whatever_the_order_of_rows() -> None:
    z, y = np.full(40, logit(0.25)), np.repeat([1.0, 0.0], [10, 30])
    assert ece(z, y) == ece(z, y[::-1]) == pytest.approx(0, abs=1e-12)


def test_true_probabilities_are_calibrated_and_shifted_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(-1.5, 1, 200_000)
    y = rng.random(len(z)) < expit(z)
    assert pcoc(z, y) == pytest.approx(1, abs=0.01)
    assert ece(z, y) < 0.005
    assert pcoc(z + 0.5, y) > 1.2
    assert ece(z + 0.5, y) > 0.05


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(NotTestable, match="no row has label 1"):
        pcoc([0.1, 0.2], [0, 0])
    with pytest.raises(NotTestable, match="2 logits for 3 labels"):
        ece([0.1, 0.2], [0, 1, 0])


def test_the_table_says_what_chance_alone_gives() -> None:
    rng, rate, rows = np.random.default_rng(2), 0.25, 1000
    z = np.full(rows, logit(rate)) + rng.normal(0, 1e-6, rows)  # bins of rows by lot
    found = [ece(z, rng.random(rows) < rate) for _ in range(200)]
    (column,) = [metric for metric in KINDS["calibration"].columns if metric.name == "ece_by_chance"]
    cell = {"ece": 0.1, "split_rows": {"test": rows}, "positives": {"test": round(rate * rows)}}
    assert column.number(cell) == pytest.approx(np.mean(found), rel=0.05)
    assert column.number(cell | {"ece": None}) is None
