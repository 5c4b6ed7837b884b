"""The state of a training between two validations, kept in a file and taken up again bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.files import write_atomically

if TYPE_CHECKING:
    from bench.engine.fit import Fitter


def save(fitter: Fitter, file: Path) -> None:
    """Write all that decides how the training goes on."""
    batches = [fitter.batches, *(own for own in fitter.own_batches if own)]
    state = {
        "model": fitter.model.state_dict(),
        "params": [param.detach() for params in fitter.updates.params for param in params],
        "optimizers": [optimizer.state_dict() for optimizer in fitter.updates.optimizers],
        "batches": [(one.generator.get_state(), one.order, one.at) for one in batches],
        "torch_rng": torch.get_rng_state(),
        "device_rng": torch.cuda.get_rng_state(fitter.device) if fitter.device.type == "cuda" else None,
        "counters": (fitter.iteration, fitter.stale, fitter.best_auc),
        "best": fitter.best_state,
        "log": (fitter.log.history, fitter.log.best_epoch, fitter.log.best_s, fitter.log.total_s),
        "epoch_seconds": fitter.epoch_seconds,
    }
    with write_atomically(file, "wb") as out:
        torch.save(state, out)


def restore(fitter: Fitter, file: Path) -> None:
    """Put a training that has not begun where ``save`` has left it."""
    state: dict[str, Any] = torch.load(file, map_location=fitter.device, weights_only=True)
    fitter.model.load_state_dict(state["model"])
    with torch.no_grad():
        params = [param for params in fitter.updates.params for param in params]
        for param, value in zip(params, state["params"], strict=True):
            param.copy_(value)
    fitter.updates.load_optimizers(state["optimizers"])
    batches = [fitter.batches, *(own for own in fitter.own_batches if own)]
    for one, (generator, order, at) in zip(batches, state["batches"], strict=True):
        one.generator.set_state(generator.cpu())
        one.resume(order, at)
    torch.set_rng_state(state["torch_rng"].cpu())
    if state["device_rng"] is not None:
        torch.cuda.set_rng_state(state["device_rng"].cpu(), fitter.device)
    fitter.iteration, fitter.stale, fitter.best_auc = state["counters"]
    fitter.best_state = state["best"]
    log = fitter.log
    log.history, log.best_epoch, log.best_s, log.total_s = state["log"]
    log.iterations, log.resumed = fitter.iteration, True
    fitter.epoch_seconds = state["epoch_seconds"]
