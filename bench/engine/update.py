"""One update of the parameters of one step: loss, backward pass, clipping, optimiser, cleared gradients."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.engine.fast.adam import FusedAdam
from bench.engine.fast.gradient import RowGradient, on_cpu
from bench.engine.fast.graph import StepGraphs
from bench.engine.fast.lazy import LazyAdam
from bench.engine.fast.sgd import FusedSGD
from bench.engine.fast.windowed import WindowedAdam, pays
from bench.engine.model import CTRModel
from bench.engine.steps import FitPlan, Step, log_loss
from bench.engine.table import EmbeddingTable
from bench.rows.rows import Batch


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; names the step and the first parameter that is not finite."""


class Updates:
    """The steps of a training with their optimisers; nothing is read back from the device before ``check``."""

    def __init__(
        self,
        model: CTRModel,
        steps: Sequence[Step],
        plan: FitPlan,
        capturable: bool = False,
        scheduled: bool = False,
    ) -> None:
        """Build the optimisers that ``plan`` asks for; its name opens the messages of errors.

        ``capturable`` makes them fit for graphs; ``scheduled`` says that a schedule acts between the steps.
        """
        self.model, self.steps, self.clip_norm, self.name = model, list(steps), plan.clip_norm, plan.name
        self.graphs: StepGraphs | None = None
        """Runs updates as graphs; None: kernels are launched one by one."""
        self._tables = [module for module in model.modules() if isinstance(module, EmbeddingTable)]
        adam = self._adam(plan, scheduled, capturable)
        self._of_step = [_optimizers(step, adam) for step in self.steps]
        self.optimizers = [optimizer for optimizers in self._of_step for optimizer in optimizers]
        if capturable:
            for optimizer in self.optimizers:
                _make_capturable(optimizer)
        self.params = [step.params for step in self.steps]
        buffered = {id(table.weight) for table in self._tables}
        self._plain = [[param for param in params if id(param) not in buffered] for params in self.params]
        self._all = list({id(p): p for params in (model.parameters(), *self.params) for p in params}.values())
        self._active: int | None = None
        self._seen: list[list[tuple[int, Tensor]]] = [[] for _ in self.steps]

    def _adam(
        self, plan: FitPlan, scheduled: bool, capturable: bool
    ) -> Callable[[list[dict[str, Any]]], torch.optim.Optimizer]:
        """How Adam is made for the groups of a step."""
        if plan.lazy:
            return partial(LazyAdam, tables=self._tables)
        plain = not scheduled and all(step.loss is log_loss and step.after is None for step in self.steps)
        by_lookup = plain if plan.by_lookup is None else plan.by_lookup
        if capturable or not by_lookup:
            return FusedAdam
        batches = sum(1 if step.batches is None else step.batch_scale for step in self.steps)
        lookups = plan.batch_size * batches * len(self.model.schema.column_fields)
        trained = Counter(id(param) for step in self.steps for param in step.params)
        large = [one for one in self._tables if trained[id(one.weight)] == 1 and pays(one.weight, lookups)]
        return partial(WindowedAdam, tables=large, lookups=lookups) if large else FusedAdam

    def run(self, number: int, batch: Batch, iteration: int) -> None:
        """Update the parameters of step ``number`` on ``batch``."""
        self._train_only(number)
        loss = self.update(number, batch) if self.graphs is None else self.graphs.run(number, batch)
        after = self.steps[number].after
        if after is not None:
            after(self._of_step[number][0])
        self._seen[number].append((iteration, loss))

    def update(self, number: int, batch: Batch) -> Tensor:
        """The part of a step that may be captured: from the loss, which is returned, to cleared gradients."""
        loss = self.steps[number].loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip_norm is not None:
            clip_gradients(self.params[number], self._tables, self.clip_norm)
        for optimizer in self._of_step[number]:
            optimizer.step()
        self.discard(number)
        return loss.detach()

    def of_step(self, number: int) -> list[torch.optim.Optimizer]:
        """Optimisers of step ``number``, that of its first group first."""
        return self._of_step[number]

    def discard(self, number: int) -> None:
        """Clear the gradients of step ``number``."""
        for param in self._plain[number]:
            param.grad = None
        for table in self._tables:
            table.clear_grad()

    def table_weights(self, number: int) -> list[nn.Parameter]:
        """Weights of tables among the parameters of step ``number``."""
        own = {id(param) for param in self.params[number]}
        return [table.weight for table in self._tables if id(table.weight) in own]

    @property
    def lr(self) -> float:
        """Learning rate of the first group; on a GPU kept in float32, of which the digits beyond are left out."""
        return float(f"{float(self.optimizers[0].param_groups[0]['lr']):.7g}")

    def state(self) -> dict[str, Any]:
        """The steps' parameters, also those outside the model, their optimisers, and what masks have cost so far."""
        held: dict[str, Any] = {
            "params": [param.detach() for params in self.params for param in params],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        return held | ({"spent": [dict(one) for one in spent]} if (spent := self._spent()) else {})

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Take a state up; settings that belong to the device stay those of this one."""
        params = [param for params in self.params for param in params]
        for param, value in zip(params, state["params"], strict=True):
            param.copy_(value)
        for optimizer, taken in zip(self.optimizers, state["optimizers"], strict=True):
            for own, saved in zip(optimizer.param_groups, taken["param_groups"], strict=True):
                rate = float(saved["lr"])
                saved["lr"] = own["lr"].fill_(rate) if isinstance(own["lr"], Tensor) else rate
                if "capturable" in own:
                    saved["capturable"] = own["capturable"]
            optimizer.load_state_dict(taken)
        for own, before in zip(self._spent(), state.get("spent", ()), strict=True):
            own.update(before)

    def _spent(self) -> list[dict[str, float]]:
        return [table.mask.spent for table in self._tables if table.mask is not None]

    def _train_only(self, number: int) -> None:
        """Let gradients flow to the parameters of one step alone."""
        if self._active != number:
            own = {id(param) for param in self.params[number]}
            for param in self._all:
                param.requires_grad_(id(param) in own)
            self._active = number

    def settle(self) -> None:
        """Bring tables up to date, before anything but the next step reads them."""
        for table in self._tables:
            table.settle()

    def finish(self) -> None:
        """Give the memory of graphs and gradients back and let all parameters be trained again."""
        self.graphs = None
        for table in self._tables:
            table.release()
        for param in self._all:
            param.requires_grad_(True)
        self._active = None

    def check(self) -> float:
        """Mean loss of the first step since the last check; NaN where it has not run.

        Raises:
            NonFiniteLossError: a loss was NaN or infinite.
        """
        mean, first_bad, guilty = math.nan, math.inf, 0
        for number, seen in enumerate(self._seen):
            if not seen:
                continue
            losses = torch.stack([loss for _, loss in seen])
            if number == 0:
                mean = float(losses.mean(dtype=torch.float64))
            bad = losses.isfinite().logical_not_().nonzero()
            if len(bad) and seen[int(bad[0])][0] < first_bad:
                first_bad, guilty = seen[int(bad[0])][0], number
            seen.clear()
        if math.isfinite(first_bad):
            raise NonFiniteLossError(self._blame(guilty, int(first_bad)))
        return mean

    def _blame(self, number: int, iteration: int) -> str:
        guilty = self.steps[number]
        what = f"{self.name}: the loss of step {guilty.name!r} is not finite from iteration {iteration} on"
        names = {id(param): name for name, param in self.model.named_parameters()}
        for step in (guilty, *self.steps):
            for place, param in enumerate(step.params):
                if not bool(torch.isfinite(param).all()):
                    culprit = f"{names.get(id(param), f'parameter {place}')} of step {step.name!r}"
                    return f"{what}; first parameter that is not finite: {culprit}. Lower its learning rate."
        return f"{what}, though all parameters are."


@torch.no_grad()
def clip_gradients(params: Sequence[nn.Parameter], tables: Sequence[EmbeddingTable], bound: float) -> None:
    """Scale gradients so that their joint 2-norm is at most ``bound``, as ``torch.nn.utils.clip_grad_norm_`` does.

    Of a table's gradient only the rows written are read; where nothing is to be clipped a CPU writes nothing.
    """
    of_weight = {id(table.parameter): table.gradient for table in tables}
    held = [of_weight.get(id(param), param) for param in params]
    norms = [norm for one in held if (norm := _norm(one)) is not None]
    if not norms:
        return
    factor = (bound / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)).clamp(max=1.0)
    if on_cpu(factor) and factor.item() == 1.0:
        return
    for one in held:
        if not isinstance(one, nn.Parameter):
            one.scale(factor)
        elif one.grad is not None:
            one.grad.mul_(factor)


def _norm(held: RowGradient | nn.Parameter) -> Tensor | None:
    """2-norm of a gradient; None where there is none."""
    if not isinstance(held, nn.Parameter):
        return held.norm()
    return None if held.grad is None else torch.linalg.vector_norm(held.grad)


def _optimizers(
    step: Step, adam: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
) -> list[torch.optim.Optimizer]:
    """The optimisers of a step's groups: one of each kind asked for, that of the first group first."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for group in step.groups:
        kinds.setdefault(group.optimizer or step.optimizer, []).append(
            {
                "params": list(group.params),
                "lr": group.lr,
                "weight_decay": group.weight_decay,
                "maximize": group.maximize,
            }
        )
    return [FusedSGD(groups) if kind == "sgd" else adam(groups) for kind, groups in kinds.items()]


def _make_capturable(optimizer: torch.optim.Optimizer) -> None:
    """Put learning rates where a graph reads them anew at every replay."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
        if group["params"]:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=group["params"][0].device)
