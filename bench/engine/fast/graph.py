"""Training steps as CUDA graphs: recorded once, then sent to the device as one launch.

A step of a small network is a hundred short kernels, and launching them takes longer than running them. A graph
holds the whole update (forward, backward, clipping, optimiser, cleared gradients) over fixed input buffers. It sees
what lies in tensors: learning rates, schedules and temperatures have to be tensors that are changed in place. What it
cannot see is watched, and such a step goes back to launching kernels one by one, with a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import torch
from torch import Tensor, nn

from bench.engine.fast.watch import Watch, places
from bench.engine.steps import FitPlan, Step
from bench.rows.rows import Batch

WARM_UP = 3
"""Updates of a step before it is captured: they make its optimiser state, gradient buffers and library handles."""


class Backend(Protocol):
    """What records and replays kernels."""

    def lane(self) -> AbstractContextManager[None]:
        """Where the training runs: warm-up, capture, replays and odd batches alike."""

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the kernels of ``work`` without running them; the function returned runs them."""


def backend(device: torch.device) -> Backend | None:
    """The backend of a device; None where launching kernels costs nothing worth saving."""
    return CudaGraphs(device) if device.type == "cuda" else None


class CudaGraphs:
    """CUDA graphs, recorded on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        """Take the stream of ``device``, the same for all trainings: memory is kept for reuse by stream."""
        self._device = device
        self._stream = _stream(device)

    @contextmanager
    def lane(self) -> Iterator[None]:
        """The stream, in order with what comes before and after."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record on the stream; after a failure the device is as it was before."""
        at = self._device.index if self._device.index is not None else torch.cuda.current_device()
        drawing = torch.cuda.default_generators[at]
        state, pool = drawing.get_state(), torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool, stream=self._stream, capture_error_mode="thread_local"):
                work()
        except BaseException:
            fresh = torch.Generator(self._device)  # the generator would stay in capturing mode, and refuse to draw
            fresh.set_state(state)
            drawing.graphsafe_set_state(fresh.graphsafe_get_state())
            with suppress(RuntimeError, AttributeError):  # and the allocator would wait for the capture to end
                torch._C._cuda_endAllocateToPool(at, pool)
            raise
        return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Graph:
    """A captured step."""

    inputs: Batch
    """What a replay reads."""
    loss: Tensor
    """What a replay writes its loss to."""
    replay: Callable[[], None]
    watch: Watch
    buffers: Sequence[tuple[nn.Parameter, Tensor | None]]
    """Weights of the tables that the step trains, with the gradient buffer that a replay writes to."""

    def change(self) -> str | None:
        """What makes the graph differ from the step by now, in words; None: nothing."""
        if any(weight.grad is not grad for weight, grad in self.buffers):
            return "the gradient buffer of a table was replaced"
        return self.watch.change()


@dataclass
class _Step:
    """One step on its way to a graph."""

    size: int
    """Rows of the batches that the graph takes."""
    warm: int = 0
    """Updates so far, until there is a graph."""
    graph: _Graph | None = None
    reason: str | None = None
    """Why the step is not, or no longer, a graph."""


class Work(Protocol):
    """What graphs need of the updates that they run; a step goes by its number."""

    steps: list[Step]
    name: str
    """Opens messages."""

    @property
    def model(self) -> nn.Module:
        """Whose modules the update reads."""

    def update(self, number: int, batch: Batch) -> Tensor:
        """What is captured: from the loss, which is returned, to cleared gradients."""

    def discard(self, number: int) -> None:
        """Clear the gradients of an update that broke off."""

    def of_step(self, number: int) -> list[torch.optim.Optimizer]:
        """Optimisers whose settings the update reads."""

    def table_weights(self, number: int) -> list[nn.Parameter]:
        """Weights of tables that it trains: their gradients have buffers that stay."""


class StepGraphs:
    """Runs updates as graphs where that gives the same, and as they are where not."""

    def __init__(self, backend: Backend, warn: Callable[[str], None], updates: Work, sizes: Sequence[int]) -> None:
        """Capture batches of ``sizes`` rows, one size a step; ``warn`` hears why a step is not captured."""
        self._updates, self._backend, self._warn = updates, backend, warn
        self._steps = [_Step(size) for size in sizes]

    def lane(self) -> AbstractContextManager[None]:
        """Where the training runs."""
        return self._backend.lane()

    def run(self, number: int, batch: Batch) -> Tensor:
        """Update the parameters of step ``number`` and return its loss, a scalar on the device."""
        graph = self._graph(number, batch)
        if graph is None:
            return self._updates.update(number, batch)
        _copy(batch, graph.inputs)
        graph.watch.put_back()
        graph.replay()
        return graph.loss.clone()

    def _graph(self, number: int, batch: Batch) -> _Graph | None:
        """The graph that does what the step does with ``batch``; None where there is none."""
        step = self._steps[number]
        if step.reason is not None or len(batch) != step.size:
            return None
        if step.graph is None:
            step.warm += 1
            if step.warm > WARM_UP:
                step.graph = self._capture(number, batch)
        elif change := step.graph.change():
            self._give_up(number, change)
        return step.graph

    def _capture(self, number: int, batch: Batch) -> _Graph | None:
        updates, inputs, losses = self._updates, _clone(batch), []

        def work() -> None:
            losses.append(updates.update(number, inputs))

        found = places(updates.model, updates.steps[number].loss, updates.of_step(number))
        before = Watch(found)
        try:
            replay = self._backend.capture(work)
        except Exception as error:  # whatever keeps a step from being captured, it still trains without
            updates.discard(number)
            before.restore_values()
            self._give_up(number, _reason(error))
            return None
        if change := before.changed_value():
            before.restore_values()
            self._give_up(number, f"one step changes a value that the next may read: {change}")
            return None
        watch = Watch(found)
        watch.leave(before)
        return _Graph(inputs, losses[0], replay, watch, [(w, w.grad) for w in updates.table_weights(number)])

    def _give_up(self, number: int, reason: str) -> None:
        step, updates = self._steps[number], self._updates
        step.graph, step.reason = None, reason
        name = updates.steps[number].name
        self._warn(f"{updates.name}: step {name!r} goes on without a CUDA graph, and slower: {reason}")

    def summary(self) -> str:
        """How the steps were run, for the record."""
        parts = []
        for step, own in zip(self._steps, self._updates.steps, strict=True):
            how = "captured" if step.graph is not None else "too few updates to capture"
            parts.append(f"{own.name}: {how if step.reason is None else f'not captured, {step.reason}'}")
        return "; ".join(parts)


Runner = Callable[[Work, Sequence[int]], StepGraphs]
"""Takes the updates of a training and the rows of each step's batches."""


def runner(device: torch.device, plan: FitPlan, warn: Callable[[str], None]) -> Runner | None:
    """What runs the steps of a training on ``device`` as graphs; None: its kernels are launched one by one.

    ``warn`` hears why that is so where the device has graphs, and later why a step is not captured.
    """
    found = backend(device)
    if found is not None and plan.lazy:
        warn(
            f"{plan.name}: lazy Adam moves another number of rows at every step, which no CUDA graph can; "
            "its kernels are launched one by one"
        )
        return None
    return None if found is None else partial(StepGraphs, found, warn)


def _reason(error: BaseException) -> str:
    """The first line of the error that all others came from."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _clone(batch: Batch) -> Batch:
    numeric = None if batch.numeric is None else batch.numeric.clone()
    pooled = None if batch.pooled is None else batch.pooled.clone()
    return Batch(batch.ids.clone(), numeric, batch.labels.clone(), pooled)


def _copy(batch: Batch, target: Batch) -> None:
    target.ids.copy_(batch.ids)
    target.labels.copy_(batch.labels)
    if batch.numeric is not None and target.numeric is not None:
        target.numeric.copy_(batch.numeric)
    if batch.pooled is not None and target.pooled is not None:
        target.pooled.copy_(batch.pooled)
