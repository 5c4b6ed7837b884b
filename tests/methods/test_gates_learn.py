"""What gates and controllers learn from the labels: against their own start, and against a run on shuffled labels.

``python -m pytest -s -m slow tests/methods/test_gates_learn.py`` prints the table: gate steps, travel, and the share of
the planted fields among the K of the largest scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.profiles import SMALL
from bench.rows.load import LoadedData, load
from bench.run.cell import run_cell
from bench.run.grid import Cell, choose_method
from bench.run.job import Job, resolve_backbone

PLANTED = "planted[rows=20000,fields=20,main=7,interaction=0,redundant=0,seed=5]"
PROFILE = replace(SMALL, mlp=(64, 32), max_epochs=8)
METHODS = Path(__file__).resolve().parents[2] / "methods"
TAU = 0.65  # keeps 7 of 20, as many as are true
CHANCE = 7 / 20
FIND = (
    "autofield",
    "optfs[budget=field]",
    "optem[budget=field]",
    "light-fmp-pooled",
    "light-fmp-once",
    "mvfs",
    "lpfs",
    "stg",
    "sequential-attention",
    "shufflegate",
)
"""Rank the planted fields higher than after a run on shuffled labels."""
GO_FURTHER = ("autofield", "optem[budget=field]", "shufflegate")
"""Their gates start equal, and differ where labels say so. OptFS' price moves all gates, whatever the labels; those of
Light-FMP hold a mean; and a controller moves its places for labels that say nothing as well, since it can learn rows
by heart."""
DO_NOT_FIND = ("light-fmp", "adafs", "adafs[schedule=bilevel]", "aefs")
"""Light-FMP's 2,000 rows are too few for fields of many values. How often a controller of AdaFS picks a field for a row
says nothing of what the field is worth to all rows."""


@dataclass(frozen=True)
class Learned:
    """What a method with gates has come to."""

    steps: float
    travel: float
    precision: float


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LoadedData:
    folder = tmp_path_factory.mktemp("planted")
    card = resolve_dataset(PLANTED)
    prepare(card, None, store_folder(folder, card))
    return load(store_folder(folder, card), card)


def shuffled(data: LoadedData) -> LoadedData:
    """The same rows, their labels in another order in each split."""
    draw = torch.Generator().manual_seed(0)

    def mix(name: str) -> object:
        rows = getattr(data, name)
        return replace(rows, labels=rows.labels[torch.randperm(len(rows), generator=draw)])

    return replace(data, **{name: mix(name) for name in ("train", "valid", "test")})


def learned(method: str, data: LoadedData, seed: int) -> Learned:
    choice = choose_method(method)
    tau = TAU if choice.uses_tau else None
    net = resolve_backbone("dnn", PROFILE)
    cell = Cell(data.label, net.label, choice.label, tau, seed)
    record = run_cell(Job(cell, data, choice, net, PROFILE, torch.device("cpu"), warmed={net.label}, timed_once=True))
    assert record.status == "ok", record.traceback
    assert record.gates is not None
    assert data.roles is not None
    scores = np.asarray(record.field_scores, dtype=float)
    top = np.argsort(-scores, kind="stable")[:7]
    true = [data.roles[record.field_names[f]] == "main" for f in top]
    return Learned(record.gates["steps"], record.gates["travel"], float(np.mean(true)))


def runs(method: str, data: LoadedData) -> tuple[list[Learned], list[Learned]]:
    """Seeds 0 and 1, on the labels as they are and shuffled."""
    mixed = shuffled(data)
    true, none = ([learned(method, which, seed) for seed in (0, 1)] for which in (data, mixed))
    print(f"{method:28} labels {true}, shuffled {none}")  # noqa: T201 - the table is what -s is for
    return true, none


def mean(found: list[Learned], what: str) -> float:
    return float(np.mean([getattr(one, what) for one in found]))


@pytest.mark.slow
@pytest.mark.parametrize("method", [*FIND, *DO_NOT_FIND])
def test_what_learns_from_labels_finds_more_of_the_planted_fields(method: str, data: LoadedData) -> None:
    true, none = runs(method, data)
    assert all(one.steps > 0 for one in true)
    if method in FIND:
        assert mean(true, "precision") > max(mean(none, "precision"), CHANCE)
    if method in GO_FURTHER:
        assert mean(true, "travel") > 2 * mean(none, "travel")


def test_every_method_that_trains_gates_is_in_one_of_the_sets() -> None:
    trained = {choose_method(text).name for text in (*FIND, *DO_NOT_FIND)}
    sources = {file.stem.replace("_", "-"): file.read_text("utf-8") for file in METHODS.glob("*.py")}
    words = ("gate_budget", "gated_pretraining", "value_gates", "parts.supernet")
    gated = {name for name, text in sources.items() if any(f"from methods.parts.{word}" in text for word in words)}
    others = {"random-k", "sparserec"}  # which take weights, and how often values occur
    assert trained == gated - others | {"light-fmp-pooled"}  # Light-FMP with other defaults
