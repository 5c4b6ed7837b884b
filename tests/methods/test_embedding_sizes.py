from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bench.api import CTRModel, Field, Rows, Schema, predict
from bench.engine.clock import Clock
from bench.run.job import Job
from methods.parts.embedding_sizes import Candidates

MakeJob = Callable[..., Job]


def trained(job: Job) -> CTRModel:
    """A model whose embeddings are large enough to matter."""
    model = job.context(Clock(job.device)).model()
    with torch.no_grad():
        model.table.weight.mul_(100)
    return model


def candidates(job: Job, q: torch.Tensor, limit: int | None) -> Candidates:
    return Candidates(trained(job), q, limit, job.data.valid)


def importance(job: Job) -> torch.Tensor:
    v = job.data.schema.vocabulary_rows
    return torch.randn(v, generator=torch.Generator().manual_seed(1))


GENES = (3, 1, 8, 2, 5, 4, 8, 1)


def by_hand(job: Job, q: torch.Tensor, limit: int) -> set[int]:
    """Values in the order of q, until the next one does not fit any more."""
    sizes = np.repeat(GENES, job.data.schema.cardinalities)
    kept: set[int] = set()
    total = 0
    for v in sorted(range(len(q)), key=lambda v: -float(q[v])):
        total += int(sizes[v])
        if total > limit:
            break
        kept.add(v)
    return kept


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.9, 1.0])
def test_the_cut_is_where_values_stop_fitting(make_job: MakeJob, share: float) -> None:
    job = make_job("no-selection")
    q, sizes = importance(job), np.repeat(GENES, job.data.schema.cardinalities)
    limit = int(share * sizes.sum())
    found = candidates(job, q, limit)
    kept = by_hand(job, q, limit)
    assert set(found.mask(GENES).nonzero().squeeze(1).tolist()) == kept
    assert found.scalars(GENES) == sum(int(sizes[v]) for v in kept) <= limit
    assert found.scalars(GENES) > limit - 8


def test_without_a_limit_the_margin_decides_and_sizes_are_free(make_job: MakeJob) -> None:
    job = make_job("no-selection")
    q, sizes = importance(job), np.repeat(GENES, job.data.schema.cardinalities)
    found = candidates(job, q, None)
    assert torch.equal(found.mask(GENES), q > 0)
    assert found.scalars(GENES) == sizes[(q > 0).numpy()].sum()
    assert found.fill(GENES, torch.Generator()) == GENES


def test_ties_at_the_cut_go_to_the_lower_value(make_job: MakeJob) -> None:
    job = make_job("no-selection")
    found = candidates(job, torch.ones(job.data.schema.vocabulary_rows), 7)
    assert found.mask((2,) * 8).nonzero().squeeze(1).tolist() == [0, 1, 2]  # a fourth would make 8 of 7


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
def test_sizes_grow_until_all_values_together_reach_the_limit(make_job: MakeJob, share: float) -> None:
    job = make_job("no-selection")
    counts = job.data.schema.cardinalities
    limit = int(share * 8 * counts.sum())
    found = candidates(job, importance(job), limit)
    for start in ((1,) * 8, GENES, (8,) * 8):
        grown = found.fill(start, torch.Generator().manual_seed(0))
        assert all(a <= b <= 8 for a, b in zip(start, grown, strict=True))
        assert int(np.dot(grown, counts)) >= limit
        assert limit - 8 < found.scalars(grown) <= limit
        if np.dot(start, counts) >= limit:
            assert grown == start
        else:  # no field could be one smaller than it was made
            last = [f for f in range(8) if grown[f] > start[f] and np.dot(grown, counts) - counts[f] < limit]
            assert last
    if share == 1.0:
        assert found.fill((1,) * 8, torch.Generator()) == (8,) * 8


@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", "deepfm[mlp=8]"])
@pytest.mark.parametrize("limit", [None, 2000])
def test_the_score_is_the_auc_of_the_masked_model(make_job: MakeJob, backbone: str, limit: int | None) -> None:
    job = make_job("no-selection", backbone=backbone)
    q, model = importance(job), trained(job)
    found = Candidates(model, q, limit, job.data.valid)
    before = model.table.weight.detach().clone()
    score = found.score(GENES)
    assert torch.equal(model.table.weight, before)
    table = model.table.weight.detach()
    with torch.no_grad():
        for v, size in enumerate(np.repeat(GENES, job.data.schema.cardinalities)):
            table[v, size:8] = 0
            if not found.mask(GENES)[v]:
                table[v] = 0
    logits = predict(model, job.data.valid).numpy()
    assert score == pytest.approx(roc_auc_score(job.data.valid.labels.numpy(), logits), abs=1e-12)
    assert score != found.score((8,) * 8)


def test_an_example_by_hand() -> None:
    schema = Schema((Field("a", "categorical", 4), Field("b", "numeric", 2)))

    class Stub:
        def __init__(self) -> None:
            self.schema, self.dim = schema, 3

        def restrict(self, rows: Rows) -> Any:
            return None

    found = Candidates(Stub(), torch.tensor([4.0, 1, 3, 2, 9, 8]), 9, None)  # type: ignore[arg-type]
    assert found.mask((2, 3)).nonzero().squeeze(1).tolist() == [0, 4, 5]  # 3 + 3 + 2, and 2 more would make 10
    assert found.scalars((2, 3)) == 8
