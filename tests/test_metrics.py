from __future__ import annotations

import math

import pytest

from bench.metrics import METRICS


@pytest.mark.parametrize(
    ("value", "text"),
    [(15803.2, "15,803"), (5134.5, "5,134"), (123.45, "123.5"), (12.345, "12.35"), (0.01234, "0.01234"), (0.0, "0")],
)
def test_seconds_show_four_digits_and_lose_none_before_the_point(value: float, text: str) -> None:
    assert METRICS["tt_s"].text(value) == text


def test_deviation_has_the_decimals_of_its_mean() -> None:
    # 123.4 shows one decimal, so a deviation of 0.0371 does too, though alone it would show five
    assert METRICS["tt_s"].text(0.0371, like=123.4) == "0.0"
    assert METRICS["tt_s"].text(0.0371) == "0.03710"


def test_quality_and_ratio_have_four_decimals() -> None:
    assert [METRICS[name].text(0.78125) for name in ("auc", "logloss", "tt_ratio")] == ["0.7812"] * 3


def test_counts_show_a_decimal_only_where_a_mean_is_not_whole() -> None:
    assert METRICS["epochs"].text(3.0) == "3"
    assert METRICS["epochs"].text(10 / 3) == "3.3"
    assert METRICS["embedding_params"].text(20_900_000) == "20,900,000"


def test_bytes_are_printed_in_mebibytes() -> None:
    assert METRICS["embedding_bytes"].text(3 * 2**20) == "3.000"


def test_arrows_follow_the_direction() -> None:
    assert METRICS["auc"].heading == "AUC ↑"
    assert METRICS["it_s"].heading == "IT [s] ↓"
    assert METRICS["n_kept"].heading == "Fields"


def test_worst_is_worse_than_any_result() -> None:
    for name, metric in METRICS.items():
        if metric.better == "lower":
            assert metric.worst == math.inf, name
    assert METRICS["auc"].worst == 0.5
