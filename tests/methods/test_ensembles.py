"""Consensus and stability: ensembles of other methods, whose ranks and costs add up."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench
from bench.api import ConfigError
from bench.run.cell import run_cell, run_selection
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.stability import frequencies, halves

MakeJob = Callable[..., Job]
MEMBERS = ("lasso", "xgboost[depth=2]", "random-k")


def places(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1 for the best, ties sharing their mean, by counting."""
    return np.array([1 + (scores > s).sum() + ((scores == s).sum() - 1) / 2 for s in scores])


@pytest.mark.parametrize("rule", ["mean", "reciprocal"])
def test_the_consensus_is_the_mean_of_its_members_ranks(make_job: MakeJob, rule: str) -> None:
    ranks = np.stack([places(run_selection(make_job(member))["scores"]) for member in MEMBERS])
    found = run_selection(make_job(f"consensus[members={'+'.join(MEMBERS)},rule={rule}]"))["scores"]
    assert found == pytest.approx(-ranks.mean(axis=0) if rule == "mean" else (1 / (5 + ranks)).mean(axis=0))


def test_its_record_says_who_ranked_how_and_is_charged_for_all(make_job: MakeJob) -> None:
    record = run_cell(make_job("consensus[members=lasso+cardinality+random-k]", epochs=1))
    assert record.notes["member_ranks"].keys() == {"lasso", "cardinality", "random-k"}
    assert record.pt_s is not None
    assert record.pt_s >= sum(record.phases[f"select/{name}"] for name in record.notes["member_ranks"]) > 0


def test_a_member_without_a_ranking_is_named_and_moves_nothing(make_job: MakeJob) -> None:
    flat = "xgboost[min_child_weight=1000000]"  # no leaf holds so much: no tree splits
    record = run_cell(make_job(f"consensus[members=random-k+{flat}]", epochs=1))
    assert record.notes["members_without_ranking"] == [flat]
    own = run_selection(make_job("random-k"))["scores"]
    assert np.array_equal(np.argsort(record.field_scores), np.argsort(own))


def test_its_members_are_the_rankers_of_advice() -> None:
    file = Path(bench.__file__).parent / "experiments" / "advise.toml"
    rankers = tomllib.loads(file.read_text("utf-8"))["methods"]
    assert [member.text for member in choose_method("consensus").members] == rankers


@pytest.mark.parametrize("members", ["lasso", "lasso+lasso", "lasso+", "+"])
def test_one_method_is_no_ensemble(members: str) -> None:
    with pytest.raises(ConfigError, match=r"members=.* must be two or more different methods, as in lasso\+xgboost"):
        choose_method(f"consensus[members={members}]")


def test_what_the_ensemble_depends_on_is_what_its_members_do() -> None:
    def axes(text: str) -> set[str]:
        return set(choose_method(text).make().axes())

    assert axes("consensus[members=cardinality+random-k]") == {"seed"}
    assert axes("consensus[members=lasso+autofield]") == {"seed", "backbone"}
    assert axes("stability[method=cardinality]") == {"seed", "tau"}
    assert axes("stability[method=cardinality,size=3]") == {"seed"}
    assert axes("stability[method=light-fmp,size=3]") == {"seed", "tau", "backbone"}


@pytest.mark.parametrize("n", [1000, 1001])
def test_halves_share_no_row_and_keep_the_share_of_positives(n: int, rows_of: Callable[..., Any]) -> None:
    draw = np.random.default_rng(0)
    codes, labels = draw.integers(2, 5, (n, 2)), draw.random(n) < 0.2
    rows = rows_of(codes, np.array([5, 5]), labels)
    first, second = halves(rows, torch.Generator().manual_seed(1))
    assert len(first) == len(second) == 500
    assert not set(first.index.tolist()) & set(second.index.tolist())
    for half in (first, second):
        assert abs(float(half.labels.sum()) - labels.sum() / 2) <= 1
        assert torch.equal(half.ids, rows.ids[half.index])
    other, _ = halves(rows, torch.Generator().manual_seed(2))
    assert not torch.equal(first.index, other.index)


def test_a_frequency_is_the_share_of_half_samples_and_mean_ranks_part_ties() -> None:
    ranks = np.array([[1, 2, 3, 4], [2, 1, 4, 3], [1, 3, 2, 4], [1, 2, 3.5, 3.5]])
    frequency, scores = frequencies(ranks, 2)
    assert frequency.tolist() == [1, 0.75, 0.25, 0]
    mean = np.array([5 / 4, 8 / 4, 12.5 / 4, 14.5 / 4])
    assert scores == pytest.approx(frequency + (1 - (mean - 1) / 4) / 5)
    assert (np.diff(np.sort(scores)) > 0).all()


def test_stability_counts_how_often_half_of_the_rows_select_a_field(make_job: MakeJob) -> None:
    by_size = run_cell(make_job("stability[method=cardinality,pairs=2]", epochs=1))
    own = run_selection(make_job("cardinality"))["scores"]
    selected = places(own) <= 4  # which rows it sees makes no difference to a control: all half-samples agree
    assert np.array_equal(np.array(by_size.field_scores) >= 1, selected)
    assert by_size.notes["half_samples"] == 4 and by_size.notes["selected_by_each"] == 4
    assert by_size.notes["stable_fields"] == selected.sum()
    assert by_size.notes["false_fields_at_most"] == pytest.approx(4**2 / ((2 * 0.9 - 1) * 8))


def test_every_half_sample_has_random_numbers_of_its_own(make_job: MakeJob) -> None:
    scores = run_selection(make_job("stability[method=random-k,pairs=10,size=4]"))["scores"]
    frequency = np.floor(np.array(scores) * 20 + 1e-9) / 20
    assert ((frequency > 0.05) & (frequency < 0.95)).all(), "a lot that is drawn once would be selected by all or none"


def test_more_fields_than_there_are_cannot_be_selected(make_job: MakeJob) -> None:
    record = run_cell(make_job("stability[method=cardinality,size=9]"))
    assert (record.status, record.reason) == ("skipped", "size=9 is more than the 8 fields there are")
