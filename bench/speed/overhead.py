"""What a training costs beside its mathematics: drawing and gathering batches, schedules, metrics, best weights.

Mathematics are the updates (forward pass, backward pass, clipping, optimiser) and the forward passes of a validation;
all other time of a cell's training, from the making of the model to the last restored weight, is overhead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from bench.engine.clock import now
from bench.engine.fit import Fitter
from bench.rows.rows import Batch


class LedgerFitter(Fitter):
    """A training that notes its time in a ledger."""

    def __init__(self, ledger: Ledger, *given: Any, **options: Any) -> None:
        """Take the ledger, and what any training takes."""
        super().__init__(*given, on_step=ledger.on_step, on_epoch=ledger.on_epoch, **options)
        self._timed = ledger.update(super().update)

    def update(self, number: int, batch: Batch) -> None:
        """Update, and note the time."""
        self._timed(number, batch)


@dataclass
class Ledger:
    """Seconds of a training by what they went to; its methods are called or wrapped around by the training."""

    device: torch.device
    updates_s: float = 0.0
    scores_s: float = 0.0
    """Forward passes of validations."""
    batches_s: float = 0.0
    """From the call before the iteration to the start of the update, where the batch is gathered."""
    validation_s: float = 0.0
    """From the last update to the end of its validation, without the forward passes."""
    total_s: float = 0.0
    _start: float = field(init=False)
    _mark: float = field(init=False)
    _scored: float = 0.0
    _updating: bool = False

    def __post_init__(self) -> None:
        """Start the clock."""
        self._start = self._mark = now(self.device)

    def on_step(self, iteration: int, planned: int) -> None:
        """Called before the batch of an iteration is gathered."""
        self._mark = now(self.device)

    def update(self, run: Callable[..., None]) -> Callable[..., None]:
        """``run``, an update, with its time noted down."""

        def timed(*arguments: Any) -> None:
            start = now(self.device)
            self.batches_s += start - self._mark
            self._updating = True
            run(*arguments)
            self._updating = False
            self._mark = now(self.device)
            self.updates_s += self._mark - start
            self._scored = self.scores_s

        return timed

    def score(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """``forward``, a model's, with its time noted down outside of updates."""

        def timed(*arguments: Any) -> Any:
            if self._updating:
                return forward(*arguments)
            start = now(self.device)
            result = forward(*arguments)
            self.scores_s += now(self.device) - start
            return result

        return timed

    def on_epoch(self, entry: dict[str, float]) -> None:
        """Called at the end of a validation."""
        self.validation_s += now(self.device) - self._mark - (self.scores_s - self._scored)

    def finish(self) -> None:
        """Stop the clock."""
        self.total_s = now(self.device) - self._start

    @property
    def share(self) -> float:
        """Overhead as a share of the whole time."""
        return 1 - (self.updates_s + self.scores_s) / self.total_s

    def text(self) -> str:
        """One line."""
        rest = self.total_s - self.updates_s - self.scores_s - self.batches_s - self.validation_s
        parts = {"batches": self.batches_s, "validation": self.validation_s, "order, model and weights": rest}
        listed = ", ".join(f"{name} {seconds / self.total_s:.1%}" for name, seconds in parts.items())
        return f"{self.share:.1%} of {self.total_s:.1f} s is overhead: {listed}"
