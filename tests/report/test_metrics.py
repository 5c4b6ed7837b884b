from __future__ import annotations

import pytest

from bench.tables.metrics import METRICS, TT_RATIO, TT_S, Metric, count, signed

COUNTED = Metric("epochs", "Epochs", None, count, counted=True)


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
    assert COUNTED.text(3.0) == "3"
    assert COUNTED.text(10 / 3) == "3.3"
    assert COUNTED.text(20_900_000) == "20,900,000"


def test_bytes_are_printed_in_mebibytes() -> None:
    assert METRICS["embedding_bytes"].text(3 * 2**20) == "3.000"


def test_arrows_follow_the_direction() -> None:
    assert METRICS["auc"].heading == "AUC ↑"
    assert METRICS["it_s"].heading == "IT [ms] ↓"
    assert METRICS["n_kept"].heading == "Fields"


def cell(**changes: object) -> dict[str, object]:
    where = {"host": {}, "device": "cpu", "threads": 1}
    return {"tt_s": 4.0, "resumed": False, "disturbed": None, "auc": None, **where, **changes}


def test_a_number_is_the_record_s_unless_the_metric_measures_it() -> None:
    assert TT_S.number(cell()) == 4.0
    assert METRICS["tt"].number(cell()) == 4.0
    assert METRICS["auc"].number(cell()) is None
    assert Metric("half", "Half", None, 2, lambda cell, baseline: cell["tt_s"] / 2).number(cell()) == 2.0


def test_times_of_resumed_cells_are_no_numbers() -> None:
    assert TT_S.number(cell(resumed=True)) is None
    assert METRICS["auc"].number(cell(auc=0.5, resumed=True)) == 0.5


def test_a_ratio_needs_both_numbers() -> None:
    assert TT_RATIO.number(cell(tt_s=1.0), cell(tt_s=4.0)) == 0.25
    for base in (None, cell(tt_s=None), cell(tt_s=0.0), cell(resumed=True)):
        assert TT_RATIO.number(cell(), base) is None
    assert TT_RATIO.number(cell(tt_s=None), cell()) is None
    assert TT_RATIO.number(cell(resumed=True), cell()) is None


def test_columns_beside_a_paper_s_follow_from_the_metric() -> None:
    auc = METRICS["auc"]
    assert [m.name for m in (auc.paper, auc.gap)] == ["auc_paper", "auc_gap"]
    assert [m.heading for m in (auc.paper, auc.gap)] == ["paper", "difference"]
    assert [auc.gap.text(x) for x in (0.01, -0.01, 0.0)] == ["+0.0100", "-0.0100", "0.0000"]
    assert signed(2)(-1234.5, 0.0) == "-1,234.50"
