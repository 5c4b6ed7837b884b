from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fit_rig import Constraint, Pick, PlainNet, assert_same_weights, fit, make_model, make_rows, profile_step
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from bench.api import Batch, CTRModel, Field, FitPlan, Group, Rows, Schema, Step
from bench.engine.evaluate import NonFiniteQualityError
from bench.engine.fit import NonFiniteLossError, log_loss


@pytest.mark.parametrize("clip", [None, 0.05], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_equals_a_plain_loop(clip: float | None, optimizer: str) -> None:
    rows = make_rows(22)  # 5 full batches of 4 and one of 2
    model = make_model(rows.schema)
    plain = PlainNet(model)
    reference_type = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    reference = reference_type(
        [
            {"params": plain.table(), "lr": 0.01, "weight_decay": 0.1},
            {"params": plain.network(), "lr": 0.02},
        ]
    )
    fit(model, rows, [profile_step(model, optimizer=optimizer)], seed=3, epochs=4, clip_norm=clip)
    draw = torch.Generator().manual_seed(3)
    clipped = 0
    for _ in range(4):
        order = torch.randperm(22, generator=draw)
        for part in order.split(4):
            reference.zero_grad()
            F.binary_cross_entropy_with_logits(plain(rows.ids[part]), rows.labels[part]).backward()
            if clip is not None:
                clipped += bool(nn.utils.clip_grad_norm_(plain.parameters(), clip) > clip)
            reference.step()
    assert clip is None or clipped > 10
    assert_same_weights(model, plain)


def test_several_steps_equal_a_plain_loop_over_the_same_batches() -> None:
    """The second step runs every third iteration, uphill, on batches of its own rows, twice as large."""
    rows, others = make_rows(22), make_rows(17, seed=1, first=100)
    model, player = make_model(rows.schema), Constraint()
    plain = PlainNet(model)
    steps = [
        profile_step(model, loss=player.model_loss),
        Step(
            [Group([player.lam], 0.1, maximize=True)],
            loss=player.lam_loss,
            batches=others,
            every=3,
            batch_scale=2,
            optimizer="sgd",
        ),
    ]
    fit(model, rows, steps, epochs=4, clip_norm=0.5)
    lam = torch.tensor(0.5, dtype=torch.float64)
    reference = torch.optim.Adam(
        [
            {"params": plain.table(), "lr": 0.01, "weight_decay": 0.1},
            {"params": plain.network(), "lr": 0.02},
        ]
    )
    for name, batch in player.seen:
        p = torch.sigmoid(plain(batch.ids))
        if name == "lam":
            gradient = (p.mean() - 0.3).detach()
            lam += 0.1 * gradient * min(1.0, 0.5 / (float(gradient.abs()) + 1e-6))
            continue
        reference.zero_grad()
        (F.binary_cross_entropy_with_logits(plain(batch.ids), batch.labels) + lam * p.mean()).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        reference.step()
    assert lam != 0.5
    torch.testing.assert_close(player.lam.detach(), lam, rtol=0, atol=1e-10)
    assert_same_weights(model, plain)

    names = [name for name, _ in player.seen]
    assert names == (["model"] * 3 + ["lam"]) * 8  # 24 iterations
    drawn = [tuple(row) for name, batch in player.seen if name == "lam" for row in batch.ids.tolist()]
    assert [len(batch) for name, batch in player.seen if name == "lam"] == [8] * 8
    for start in range(0, 64, 16):  # 17 rows: two batches of 8 a pass, then a new order
        one_pass = sorted(drawn[start : start + 16])
        available = sorted(tuple(row) for row in others.ids.tolist())
        for row in one_pass:
            available.remove(row)
    assert len({tuple(drawn[start : start + 16]) for start in range(0, 64, 16)}) == 4


def test_only_the_parameters_of_a_step_get_its_gradient() -> None:
    rows = make_rows(8)
    model, player = make_model(rows.schema), Constraint()
    got: list[tuple[str, str]] = []

    def spy(name: str) -> Callable[[Tensor], None]:
        return lambda grad: got.append((player.seen[-1][0], name))

    player.lam.register_hook(spy("lam"))
    for name, param in model.backbone.named_parameters():
        param.register_hook(spy(name))
    steps = [
        profile_step(model, loss=player.model_loss),
        Step([Group([player.lam], 0.1, maximize=True)], loss=player.lam_loss),
    ]
    fit(model, rows, steps, epochs=2)
    assert set(got) == {("lam", "lam"), *(("model", name) for name, _ in model.backbone.named_parameters())}
    assert all(param.requires_grad and param.grad is None for param in [player.lam, *model.parameters()])


def test_every_row_is_used_once_an_epoch_in_a_new_order_and_the_last_batch_is_the_rest() -> None:
    rows = make_rows(10)
    rows.labels.copy_(torch.arange(10) / 10)  # tells rows apart
    model = make_model(rows.schema)
    batches: list[list[float]] = []

    def loss(model: CTRModel, batch: Batch) -> Tensor:
        batches.append(batch.labels.tolist())
        return log_loss(model, batch)

    log = fit(model, rows, [profile_step(model, loss=loss)], epochs=3)
    assert [len(batch) for batch in batches] == [4, 4, 2] * 3
    epochs = [[*chain(*batches[start : start + 3])] for start in (0, 3, 6)]
    assert all(sorted(epoch) == sorted(rows.labels.tolist()) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert (log.iterations, log.epochs, log.best_epoch) == (9, 3, 3)
    assert math.isnan(log.valid_auc)


def test_schedule_comes_before_and_after_follows_every_update() -> None:
    rows = make_rows(8)
    model, events = make_model(rows.schema), []

    def loss(model: CTRModel, batch: Batch) -> Tensor:
        events.append("loss")
        return log_loss(model, batch)

    first = model.table.weight.detach().clone()

    def after(optimizer: torch.optim.Optimizer) -> None:
        assert optimizer.param_groups[0]["params"][0] is model.table.weight
        assert not torch.equal(model.table.weight, first)
        events.append("after")

    def schedule(iteration: int, planned: int) -> None:
        events.append(f"{iteration}/{planned}")

    fit(model, rows, [profile_step(model, loss=loss, after=after, every=2)], epochs=2, schedule=schedule)
    assert events == ["0/4", "1/4", "loss", "after", "2/4", "3/4", "loss", "after"]


@pytest.fixture
def rig() -> Callable[..., tuple[CTRModel, Rows, Step, dict[int, float]]]:
    """A model whose validation AUC follows a script: in epoch k only the field ``script[k]`` speaks."""

    def make(script: Sequence[int]) -> tuple[CTRModel, Rows, Step, dict[int, float]]:
        draw = np.random.default_rng(4)
        labels = (draw.random(40) < 0.5).astype(np.float64)
        # field i repeats the label except in 4 · i + 1 rows: field 0 is the best, field 5 the worst
        columns = []
        for i in range(6):
            column = labels.copy()
            flipped = draw.permutation(40)[: 4 * i + 1]
            column[flipped] = 1 - column[flipped]
            columns.append(column)
        values = np.stack(columns, axis=1)
        schema = Schema(tuple(Field(f"f{i}", "categorical", 2) for i in range(6)))
        ids = torch.from_numpy((values + schema.offsets[:-1]).astype(np.int32))
        rows = Rows(schema, ids, None, torch.from_numpy(labels), torch.arange(40))
        weight = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(6)[:, None]
        model = CTRModel(schema, weight, Pick(6, 1).double())
        mix = cast(Pick, model.backbone).mix
        calls = [0]

        def after(optimizer: torch.optim.Optimizer) -> None:
            with torch.no_grad():
                mix.zero_()
                mix[script[calls[0] // 10]] = 1.0  # 10 iterations an epoch
            calls[0] += 1

        aucs = {i: roc_auc_score(labels, values[:, i]) for i in range(6)}
        assert sorted(aucs, key=aucs.__getitem__, reverse=True) == list(range(6))
        return model, rows, Step([Group([mix], 1e-3)], after=after), aucs

    return make


def test_the_best_validated_weights_come_back(rig: Callable[..., Any]) -> None:
    script = [4, 1, 2, 3]  # epoch 2 is the best
    model, rows, step, aucs = rig(script)
    log = fit(model, rows, [step], valid=rows, epochs=4, patience=3)
    assert [entry["valid_auc"] for entry in log.history] == pytest.approx([aucs[f] for f in script], abs=1e-12)
    assert model.backbone.mix.tolist() == [0, 1, 0, 0, 0, 0]
    assert (log.best_epoch, log.epochs, log.valid_auc) == (2, 4, pytest.approx(aucs[1], abs=1e-12))
    assert 0 < log.best_s < log.total_s


@pytest.mark.parametrize(
    ("script", "patience", "epochs_run", "best"),
    [
        ([3, 4, 0, 0, 0], 1, 2, 1),  # stops at the first epoch without gain
        ([3, 4, 2, 5, 5, 0], 2, 5, 3),  # one stale epoch is forgiven, two in a row are not
        ([5, 4, 3, 2, 1, 0], 1, 6, 6),  # always a gain: all planned epochs
        ([2, 2, 0, 0], 1, 2, 1),  # the same AUC again is no gain
    ],
)
def test_training_stops_when_patience_is_used_up(
    rig: Callable[..., Any], script: list[int], patience: int, epochs_run: int, best: int
) -> None:
    model, rows, step, _ = rig(script)
    log = fit(model, rows, [step], valid=rows, epochs=len(script), patience=patience)
    assert (log.epochs, log.best_epoch) == (epochs_run, best)
    assert model.backbone.mix.argmax() == script[best - 1]


def test_learning_rates_fall_after_each_evaluation_without_gain(rig: Callable[..., Any]) -> None:
    model, rows, step, _ = rig([3, 4, 2, 5, 1])
    log = fit(model, rows, [step], valid=rows, epochs=5, patience=9, lr_decay=0.1)
    assert [entry["lr"] for entry in log.history] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])


@pytest.mark.parametrize(
    ("epochs", "every", "per_epoch", "points"),
    [
        (2, 1, 10, [10, 20]),
        (2, 0.5, 10, [5, 10, 15, 20]),
        (2, 0.5, 5, [2, 5, 8, 10]),  # 2.5 and 7.5 are rounded
        (3, 2, 10, [20, 30]),
        (1, 0.3, 10, [3, 6, 9, 10]),
        (2, 0.01, 2, [1, 2, 3, 4]),
        (1, 5, 7, [7]),
    ],
)
def test_evaluation_points(epochs: int, every: float, per_epoch: int, points: list[int]) -> None:
    assert FitPlan(epochs, 1, evaluate_every=every).evaluation_points(per_epoch) == points


def test_half_epochs_are_evaluated_and_count_for_patience(rig: Callable[..., Any]) -> None:
    model, rows, step, aucs = rig([3, 2, 4, 0])
    seen: list[float] = []
    log = fit(
        model, rows, [step], valid=rows, epochs=4, patience=2, evaluate_every=0.5,
        on_epoch=lambda entry: seen.append(entry["epoch"]),
    )  # fmt: skip
    # gains at 0.5 (field 3) and 1.5 (field 2); 2.0 and 2.5 are stale
    assert seen == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert (log.epochs, log.best_epoch, log.valid_auc) == (2.5, 1.5, pytest.approx(aucs[2], abs=1e-12))


def test_train_loss_of_an_evaluation_is_the_mean_since_the_last_one() -> None:
    rows = make_rows(10)
    model = make_model(rows.schema)
    values: list[float] = []

    def loss(model: CTRModel, batch: Batch) -> Tensor:
        value = log_loss(model, batch)
        values.append(value.item())
        return value

    log = fit(model, rows, [profile_step(model, loss=loss)], valid=rows, epochs=2, patience=9)
    means = [np.mean(values[:3]), np.mean(values[3:])]
    assert [entry["train_loss"] for entry in log.history] == pytest.approx(means, abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("guilty", ["table.weight", "backbone.first.bias"])
def test_a_loss_that_is_not_finite_names_step_parameter_and_iteration(bad: float, guilty: str) -> None:
    rows = make_rows(20)
    model = make_model(rows.schema)
    params = dict(model.named_parameters())
    calls = [0]

    def loss(model: CTRModel, batch: Batch) -> Tensor:
        calls[0] += 1
        extra = params[guilty].sum() * (bad if calls[0] == 7 else 0.0)
        return params[guilty].square().mean() + extra

    other = Step([Group([params["backbone.last.bias"]], 0.1)], name="innocent")
    culprit = Step([Group([params[guilty]], 0.1)], loss=loss, name="culprit")
    with pytest.raises(NonFiniteLossError) as caught:
        fit(model, rows, [other, culprit], epochs=3, name="pretrain")
    text = str(caught.value)
    assert "pretrain" in text
    assert "iteration 7" in text
    assert f"{guilty} of step 'culprit'" in text


def test_a_loss_that_is_not_finite_while_parameters_are_names_its_step() -> None:
    rows = make_rows(8)
    model = make_model(rows.schema)

    def loss(model: CTRModel, batch: Batch) -> Tensor:
        return log_loss(model, batch) + math.inf

    steps = [profile_step(model), Step([Group(model.network_parameters(), 0.1)], loss=loss, name="culprit")]
    with pytest.raises(NonFiniteLossError, match=r"'culprit'.*iteration 1"):
        fit(model, rows, steps)


def test_a_validation_that_is_not_finite_ends_the_training_at_once() -> None:
    """Of the values, only those of row 3 of the validation rows are spoilt, in the second of three epochs."""
    rows, valid = make_rows(20), make_rows(9, seed=1, first=100)
    last = torch.tensor(rows.schema.offsets[1:] - 1, dtype=torch.int32)  # values that no other row has
    rows, valid = (replace(part, ids=torch.minimum(part.ids, last - 1)) for part in (rows, valid))
    valid.ids[3] = last
    model = make_model(rows.schema)
    seen: list[dict[str, float]] = []

    def spoil(iteration: int, planned: int) -> None:
        if iteration == 7:
            with torch.no_grad():
                model.table.weight[int(last[0])] = math.inf

    with pytest.raises(NonFiniteQualityError) as caught:
        fit(
            model,
            rows,
            [profile_step(model, loss=log_loss)],
            valid,
            epochs=3,
            patience=9,
            name="train",
            schedule=spoil,
            on_epoch=seen.append,
        )
    assert len(seen) == 1
    assert math.isfinite(seen[0]["valid_auc"])
    assert str(caught.value).startswith("train: validation after epoch 2: AUC ")
    assert "the scores of 1 of 9 rows are not finite, the first that of row 104 of the table." in str(caught.value)


def test_the_optimizer_is_on_record() -> None:
    rows = make_rows(8)
    model = make_model(rows.schema)
    assert fit(model, rows, [profile_step(model, optimizer="sgd")], epochs=1).optimizer == "sgd"
