"""Captured steps give what steps launched one by one give, bit for bit on a CPU, and give up where they would not.

On a CPU ``recorded_graph`` plays the graphs. With ``-m gpu`` the same tests run on a CUDA device and its graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from recorded_graph import RecordedGraphs
from test_equivalence import GATES, WITHOUT, make_model, make_rows
from torch import Tensor, nn

from bench.api import Batch, CTRModel, FitLog, FitPlan, Gate, Group, Rows, Step
from bench.engine import update
from bench.engine.fast import gradient, graph, linear
from bench.engine.fit import Fitter
from bench.engine.steps import log_loss
from bench.plugins import backbones
from bench.run.cell import run_cell
from bench.run.job import Job
from bench.speed import stages
from bench.speed.limits import Limits
from bench.speed.settings import SpeedConfig

FIELD, SAMPLE, VALUE = GATES
BATCH, ROWS = 16, 24 * 16 + 11
PER_EPOCH = 25
"""Batches an epoch; the last one is short."""
NET = "dnn"


class CountedCudaGraphs(graph.CudaGraphs):
    """CUDA graphs that count as ``RecordedGraphs`` do."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.captures = self.replays = self.lanes = 0

    @contextmanager
    def lane(self) -> Iterator[None]:
        with super().lane():
            self.lanes += 1
            yield
            self.lanes -= 1

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        run = super().capture(work)

        def replay() -> None:
            self.replays += 1
            run()

        return replay


@dataclass
class Run:
    """One training and what came of it."""

    model: CTRModel
    log: FitLog
    warnings: list[str]
    backend: Any


Build = Callable[[CTRModel, Rows], dict[str, Any]]
"""Makes the steps, and whatever else a Fitter takes, for a fresh model."""


@dataclass
class Trainer:
    """Trains fresh models on a device; with ``captured=False`` the same arithmetic without graphs."""

    patch: pytest.MonkeyPatch
    device: torch.device
    backend: type[RecordedGraphs] | type[CountedCudaGraphs]

    def make(self, name: str = NET, gate: str = WITHOUT) -> tuple[CTRModel, Rows]:
        rows = make_rows(torch.float64).take(torch.arange(ROWS)).to(self.device)
        return make_model(name, gate, rows.schema, torch.float64).to(self.device), rows

    def __call__(self, build: Build, captured: bool = True, name: str = NET, gate: str = WITHOUT, **plan: Any) -> Run:
        backend = self.backend(self.device)
        self.patch.setattr(graph, "backend", lambda device: backend)
        self.patch.setattr(graph, "WARM_UP", 3 if captured else 10**9)
        model, rows = self.make(name, gate)
        made = build(model, rows)
        warnings: list[str] = []
        full = FitPlan(**({"epochs": 2, "batch_size": BATCH, "name": "pretrain"} | plan))
        with torch.random.fork_rng():
            torch.manual_seed(3)
            fitter = Fitter(
                model, rows, made.pop("valid", None), made.pop("steps"), full, torch.Generator().manual_seed(7),
                runner=graph.runner(self.device, full, warnings.append), **made,
            )  # fmt: skip
            log = fitter.run()
        return Run(model, log, warnings, backend)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def train(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    for module in (gradient, update):
        monkeypatch.setattr(module, "on_cpu", lambda tensor: False)  # as on a device
    device = torch.device(request.param)
    return Trainer(monkeypatch, device, RecordedGraphs if request.param == "cpu" else CountedCudaGraphs)


def profile_step(model: CTRModel, **changes: Any) -> Step:
    groups = [Group([model.table.weight], 1e-3, weight_decay=1e-3), Group(model.network_parameters(), 2e-3)]
    if model.gate is not None and "groups" not in changes:
        groups.append(Group(list(model.gate.parameters()), 1e-2))
    return Step(**{"groups": groups, **changes})


def plain(model: CTRModel, rows: Rows) -> dict[str, Any]:
    return {"steps": [profile_step(model)]}


def assert_same(one: Run, other: Run) -> None:
    """Bit for bit on a CPU; on a GPU to 1e-6 of the largest entry, since it adds up rows in any order."""
    tolerance = 0.0 if one.model.table.weight.is_cpu else 1e-6
    theirs = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        gap = float((value - theirs[name]).abs().max()) if value.numel() else 0.0
        assert gap <= tolerance * float(theirs[name].abs().max().clamp_min(1e-30)), f"{name}: {gap:.2e}"
    for entry, reference in zip(one.log.history, other.log.history, strict=True):
        assert entry == pytest.approx(reference, rel=tolerance, abs=0.0)


def assert_captured_equals_eager(train: Trainer, build: Build, **rest: Any) -> Run:
    eager, captured = train(build, captured=False, **rest), train(build, **rest)
    assert_same(captured, eager)
    assert eager.backend.captures == 0
    assert captured.warnings == []
    assert captured.backend.replays > 0
    return captured


@pytest.mark.parametrize("gate", [WITHOUT, *GATES])
@pytest.mark.parametrize("name", backbones().names())
def test_every_backbone_and_gate_trains_the_same(train: Trainer, name: str, gate: str) -> None:
    done = assert_captured_equals_eager(train, plain, name=name, gate=gate)
    assert (done.backend.captures, done.backend.replays) == (1, 2 * (PER_EPOCH - 1) - 3)
    assert done.log.execution == "model: captured"


@pytest.mark.parametrize("gate", [WITHOUT, VALUE])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("bound", [0.02, 1e6], ids=["clipped", "within bounds"])
def test_clipped_steps_are_captured(train: Trainer, gate: str, optimizer: str, bound: float) -> None:
    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        return {"steps": [profile_step(model, optimizer=optimizer)]}

    assert_captured_equals_eager(train, build, gate=gate, clip_norm=bound)


def test_learning_rates_fall_within_a_captured_step(train: Trainer) -> None:
    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        return {"steps": [profile_step(model)], "valid": rows.take(torch.arange(90))}

    rest: dict[str, Any] = {"epochs": 4, "evaluate_every": 0.5, "patience": 99}
    done = assert_captured_equals_eager(train, build, lr_decay=0.25, **rest)
    rates = [entry["lr"] for entry in done.log.history]
    assert rates[0] == 1e-3
    assert set(rates) <= {1e-3 * 0.25**k for k in range(8)}
    assert len(set(rates)) > 1, "the validation AUC must have fallen for this test to say something"
    constant = train(build, **rest)
    assert not torch.equal(done.model.table.weight, constant.model.table.weight)


class Player(nn.Module):
    """A multiplier that ascends while the model descends, and a temperature that a schedule moves."""

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lam = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))
        self.as_number = 1.0
        self.mean: Tensor | None = None

    def schedule(self, iteration: int, planned: int) -> None:
        self.temperature.fill_(1 + iteration / planned)

    def loss(self, model: CTRModel, batch: Batch) -> Tensor:
        self.mean = torch.sigmoid(model(batch) / self.temperature).mean()
        return log_loss(model, batch) + self.lam * (self.mean - 0.3)


def two_levels(model: CTRModel, rows: Rows) -> dict[str, Any]:
    """The gate on batches of its own, twice as large, every third iteration; λ ascends in the model's step."""
    player = Player().to(rows.device)
    assert model.gate is not None
    groups = [Group([model.table.weight, *model.network_parameters()], 1e-3), Group([player.lam], 0.05, maximize=True)]
    steps = [
        Step(groups, loss=player.loss),
        Step(
            [Group(list(model.gate.parameters()), 0.01)],
            name="gate", batches=rows.take(torch.arange(100)), every=3, batch_scale=2,
        ),
    ]  # fmt: skip
    return {"steps": steps, "schedule": player.schedule}


@pytest.mark.parametrize("gate", GATES)
def test_two_levels_ascent_and_a_schedule_are_captured(train: Trainer, gate: str) -> None:
    done = assert_captured_equals_eager(train, two_levels, gate=gate, clip_norm=0.5)
    assert done.backend.captures == 2
    assert done.log.execution == "model: captured; gate: captured"


def test_a_schedule_moves_the_buffer_before_the_replay(train: Trainer) -> None:
    def still(model: CTRModel, rows: Rows) -> dict[str, Any]:
        return two_levels(model, rows) | {"schedule": None}

    moved, fixed = train(two_levels, gate=FIELD), train(still, gate=FIELD)
    assert not torch.equal(moved.model.table.weight, fixed.model.table.weight)


def test_dropout_draws_the_same_numbers(train: Trainer) -> None:
    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        def loss(model: CTRModel, batch: Batch) -> Tensor:
            return F.binary_cross_entropy_with_logits(F.dropout(model(batch), 0.4), batch.labels)

        return {"steps": [profile_step(model, loss=loss)]}

    done = assert_captured_equals_eager(train, build)
    assert not torch.equal(done.model.table.weight, train(plain).model.table.weight)


def test_after_runs_after_every_update_and_reads_the_rate(train: Trainer) -> None:
    calls: list[float] = []

    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        @torch.no_grad()
        def after(optimizer: torch.optim.Optimizer) -> None:
            calls.append(float(optimizer.param_groups[0]["lr"]))
            model.table.weight.mul_(1 - optimizer.param_groups[0]["lr"])

        return {"steps": [profile_step(model, after=after)]}

    assert_captured_equals_eager(train, build)
    assert calls == pytest.approx([1e-3] * 2 * 2 * PER_EPOCH)


def test_a_penalty_on_the_whole_table_leaves_no_gradient_behind(train: Trainer) -> None:
    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        def loss(model: CTRModel, batch: Batch) -> Tensor:
            return log_loss(model, batch) + 1e-3 * model.table.weight.square().sum()

        return {"steps": [profile_step(model, loss=loss)]}

    assert_captured_equals_eager(train, build)


class Tempered(Gate):
    """A field gate with a temperature that is a Python number."""

    shape = "F"

    def __init__(self, n_fields: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(n_fields, dtype=torch.float64))
        self.beta = 1.0
        self.settings = SimpleNamespace(power=1.0)
        self.seen: Tensor | None = None
        self.calls = 0
        self.counts = False

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        z = torch.sigmoid(self.log_alpha / self.beta) ** self.settings.power
        self.seen = z.mean()
        self.calls += self.counts
        return z


CHANGE_AT = 35


def changing(change: Callable[[Any, CTRModel], None]) -> Build:
    """Training in which ``change`` happens to gate and model before iteration ``CHANGE_AT``."""

    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        gate = Tempered(rows.schema.n_fields).to(rows.device)
        model.gate = gate

        def schedule(iteration: int, planned: int) -> None:
            if iteration == CHANGE_AT:
                change(gate, model)

        return {"steps": [profile_step(model)], "schedule": schedule}

    return build


def new_buffer(gate: Any, model: CTRModel) -> None:
    gate.log_alpha = nn.Parameter(gate.log_alpha.detach() + 1)


def new_memory(gate: Any, model: CTRModel) -> None:
    model.table.weight.data = model.table.weight.data * 0.5


def new_grad(gate: Any, model: CTRModel) -> None:
    model.table.weight.grad = None


CHANGES: dict[str, tuple[Callable[[Any, CTRModel], None], str]] = {
    "a number": (lambda gate, model: setattr(gate, "beta", 0.5), "model.gate.beta changed from 1.0 to 0.5"),
    "a number in an object": (
        lambda gate, model: setattr(gate.settings, "power", 2.0),
        "model.gate.settings.power changed from 1.0 to 2.0",
    ),
    "the mode": (lambda gate, model: gate.eval(), "gate.training changed from True to False"),
    "a parameter": (new_buffer, "gate.log_alpha is another tensor"),
    "its memory": (new_memory, "table.weight is another tensor"),
    "a gradient buffer": (new_grad, "the gradient buffer of a table was replaced"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_graph_cannot_see_ends_it_with_a_message(train: Trainer, what: str) -> None:
    change, words = CHANGES[what]
    eager, captured = train(changing(change), captured=False), train(changing(change))
    assert_same(captured, eager)  # not one step with the old value
    (warning,) = captured.warnings
    assert warning.startswith("pretrain: step 'model' goes on without a CUDA graph")
    assert words in warning
    assert words in captured.log.execution
    assert captured.backend.replays == CHANGE_AT - 3 - 1  # but the warm-up and the short batch of the first epoch


def test_a_step_that_counts_in_python_is_not_captured(train: Trainer) -> None:
    counts: list[int] = []

    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        gate = Tempered(rows.schema.n_fields).to(rows.device)
        gate.counts, model.gate = True, gate
        return {"steps": [profile_step(model, after=lambda optimizer: counts.append(gate.calls))]}

    eager, captured = train(build, captured=False), train(build)
    assert_same(captured, eager)
    assert counts == [*range(1, 2 * PER_EPOCH + 1)] * 2  # the attempt has left no trace
    assert "model.gate.calls changed from 3 to 4" in captured.warnings[0]
    assert captured.backend.replays == 0


def test_what_the_forward_pass_leaves_on_a_module_is_of_the_last_step(train: Trainer) -> None:
    seen: dict[bool, list[float]] = {True: [], False: []}

    def build(captured: bool, model: CTRModel, rows: Rows) -> dict[str, Any]:
        gate = Tempered(rows.schema.n_fields).to(rows.device)
        model.gate = gate
        return {"steps": [profile_step(model, after=lambda optimizer: seen[captured].append(gate.seen.item()))]}

    for captured in (True, False):
        train(partial(build, captured), captured=captured)
    assert seen[True] == seen[False]
    assert len(set(seen[True])) == 2 * PER_EPOCH


def loss_of(kind: str, knob: list[float]) -> tuple[Callable[[CTRModel, Batch], Tensor], Callable[[], None]]:
    """A loss with a weight that lies somewhere outside the model, and what changes that weight."""
    if kind == "variable":
        weight = 1.0

        def loss(model: CTRModel, batch: Batch) -> Tensor:
            return weight * log_loss(model, batch)

        def change() -> None:
            nonlocal weight
            weight = 2.0

        return loss, change
    if kind == "list":
        return lambda model, batch: knob[0] * log_loss(model, batch), lambda: knob.__setitem__(0, 2.0)
    player = Player()

    def owned(model: CTRModel, batch: Batch) -> Tensor:
        return player.as_number * log_loss(model, batch)

    def change_owner() -> None:
        player.as_number = 2.0

    def outer(function: Callable[..., Tensor], model: CTRModel, batch: Batch) -> Tensor:
        return function(model, batch)

    return (partial(outer, owned) if kind == "partial" else owned), change_owner


@pytest.mark.parametrize("kind", ["variable", "list", "module", "partial"])
def test_a_loss_that_takes_numbers_from_outside_is_watched(train: Trainer, kind: str) -> None:
    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        loss, change = loss_of(kind, [1.0])

        def schedule(iteration: int, planned: int) -> None:
            if iteration == CHANGE_AT:
                change()

        return {"steps": [profile_step(model, loss=loss)], "schedule": schedule}

    eager, captured = train(build, captured=False), train(build)
    assert_same(captured, eager)
    assert "1.0" in captured.warnings[0]
    assert captured.backend.replays > 0


def test_a_rate_that_a_method_replaces_ends_the_graph(train: Trainer) -> None:
    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        calls = [0]

        def after(optimizer: torch.optim.Optimizer) -> None:
            calls[0] += 1
            if calls[0] == CHANGE_AT:
                optimizer.param_groups[0]["lr"] = 1e-4

        return {"steps": [profile_step(model, after=after)]}

    eager, captured = train(build, captured=False), train(build)
    assert_same(captured, eager)
    assert "optimizer group 0.lr" in captured.warnings[0]


def test_a_step_that_waits_for_the_device_goes_on_without_a_graph(train: Trainer) -> None:
    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        def loss(model: CTRModel, batch: Batch) -> Tensor:
            value = log_loss(model, batch)
            return value * (2.0 if value.item() > 0.6 else 1.0)

        return {"steps": [profile_step(model, loss=loss)]}

    eager, captured = train(build, captured=False, clip_norm=0.5), train(build, clip_norm=0.5)
    assert_same(captured, eager)
    assert len(captured.warnings) == 1
    assert "CUDA error: operation not permitted when stream is capturing" in captured.warnings[0]
    assert captured.backend.replays == 0
    assert "not captured" in captured.log.execution


def test_the_first_error_of_a_failed_capture_is_told(train: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, work: Callable[[], None]) -> None:
        try:
            raise ValueError("the cause")
        finally:
            raise RuntimeError("capture was invalidated\nmore")

    monkeypatch.setattr(train.backend, "capture", fail)
    captured = train(plain)
    assert "ValueError: the cause" in captured.warnings[0]
    assert_same(captured, train(plain, captured=False))


def test_a_short_training_is_not_captured_and_says_so(train: Trainer) -> None:
    done = train(plain, epochs=1, batch_size=300)
    assert done.backend.captures == 0
    assert done.warnings == []
    assert done.log.execution == "model: too few updates to capture"


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("stop_at", [15, 38])
def test_a_resumed_training_is_captured_anew_and_ends_the_same(train: Trainer, tmp_path: Path, stop_at: int) -> None:
    def build(file: Path | None, stop: int | None, model: CTRModel, rows: Rows) -> dict[str, Any]:
        made = two_levels(model, rows)
        move = made["schedule"]

        def schedule(iteration: int, planned: int) -> None:
            move(iteration, planned)
            if iteration == stop:
                raise Interrupted

        return made | {"schedule": schedule, "valid": rows.take(torch.arange(60)), "checkpoint": file}

    rest: dict[str, Any] = {"gate": VALUE, "evaluate_every": 0.25, "lr_decay": 0.5, "patience": 99}
    whole = train(partial(build, None, None), **rest)
    file = tmp_path / "fit.pt"
    with pytest.raises(Interrupted):
        train(partial(build, file, stop_at), **rest)
    again = train(partial(build, file, None), **rest)
    assert again.log.resumed
    assert_same(again, whole)
    assert again.backend.captures == 2


def test_a_checkpoint_goes_from_a_device_with_graphs_to_one_without(
    train: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(file: Path, model: CTRModel, rows: Rows) -> dict[str, Any]:
        return plain(model, rows) | {"valid": rows.take(torch.arange(60)), "checkpoint": file}

    file = tmp_path / "fit.pt"
    train(partial(build, file), epochs=1)
    monkeypatch.setattr(graph, "backend", lambda device: None)
    model, rows = train.make()
    made = build(file, model, rows)
    plan = FitPlan(epochs=2, batch_size=BATCH, patience=9)
    runner = graph.runner(train.device, plan, warn=print)
    fitter = Fitter(model, rows, made["valid"], made["steps"], plan, torch.Generator(), runner=runner, checkpoint=file)
    log = fitter.run()
    assert log.resumed
    assert log.iterations == 2 * PER_EPOCH
    (group, _) = fitter.updates.optimizers[0].param_groups
    assert type(group["lr"]) is float
    assert group["lr"] == pytest.approx(1e-3, rel=1e-7)
    assert group["capturable"] is False


def test_all_of_a_training_runs_in_the_lane(train: Trainer) -> None:
    inside: list[int] = []

    def build(model: CTRModel, rows: Rows) -> dict[str, Any]:
        def schedule(iteration: int, planned: int) -> None:
            inside.append(cast(Any, graph.backend(train.device)).lanes)

        return {"steps": [profile_step(model)], "schedule": schedule}

    train(build)
    assert set(inside) == {1}


def test_a_measured_training_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed command times its windows from a callable, which says nothing about the step."""
    backend = RecordedGraphs()
    monkeypatch.setattr(graph, "backend", lambda device: backend)
    config = SpeedConfig(
        rows=600, vocabulary=2000, fields=6, dim=4, batch=50, mlp=(8, 4), repeats=3, window_s=1e-6, threads=1
    )
    for module in (gradient, update):
        monkeypatch.setattr(module, "on_cpu", lambda tensor: False)
    rate = stages.train(config, NET, FIELD, Limits(1e9, 1e9, 1e9, 1e6, 1e5))
    assert rate.rows_per_s
    assert backend.captures == 1
    assert backend.replays == 1 + 3 * stages.LEAST_STEPS  # all windows are of replays


@pytest.mark.parametrize("method", ["no-selection", "light-fmp[pretrain_rows=400,pretrain_batch=16,pretrain_epochs=4]"])
def test_cells_run_as_graphs_and_record_it(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    for module in (gradient, update):
        monkeypatch.setattr(module, "on_cpu", lambda tensor: False)
    monkeypatch.setattr(linear, "_suits", lambda layer, x: False)  # as on a GPU; a recording sees torch's kernels only
    monkeypatch.setattr(graph, "backend", RecordedGraphs)
    events: list[dict[str, Any]] = []
    captured = run_cell(make_job(method, epochs=3, emit=events.append))
    monkeypatch.setattr(graph, "WARM_UP", 10**9)
    eager = run_cell(make_job(method, epochs=3))
    assert captured.status == eager.status == "ok", captured.traceback
    assert (captured.auc, captured.logloss) == (eager.auc, eager.logloss)
    assert captured.field_scores == eager.field_scores
    expected = {"train": "model: captured"} | ({"pretrain": "pretrain: captured"} if "light" in method else {})
    assert captured.notes["execution"] == expected
    assert [event for event in events if event["event"] == "warning"] == []


def test_a_cell_says_in_its_progress_why_it_has_no_graph(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: RecordedGraphs, work: Callable[[], None]) -> None:
        raise RuntimeError("no graphs today")

    monkeypatch.setattr(graph, "backend", RecordedGraphs)
    monkeypatch.setattr(RecordedGraphs, "capture", fail)
    events: list[dict[str, Any]] = []
    record = run_cell(make_job("light-fmp[pretrain_rows=400,pretrain_batch=16]", emit=events.append))
    warnings = [event["text"].partition(" without")[0] for event in events if event["event"] == "warning"]
    assert warnings == ["pretrain: step 'pretrain' goes on", "train: step 'model' goes on"]
    assert record.notes["execution"]["pretrain"] == "pretrain: not captured, RuntimeError: no graphs today"
