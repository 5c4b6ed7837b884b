"""A context for methods that need no model, and toy rows whose relevant fields are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from bench.api import Field, Rows, Schema
from bench.seeds import generator

CARDINALITIES = (2, 5, 10, 30, 100, 300, 1000, 5000) * 2


@dataclass
class FakeContext:
    """What a shallow method reads of a cell."""

    schema: Schema
    n_keep: int
    params: Any
    tau: float = 0.5
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    notes: dict[str, Any] = field(default_factory=dict)

    def rng(self, use: str, *axes: str) -> torch.Generator:
        return generator(use=use, seed=self.seed)

    def log(self, **notes: Any) -> None:
        self.notes |= notes


class Toy(NamedTuple):
    train: Rows
    held: Rows
    relevant: frozenset[int]


def make_rows(columns: np.ndarray, cardinalities: np.ndarray, labels: np.ndarray, first: int = 0) -> Rows:
    """Categorical rows from local codes [N, F]; row numbers count from ``first``."""
    schema = Schema(tuple(Field(f"f{i}", "categorical", int(c)) for i, c in enumerate(cardinalities)))
    ids = torch.from_numpy((columns + schema.offsets[:-1]).astype(np.int32))
    index = torch.arange(first, first + len(labels))
    return Rows(schema, ids, None, torch.from_numpy(labels.astype(np.float32)), index)


def make_toy(n: int, effect: float, seed: int, cardinalities: tuple[int, ...] = CARDINALITIES) -> Toy:
    """Independent Zipf fields of arbitrary codes; the first half move the logit by ``effect`` (sd), the rest not."""
    rng = np.random.default_rng(seed)
    n_held = n // 5
    columns, logit = [], np.full(n + n_held, -1.2)
    for f, cardinality in enumerate(cardinalities):
        share = np.arange(1, cardinality + 1) ** -1.1
        share /= share.sum()
        codes = rng.permutation(cardinality)[rng.choice(cardinality, n + n_held, p=share)]
        if f < len(cardinalities) // 2:
            weights = rng.normal(size=cardinality)[codes]
            logit += effect * (weights - weights.mean()) / weights.std()
        columns.append(codes + 2)
    labels = rng.random(n + n_held) < 1 / (1 + np.exp(-logit))
    codes, sizes = np.stack(columns, axis=1), np.array(cardinalities) + 2
    return Toy(
        make_rows(codes[:n], sizes, labels[:n]),
        make_rows(codes[n:], sizes, labels[n:], first=n),
        frozenset(range(len(cardinalities) // 2)),
    )


@pytest.fixture
def context() -> Callable[..., FakeContext]:
    return FakeContext


@pytest.fixture(scope="session")
def toy_rows() -> Callable[..., Toy]:
    """See ``make_toy``."""
    return make_toy


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., Rows]:
    """See ``make_rows``."""
    return make_rows
