from __future__ import annotations

import math

import pytest

from bench.advising.advice import Look, Saving
from bench.advising.config import seconds_of
from bench.advising.words import decimals, difference, needed, sentence, signed
from bench.errors import ConfigError
from bench.stats.difference import Interval


def interval(mean: float, half: float, seeds: int = 3, **parts: float) -> Interval:
    values = {"seed_var": 1e-8, "row_var": 1e-8} | parts
    return Interval(mean, mean - half, mean + half, half / 2, math.inf, seeds, 1000, **values)


def test_numbers_have_their_sign_and_zero_has_none() -> None:
    assert (signed(0.00034), signed(-0.00034), signed(-0.00001)) == ("+0.0003", "−0.0003", "0.0000")
    assert (decimals(0.01), decimals(0.001), decimals(0.0002)) == (4, 4, 5)


def test_the_sentence_is_that_of_the_issue() -> None:
    look = Look(25, (), interval(0, 1), interval(-0.0003, 0.0008), 0.8, 39.0, 0.62, 5.8, ())
    savings = [
        Saving("embeddings", 100.0, 39.0),
        Saving("inference", 1.0, 0.62),
        Saving("training", 10.0, 5.8),
        Saving("memory", None, 1.0, "not measured"),
    ]
    assert sentence(look, 39, savings, 0.001) == (
        "Drop 14 of 39 fields: AUC −0.0003 (95 %: −0.0011 … +0.0005), "
        "embeddings −61 %, inference −38 %, training −42 %."
    )


def test_what_it_would_take_is_a_reckoning_with_the_two_parts() -> None:
    # rows alone: half = 1.96 sqrt(row_var · 1000 / rows); 0.001 takes 1000 · 1.96² · 1e-4 / 1e-6 = 384,146 rows
    rows_only = interval(0.0, 0.0196, seed_var=0.0, row_var=1e-4)
    said = needed(rows_only, 0.001, valid_rows=1000, all_rows=10_000)
    assert said == "To tell a loss of 0.001 takes about 3,900,000 rows (now 10,000 rows and 3 seeds)."
    assert difference(rows_only, 0.001) == "AUC 0.0000 (95 %: −0.0196 … +0.0196)"


def test_where_neither_would_do_alone_both_are_named() -> None:
    said = needed(interval(0.0, 0.1, seed_var=1e-5, row_var=1e-4), 0.001, 1000, 10_000)
    assert " rows with " in said and " seeds (now 10,000 rows and 3 seeds)." in said


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90), ("45", 45)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0s", "-3m", "30 minutes", "m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no duration above 0; write 90s, 30m"):
        seconds_of(text)
