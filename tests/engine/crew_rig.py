"""Trainings that one process and several workers run alike, in float64, and a group of workers to run them in."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Backbone, Batch, CTRModel, Field, FitPlan, Gate, Group, Rows, Schema, Step
from bench.engine import crew
from bench.engine.backbone import draw_layers
from bench.engine.evaluate import predict
from bench.engine.fit import Fitter, log_loss
from bench.processes import importing_alike, starting
from bench.profiles import SMALL
from bench.run.job import resolve_backbone
from methods.parts.slopes import slopes

SIZES = (7, 2, 9, 5, 4)
DIM = 4
PROFILE = replace(SMALL, mlp=(8, 6), dropout=0.3, cin=(6, 4))
TRAIN, VALID, BATCH = 51, 31, 16
"""The last batch of a pass has 3 rows: of 4 workers one has none of it."""


class FieldGate(Gate):
    """One trained factor a field."""

    def __init__(self, n_fields: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.linspace(-1, 1, n_fields, dtype=torch.float64))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return torch.sigmoid(self.a)


class RowGate(Gate):
    """A factor for each row and field, from statistics of the batch and from noise."""

    shape = "BF"
    per_sample = True

    def __init__(self, n_fields: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.linspace(-1, 1, n_fields, dtype=torch.float64))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        means = e.sum(2) / DIM  # [B, F]; a backbone of linear weights has no coordinates
        if self.training:
            means = (means - means.mean(0)) / (means.var(0, unbiased=False) + 1e-2).sqrt()
            means = means + torch.rand(means.shape, dtype=means.dtype)
        return torch.sigmoid(self.a * means)


class Draws(Backbone[None]):
    """Draws noise of its own, which nobody can divide."""

    def __init__(self, n_fields: int, dim: int, params: None = None) -> None:
        super().__init__(n_fields, dim, params)
        self.last = nn.Linear(n_fields * dim, 1, dtype=torch.float64)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        logits: Tensor = self.last(e.flatten(1)).squeeze(1)
        return logits + torch.randn(len(e)) if self.training else logits


class Normed(Draws):
    """Has a batch norm."""

    def __init__(self, n_fields: int, dim: int, params: None = None) -> None:
        super().__init__(n_fields, dim, params)
        self.norm = nn.BatchNorm1d(n_fields * dim, dtype=torch.float64)


class WildGate(FieldGate):
    """Draws without a seed: each process its own."""

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return torch.sigmoid(self.a) * (1 + int.from_bytes(os.urandom(4), "big") / 2**32)


def make_rows(n: int, seed: int) -> Rows:
    """Rows of which no two are equal: else their scores would tie, or not, by how sums are rounded, and so AUC."""
    draw = np.random.default_rng(seed)
    schema = Schema(tuple(Field(f"f{i}", "categorical", size) for i, size in enumerate(SIZES)))
    different = draw.choice(int(np.prod(SIZES)), n, replace=False)
    ids = np.stack(np.unravel_index(different, SIZES), axis=1) + schema.offsets[:-1]
    labels = (draw.random(n) < 0.2 + 0.6 * (ids[:, 1] == ids[:, 1].min())).astype(np.float64)
    return Rows(schema, torch.from_numpy(ids.astype(np.int32)), None, torch.from_numpy(labels), torch.arange(n))


def make_model(backbone: str | type[Draws], gate: type[FieldGate | RowGate] | None) -> CTRModel:
    schema = make_rows(1, 0).schema
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if isinstance(backbone, str):
            choice = resolve_backbone(backbone, PROFILE)
            net = choice.cls(len(SIZES), DIM, choice.params).double()
            draw_layers(net, test="crew")
        else:
            net = backbone(len(SIZES), DIM)
        width = net.dim + (1 if net.uses_linear else 0)
        weight = torch.randn(schema.vocabulary_rows, width, dtype=torch.float64) * 0.5
    model = CTRModel(schema, weight, net)
    model.gate = None if gate is None else gate(len(SIZES))
    return model


def gate_penalty(model: CTRModel, batch: Batch) -> Tensor:
    assert model.gate is not None
    return log_loss(model, batch) + 0.1 * torch.cat([a.abs() for a in model.gate.parameters()]).sum()


def slope_penalty(model: CTRModel, batch: Batch) -> Tensor:
    """Log loss, norms of its slopes over the rows of the batch, and a penalty on the network's weights."""
    found = slopes(model, batch, differentiable=True)
    lengths = found.of_e.square().sum((0, 2)).add(1e-6).sqrt().sum()
    weights = torch.stack([param.square().sum() for param in model.network_parameters()]).sum()
    return found.loss + 0.05 * lengths + 0.01 * weights


def train(
    backbone: str | type[Draws] = "dnn",
    gate: type[FieldGate | RowGate] | None = None,
    loss: Callable[[CTRModel, Batch], Tensor] = log_loss,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
    **plan: Any,
) -> dict[str, Any]:
    """Train and say all that came of it: weights, the log, and logits of other rows."""
    model = make_model(backbone, gate)
    torch.manual_seed(11)
    groups = [Group([model.table.weight], 0.02, weight_decay=0.05), Group(model.network_parameters(), 0.02)]
    steps = [Step(groups, loss)]
    if model.gate is not None:
        own = Group(list(model.gate.parameters()), 0.05)
        steps.append(Step([own], gate_penalty, "gate", batches=make_rows(29, 5), every=2, batch_scale=1))
    full = FitPlan(**{"epochs": 2, "batch_size": BATCH, "clip_norm": 0.5, "evaluate_every": 0.5, "patience": 9} | plan)
    rows, valid, draw = make_rows(TRAIN, 1), make_rows(VALID, 2), torch.Generator().manual_seed(7)
    log = Fitter(model, rows, valid, steps, full, draw, on_epoch=on_epoch, checkpoint=checkpoint).run()
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    history = [[entry["train_loss"], entry["valid_auc"], entry["valid_logloss"]] for entry in log.history]
    logits = predict(model, make_rows(70, 9), batch_size=8).numpy()
    return {**weights, "history": np.array(history), "logits": logits, "best_epoch": np.array(log.best_epoch)}


def resumed(folder: Path) -> dict[str, Any]:
    """A training that is broken off after three of its four validations, and begun again from its checkpoint."""
    seen: list[float] = []

    def stop(entry: dict[str, float]) -> None:
        seen.append(entry["epoch"])
        if len(seen) == 3:
            raise KeyboardInterrupt

    try:
        train(on_epoch=stop, checkpoint=folder / "state.pt")
    except KeyboardInterrupt:
        return train(checkpoint=folder / "state.pt")
    raise AssertionError("it was not broken off")


def told(folder: Path) -> dict[str, Any]:
    """What the first of all says, and what each has to find out for itself."""

    def rank() -> int:
        return int.from_bytes((folder / f"{os.getpid()}").read_bytes(), "big")

    group = crew.current()
    number = 0 if group is None else group.rank
    (folder / f"{os.getpid()}").write_bytes(number.to_bytes(1, "big"))
    return {
        "first": np.array(crew.once(rank, str, int)),
        "own": np.array(crew.once(rank, lambda _: None, int)),
        "alone": np.array(crew.once(lambda: int(crew.current() is None), str, int)),
    }


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {"resumed": resumed, "told": told}
for _name in (
    "dnn", "deepfm", "wide-deep", "pnn[product=both]", "xdeepfm", "dcnv2[rank=3]", "dcnv2", "fm", "logistic",
):  # fmt: skip
    CASES[_name] = lambda _, name=_name: train(name)  # type: ignore[misc]
    CASES[f"{_name}, gates of fields"] = lambda _, name=_name: train(name, FieldGate)  # type: ignore[misc]
    CASES[f"{_name}, gates of rows"] = lambda _, name=_name: train(name, RowGate)  # type: ignore[misc]
    CASES[f"{_name}, slopes"] = lambda _, name=_name: train(name, loss=slope_penalty)  # type: ignore[misc]
CASES |= {
    "lazy": lambda _: train("deepfm", FieldGate, lazy=True),
    "stops early": lambda _: train(epochs=6, patience=1, lr_decay=0.5),
    "draws": lambda _: train(Draws),
    "norms": lambda _: train(Normed),
    "wild": lambda _: train(gate=WildGate),
}
EQUAL = [name for name in CASES if name not in ("draws", "norms", "wild", "told")]

Answer = dict[str, dict[str, Any] | str]


def answers(folder: Path) -> Answer:
    """What comes of all cases, or the error of one."""
    torch.set_num_threads(1)
    found: Answer = {}
    for name, case in CASES.items():
        (own := folder / name).mkdir(exist_ok=True, parents=True)
        try:
            found[name] = case(own)
        except crew.CrewError as error:
            found[name] = str(error)
    return found


def _serve(rank: int, size: int, folder: str, send: Connection) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        with crew.joined(Path(folder) / "meeting", rank, size):
            send.send(answers(Path(folder)))
    except BaseException:
        send.send(traceback.format_exc())
        raise


@contextmanager
def workers(size: int, folder: Path) -> Iterator[list[Answer]]:
    """What each of ``size`` workers finds."""
    context = starting("bench.run.executors.child")
    pipes, children = [], []
    with importing_alike():
        for rank in range(size):
            receive, send = context.Pipe(duplex=False)
            child = context.Process(target=_serve, args=(rank, size, str(folder), send), daemon=True)
            child.start()
            send.close()
            pipes.append(receive)
            children.append(child)
    try:
        found = [pipe.recv() for pipe in pipes]
        assert all(isinstance(one, dict) for one in found), found
        yield found
    finally:
        for child in children:
            child.kill()
            child.join()
