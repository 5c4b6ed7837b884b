"""Trainings that are stopped and go on."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from fit_rig import Constraint, fit, make_model, make_rows, profile_step

from bench.api import CTRModel, FitLog, FitPlan, Group, Rows, Step
from bench.engine.fit import Fitter


class Interrupted(Exception):
    """Stands for a kill."""


def interruptible(rows: Rows, folder: Path | None, stop_at: int | None) -> tuple[CTRModel, Constraint, FitLog]:
    """Dropout, two steps with own batches, decay, half epochs: all that has state."""
    model, player = make_model(rows.schema, dropout=0.3), Constraint()

    def schedule(iteration: int, planned: int) -> None:
        if iteration == stop_at:
            raise Interrupted

    steps = [
        profile_step(model, loss=player.model_loss),
        Step([Group([player.lam], 0.1, maximize=True)], loss=player.lam_loss, batches=rows, every=2),
    ]
    with torch.random.fork_rng():
        torch.manual_seed(11)
        log = fit(
            model, rows, steps, valid=make_rows(30, seed=2), epochs=6, patience=4, lr_decay=0.5, clip_norm=1.0,
            evaluate_every=0.5, schedule=schedule, checkpoint=None if folder is None else folder / "fit.pt",
        )  # fmt: skip
    return model, player, log


@pytest.mark.parametrize("stop_at", [2, 9, 21], ids="killed at {}".format)
def test_resumed_training_equals_uninterrupted_training_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    rows = make_rows(22)
    model, player, log = interruptible(rows, None, None)
    assert log.iterations > 21
    with pytest.raises(Interrupted):
        interruptible(rows, tmp_path, stop_at)
    again, player_again, log_again = interruptible(rows, tmp_path, None)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert torch.equal(player.lam, player_again.lam)
    assert log_again.history == log.history
    assert (log_again.epochs, log_again.best_epoch) == (log.epochs, log.best_epoch)
    assert not log.resumed
    assert log_again.resumed is (stop_at >= 3)  # the first state is kept after iteration 3


def test_a_state_in_memory_goes_on_as_well_as_one_in_a_file() -> None:
    rows, valid = make_rows(22), make_rows(30, seed=2)

    def make(epochs: int) -> Fitter:
        model, player = make_model(rows.schema), Constraint()
        steps = [
            profile_step(model, loss=player.model_loss),
            Step([Group([player.lam], 0.1, maximize=True)], loss=player.lam_loss, batches=rows, every=2),
        ]
        plan = FitPlan(epochs, batch_size=4, patience=9)
        return Fitter(model, rows, valid, steps, plan, torch.Generator().manual_seed(0))

    whole, first, second = make(4), make(2), make(4)
    log = whole.run()
    first.run()
    kept = copy.deepcopy(first.state())
    second.load(first.state())
    again = second.run()
    assert again.resumed
    assert again.history == log.history
    assert first.state().keys() == kept.keys()
    for one, other in zip(second.state()["params"], whole.state()["params"], strict=True):
        assert torch.equal(one, other)
    for one, other in zip(first.state()["params"], kept["params"], strict=True):
        assert torch.equal(one, other), "the training that goes on shares no memory with the one it came from"


def test_a_finished_training_is_not_run_again(tmp_path: Path) -> None:
    rows = make_rows(22)
    model, _, log = interruptible(rows, tmp_path, None)
    again, player, log_again = interruptible(rows, tmp_path, None)
    assert player.seen == []
    assert log_again.resumed
    assert log_again.history == log.history
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
