from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss as reference_log_loss
from sklearn.metrics import roc_auc_score

from bench.api import Backbone, CTRModel, Field, Rows, Schema
from bench.engine import evaluate as module
from bench.engine.evaluate import (
    NonFiniteQualityError,
    auc,
    evaluate,
    evaluate_finite,
    inference_time,
    logloss,
    predict,
)


class Sum(Backbone[None]):
    """Logit = sum of all embedding coordinates; one dropout layer shows the mode."""

    def __init__(self, n_fields: int, dim: int, params: None = None) -> None:
        super().__init__(n_fields, dim, params)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, e: torch.Tensor, linear: torch.Tensor | None) -> torch.Tensor:
        return cast(torch.Tensor, self.drop(e).sum((1, 2)))


def make_rows(n: int, cardinality: int = 50, seed: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    schema = Schema((Field("a", "categorical", cardinality), Field("b", "categorical", cardinality)))
    ids = draw.integers(cardinality, size=(n, 2)) + np.array([0, cardinality])
    labels = torch.from_numpy((draw.random(n) < 0.3).astype(np.float32))
    return Rows(schema, torch.from_numpy(ids.astype(np.int32)), None, labels, torch.arange(n))


def make_model(rows: Rows) -> CTRModel:
    weight = torch.randn(rows.schema.vocabulary_rows, 1, generator=torch.Generator().manual_seed(1))
    return CTRModel(rows.schema, weight, Sum(2, 1))


@pytest.mark.parametrize("levels", [1, 2, 7, 100_000], ids="levels={}".format)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_auc_agrees_with_scikit_learn(levels: int, share: float) -> None:
    draw = np.random.default_rng(levels)
    labels = (draw.random(3000) < share).astype(np.float32)
    scores = np.round(draw.normal(labels, 1.0) * levels) / levels  # few levels: many ties
    ours = auc(torch.from_numpy(scores), torch.from_numpy(labels))
    assert ours == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], 1.0),
        ([0.1, 0.2, 0.3, 0.4], [1, 1, 0, 0], 0.0),
        ([0.0, 0.0, 0.0, 0.0], [1, 0, 1, 0], 0.5),
        # pairs (positive, negative): 2>1 won, 2=2 half, 1=1 half, 1<2 lost: 2 of 4
        ([2.0, 1.0, 1.0, 2.0], [1, 1, 0, 0], 0.5),
        # 5 beats 3 and 4; 3 ties 3 and loses to 4: 2.5 of 4
        ([5.0, 3.0, 3.0, 4.0], [1, 1, 0, 0], 2.5 / 4),
    ],
)
def test_auc_counts_pairs(scores: list[float], labels: list[int], expected: float) -> None:
    assert auc(torch.tensor(scores), torch.tensor(labels, dtype=torch.float32)) == expected


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_auc_of_one_class_is_nan(label: float) -> None:
    assert math.isnan(auc(torch.arange(5.0), torch.full((5,), label)))


def test_auc_of_scores_that_are_no_numbers_is_nan() -> None:
    assert math.isnan(auc(torch.tensor([1.0, math.nan, 0.0, 2.0]), torch.tensor([1.0, 0.0, 0.0, 1.0])))


def test_auc_is_exact_where_float32_ranks_would_round() -> None:
    n = 200_001  # the ranks of the positives sum to some 10^10; float32 is exact up to 10^7
    labels = np.random.default_rng(0).random(n) < 0.5
    negatives_below = np.cumsum(~labels)  # scores are 0, 1, 2, …
    won, pairs = int(negatives_below[labels].sum()), int(labels.sum()) * int((~labels).sum())
    assert auc(torch.arange(n), torch.from_numpy(labels.astype(np.float32))) == won / pairs


def test_logloss_agrees_with_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(0, 3, 5000), (draw.random(5000) < 0.2).astype(np.float64)
    expected = reference_log_loss(labels, 1 / (1 + np.exp(-logits)))
    assert logloss(torch.from_numpy(logits), torch.from_numpy(labels)) == pytest.approx(expected, abs=1e-12)


def test_logloss_of_a_confident_mistake_is_not_clipped() -> None:
    # log(1 + exp(x)) = x up to exp(-x); a clipped probability would stop at 16 to 100
    logits, labels = torch.tensor([500.0, -500.0]), torch.tensor([0.0, 1.0])
    assert logloss(logits, labels) == pytest.approx(500.0, rel=1e-12)


def test_predict_is_batched_in_eval_mode_and_restores_the_mode() -> None:
    rows = make_rows(101)
    model = make_model(rows)
    expected = model.table.weight.detach()[rows.ids.long()].sum((1, 2))
    for training in (True, False):
        model.train(training)
        torch.testing.assert_close(predict(model, rows, batch_size=7), expected)
        assert model.training is training
    quality = evaluate(model, rows)
    assert quality.auc == pytest.approx(roc_auc_score(rows.labels.numpy(), expected.numpy()), abs=1e-12)
    assert quality.logloss == pytest.approx(logloss(expected, rows.labels), abs=1e-9)


def test_scores_that_are_not_finite_are_named_with_their_rows() -> None:
    rows = replace(make_rows(101), index=torch.arange(101) * 10 + 3)
    model = make_model(rows)
    assert evaluate_finite(model, rows, "here") == evaluate(model, rows)
    with torch.no_grad():
        model.table.weight[int(rows.ids[7, 0])] = math.inf
    scores = model.table.weight.detach()[rows.ids.long()].sum((1, 2))
    bad = (~scores.isfinite()).nonzero().squeeze(1).tolist()
    assert 0 < len(bad) < 101
    wanted = (
        rf"here: AUC .*: the scores of {len(bad)} of 101 rows are not finite, the first that of row {bad[0] * 10 + 4} "
    )
    with pytest.raises(NonFiniteQualityError, match=wanted):
        evaluate_finite(model, rows, "here")
    with torch.no_grad():
        model.table.weight.fill_(math.nan)
    with pytest.raises(NonFiniteQualityError, match=r"AUC nan, Logloss nan: .* 101 of 101 rows are not finite. Lower"):
        evaluate_finite(model, rows, "here")


def test_an_auc_of_one_class_is_named() -> None:
    rows = make_rows(20)
    rows = replace(rows, labels=torch.zeros_like(rows.labels))
    with pytest.raises(
        NonFiniteQualityError, match=r"here: AUC nan, .*: 0 of its 20 rows have label 1, and AUC needs both"
    ):
        evaluate_finite(make_model(rows), rows, "here")


def test_inference_time_is_the_median_pass_and_single_row_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only forward passes move: a row costs 1 s in batches, 2 s alone, and some single rows 50 s."""
    rows = make_rows(10_000)
    model = make_model(rows)
    clock = SimpleNamespace(now=0.0, sizes=[])

    def forward(batch: Any) -> None:
        clock.sizes.append(len(batch))
        singles = sum(size == 1 for size in clock.sizes)
        clock.now += 50.0 if len(batch) == 1 and singles % 50 == 0 else max(len(batch), 2.0)

    monkeypatch.setattr(model, "forward", forward)
    monkeypatch.setattr(module, "now", lambda device: clock.now)
    model.train()
    timing = inference_time(model, rows, repeats=5, at_least_s=0.0)
    batches = [4096, 4096, 10_000 - 2 * 4096]
    assert clock.sizes[: 6 * 3] == batches * 6  # one pass to warm up, five measured
    assert timing.total_s == 10_000
    singles = clock.sizes[18:]
    assert set(singles) == {1}
    assert len(singles) >= 200
    assert timing.row_p50_s == 2.0
    assert timing.row_p99_s == 50.0  # 4 of the 200 measured calls are slow
    assert not model.training


def test_inference_time_repeats_short_passes() -> None:
    rows = make_rows(64)
    calls = []
    model = make_model(rows)
    model.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    inference_time(model, rows, repeats=5, at_least_s=0.05)
    assert calls.count(64) > 50  # a pass takes well under a millisecond
