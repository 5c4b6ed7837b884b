"""Shadows: who beats them, how many rounds are more than luck, and how seldom noise does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import Rows, Selection
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.shadow import scored, selected

MakeJob = Callable[..., Job]


@pytest.fixture
def select(context: Callable[..., Any]) -> Callable[..., Selection]:
    def run(spec: str, train: Rows, held: Rows, seed: int = 0, budget: str = "field") -> Selection:
        method = choose_method(spec).make()
        ctx = context(train.schema, train.schema.n_fields // 2, method.params, seed=seed)
        ctx.budget = budget
        assert method.skip(ctx) is None
        return method.select(ctx, train, held)

    return run


def test_a_round_is_won_against_the_largest_shadow_and_ties_go_by_importance() -> None:
    importances = np.array(
        [
            # fields 0 to 2, their shadows
            [5.0, 3.0, 0.0, 4.0, 1.0, 0.0],
            [2.0, 3.0, 1.0, 2.0, 2.0, 0.0],
        ]
    )
    hits, scores = scored(importances)
    assert hits.tolist() == [1, 1, 0]  # 5 > 4; 3 > 2, and 2 is not above 2
    means = np.array([3.5, 3.0, 0.5])
    assert scores == pytest.approx(np.array([1, 1, 0]) / 2 + means / means.sum() / 3)
    assert scores.argsort().tolist() == [2, 1, 0]


def test_importance_alone_never_makes_up_for_a_round() -> None:
    importances = np.zeros((4, 4))
    importances[0] = [0.1, 0, 0.05, 0]  # field 0 wins one round, with little
    importances[1:] = [0, 100, 0, 200]  # field 1 loses all, with much
    hits, scores = scored(importances)
    assert hits.tolist() == [1, 0] and scores[0] > scores[1]


@pytest.mark.parametrize(("rounds", "n_fields"), [(20, 1), (20, 24), (5, 1), (8, 3)])
def test_selected_fields_win_more_rounds_than_a_coin_by_holms_rule(rounds: int, n_fields: int) -> None:
    tail = [sum(comb(rounds, k) for k in range(hits, rounds + 1)) / 2**rounds for hits in range(rounds + 1)]
    least = next((hits for hits in range(rounds + 1) if tail[hits] * n_fields <= 0.05), rounds + 1)
    for hits in (least - 1, least):
        if hits <= rounds:
            alone = np.zeros(n_fields, dtype=int)
            alone[0] = hits  # the first of the steps: the full number of fields counts
            assert selected(alone, rounds, 0.05).tolist() == [hits >= least] + [False] * (n_fields - 1)


def test_holms_steps_let_a_second_field_in_at_a_lower_price() -> None:
    """Of two fields, 16 of 20 have p = .0059 and 15 of 20 p = .0207: alone it would owe 2 · .0207 = .041."""
    assert selected(np.array([16, 15]), 20, 0.03).tolist() == [True, True]
    assert selected(np.array([10, 15]), 20, 0.03).tolist() == [False, False]


def noise(rows_of: Callable[..., Rows], seed: int) -> tuple[Rows, Rows]:
    """Sixteen fields of two to a thousand values and labels that have nothing to do with them."""
    draw = np.random.default_rng(seed)
    sizes = np.array([2, 5, 30, 1000] * 4)
    n = 1500
    codes = np.stack([draw.integers(0, size, n) + 2 for size in sizes], axis=1)
    labels = draw.random(n) < 0.3
    return (
        rows_of(codes[:1200], sizes + 2, labels[:1200]),
        rows_of(codes[1200:], sizes + 2, labels[1200:], first=1200),
    )


def test_of_pure_noise_at_most_one_field_in_twenty_is_selected(
    rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    found = [
        len(select("shadow[trees=6]", *noise(rows_of, seed), seed=seed).notes["selected_fields"]) for seed in range(4)
    ]
    assert sum(found) <= 0.05 * 4 * 16, found


@pytest.mark.parametrize("variant", ["sound", "categorical"])
def test_fields_that_tell_are_selected_and_their_number_is_the_method_s_own_k(
    variant: str, toy_rows: Callable[..., Any], select: Callable[..., Selection]
) -> None:
    toy = toy_rows(4000, 0.9, seed=1, cardinalities=(3, 10, 30, 4, 20, 60))
    found = select(f"shadow[trees=8,rounds=10,variant={variant}]", toy.train, toy.held, budget="native")
    assert found.kept == sorted(toy.relevant) == [0, 1, 2]
    assert found.notes["selected_fields"] == ["f0", "f1", "f2"]
    assert set(np.argsort(found.scores)[-3:]) == toy.relevant
    assert select(f"shadow[trees=8,rounds=5,variant={variant}]", toy.train, toy.held).kept is None


def test_where_none_is_selected_the_best_one_stays(
    rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    found = select("shadow[trees=2,level=0.0001]", *noise(rows_of, 0), budget="native")
    assert found.notes["selected_fields"] == []
    assert found.kept == [int(np.argmax(found.scores))]


def test_names_of_values_do_not_matter_to_the_sound_variant(
    toy_rows: Callable[..., Any], select: Callable[..., Selection]
) -> None:
    toy = toy_rows(2000, 0.6, seed=0, cardinalities=(5, 30, 4, 40))
    draw = np.random.default_rng(5)
    new = np.arange(toy.train.schema.vocabulary_rows, dtype=np.int32)
    for start, stop in zip(toy.train.schema.offsets[:-1] + 2, toy.train.schema.offsets[1:], strict=True):
        new[start:stop] = draw.permutation(new[start:stop])
    other = [replace(rows, ids=torch.from_numpy(new)[rows.ids.long()]) for rows in (toy.train, toy.held)]
    spec = "shadow[trees=5,rounds=5]"
    assert np.array_equal(select(spec, *other).scores, select(spec, toy.train, toy.held).scores)


def test_under_its_own_rule_the_cell_runs_once_and_keeps_what_is_selected(make_job: MakeJob) -> None:
    job = make_job("shadow[budget=native,rounds=10,trees=5]", epochs=1)
    assert job.cell.tau is None
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    names = job.data.schema.names
    assert [names[f] for f in record.kept_fields or []] == record.notes["selected_fields"] != []


def test_rounds_that_could_never_tell_are_refused_where_they_decide(make_job: MakeJob) -> None:
    record = run_cell(make_job("shadow[budget=native,rounds=7]"))
    said = "7 rounds, all won, are no more than luck for one of 8 fields: give rounds=8"
    assert (record.status, record.reason) == ("skipped", said)  # 8 / 2^7 = .0625 and 8 / 2^8 = .031
    assert selected(np.array([8] + [0] * 7), 8, 0.05)[0] and not selected(np.array([7] + [0] * 7), 7, 0.05)[0]
