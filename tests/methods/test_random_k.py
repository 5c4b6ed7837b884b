from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import Selection
from bench.engine.clock import Clock
from bench.method import Method
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job

MakeJob = Callable[..., Job]


def method_of(job: Job) -> Method[Any]:
    made: Method[Any] = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    return made


def select(job: Job) -> Selection:
    train = job.data.train
    return method_of(job).select(job.context(Clock(job.device)), train, train.take(torch.arange(1)))


def scores(job: Job) -> list[float]:
    found = select(job).scores
    assert found is not None
    return list(found)


def test_scores_differ_from_seed_to_seed_and_from_nothing_else(make_job: MakeJob) -> None:
    base = scores(make_job("random-k"))
    assert scores(make_job("random-k")) == base
    assert scores(make_job("random-k", tau=0.25, backbone="xdeepfm[mlp=8]")) == base
    assert scores(make_job("random-k[carry_over=true]")) == base  # the same lot with and without the weights
    lots = {tuple(scores(make_job("random-k", seed=seed))) for seed in range(20)}
    assert len(lots) == 20


def test_every_field_is_kept_equally_often(make_job: MakeJob) -> None:
    """400 seeds, 4 of 8 fields: 200 times each, with a standard deviation of 10."""
    kept = np.zeros(8)
    for seed in range(400):
        kept[np.argsort(scores(make_job("random-k", seed=seed)))[4:]] += 1
    assert kept.sum() == 1600
    assert abs(kept - 200).max() < 45


@pytest.mark.parametrize(
    ("text", "axes"),
    [("random-k", {"seed"}), ("random-k[carry_over=true]", {"seed", "tau", "backbone"})],
)
def test_the_axes_it_depends_on(make_job: MakeJob, text: str, axes: set[str]) -> None:
    assert method_of(make_job(text)).depends_on() == axes


def test_plain_random_k_starts_fresh_and_looks_at_no_rows(make_job: MakeJob) -> None:
    selection = select(make_job("random-k"))
    assert (selection.start, selection.used_rows, selection.rows_seen) == (None, None, 0)


def test_carry_over_brings_the_weights_and_loses_the_rows_of_light_fmp(make_job: MakeJob) -> None:
    carried, reference = select(make_job("random-k[carry_over=true]")), select(make_job("light-fmp"))
    assert carried.start is not None
    assert reference.start is not None
    assert torch.equal(carried.start.table.weight, reference.start.table.weight)
    assert carried.used_rows is not None
    assert torch.equal(carried.used_rows, reference.used_rows)
    plain, with_weights = (run_cell(make_job(f"random-k[carry_over={on}]")) for on in ("false", "true"))
    assert plain.kept_fields == with_weights.kept_fields
    assert plain.logloss != with_weights.logloss
    assert (plain.pt_shared, with_weights.pt_shared) == (True, False)


def test_a_word_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(Exception, match="random-k: carry_over=yes must be true or false"):
        choose_method("random-k[carry_over=yes]")
