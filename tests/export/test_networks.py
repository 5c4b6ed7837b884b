"""Networks of every backbone and of gates, against the models that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import plugins
from bench.data.schema import Field, Schema
from bench.engine.backbone import Backbone, draw_layers
from bench.engine.model import CTRModel, Gate
from bench.errors import ConfigError
from bench.export.network import OUTPUTS, input_names, to_onnx, without_empty_rows
from bench.profiles import SMALL
from bench.rows.rows import Batch
from bench.run.job import resolve_backbone

FIELDS = (Field("a b", "categorical", 5), Field("logit", "numeric", 3), Field("c", "integer", 7))
SPECS = [*plugins.backbones().names(), "xdeepfm[activation=relu]", "pnn[product=both]"]


def network(name: str, fields: Sequence[Field] = FIELDS) -> CTRModel:
    schema = Schema(tuple(fields))
    choice = resolve_backbone(name, SMALL)
    backbone = choice.cls(schema.n_fields, SMALL.dim, choice.params)
    draw_layers(backbone, backbone=name, seed=0)
    draw = torch.Generator().manual_seed(1)
    weight = torch.randn(schema.vocabulary_rows, backbone.dim + backbone.uses_linear, generator=draw) * 0.3
    return CTRModel(schema, weight, backbone).eval()


def columns(n: int) -> tuple[list[np.ndarray], Batch]:
    """Columns of ``n`` rows, with a missing number and ids out of range, and the batch that they stand for."""
    draw = np.random.default_rng(n)
    first, last = draw.integers(-1, 7, n), draw.integers(0, 7, n)
    numbers = draw.normal(size=n).astype(np.float32)
    numbers[0] = np.nan
    missing = np.isnan(numbers)
    inside = np.where((first < 0) | (first >= 5), 0, first)
    ids = np.stack([inside, 5 + np.where(missing, 1, 2), 8 + last], 1)
    values = torch.from_numpy(np.where(missing, np.float32(1), numbers)[:, None])
    return [first, numbers, last], Batch(torch.from_numpy(ids), values, torch.zeros(n))


def run(proto: Any, feeds: dict[str, np.ndarray], path: Path) -> list[np.ndarray]:
    import onnx
    import onnxruntime

    onnx.save_model(proto, path)
    found: list[np.ndarray] = onnxruntime.InferenceSession(str(path)).run(list(OUTPUTS), feeds)
    return found


def compare(model: CTRModel, path: Path) -> None:
    proto = to_onnx(model, "it")
    for n in (1, 2, 70):
        given, batch = columns(n)
        feeds = dict(zip(input_names(model.schema), given, strict=True))
        probability, logit = run(proto, feeds, path)
        with torch.no_grad():
            wanted = model(batch)
        np.testing.assert_allclose(logit, wanted.numpy(), atol=1e-5)
        np.testing.assert_allclose(probability, torch.sigmoid(wanted).numpy(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_a_network_scores_as_its_model(name: str, tmp_path: Path) -> None:
    compare(network(name), tmp_path / "model.onnx")


class Halves(Gate):
    """Weighs the fields of every row by their norms."""

    shape = "BF"
    per_sample = True

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return torch.softmax(e.square().sum(2), 1) * 2


def test_a_gate_that_weighs_every_row_goes_along(tmp_path: Path) -> None:
    model = network("fm")
    model.gate = Halves()
    compare(model, tmp_path / "model.onnx")


def test_inputs_are_called_as_the_fields_and_never_as_an_output() -> None:
    assert input_names(Schema(FIELDS)) == ["a b", "logit_", "c"]


def test_closed_values_share_a_row_and_the_first_two_keep_theirs() -> None:
    model = network("fm")
    with torch.no_grad():
        model.table.weight[[0, 3, 4]] = 0.0  # of the first field: unseen, and two values
        model.table.weight[10:15] = 0.0  # of the last: all values
        model.table.weight[7] = 0.0  # of the numbers: never touched
    cut = without_empty_rows(model)
    assert cut.new_ids["a b"].tolist() == [0, 1, 2, 3, 3]
    assert cut.new_ids["c"].tolist() == [0, 1, 2, 2, 2, 2, 2]
    assert cut.model.schema.cardinalities.tolist() == [4, 3, 3]
    ids = torch.cartesian_prod(torch.arange(5), torch.tensor([7]), 8 + torch.arange(7))
    numbers = torch.linspace(-1, 1, len(ids))[:, None]
    first, last = (torch.from_numpy(cut.new_ids[name]) for name in ("a b", "c"))
    small = torch.stack([first[ids[:, 0]], torch.full((len(ids),), 4 + 2), 7 + last[ids[:, 2] - 8]], 1)
    with torch.no_grad():
        wanted, found = (one(Batch(at, numbers, ids)) for one, at in ((model, ids), (cut.model, small)))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


class Looping(Backbone[Any]):
    """Asks how many rows there are."""

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        return torch.stack([row.sum() for row in e])


def test_a_backbone_that_cannot_be_written_is_named() -> None:
    schema = Schema(FIELDS)
    model = CTRModel(schema, torch.ones(schema.vocabulary_rows, 4), Looping(3, 4, None)).eval()
    with pytest.raises(ConfigError, match=r"mine with looping: the model cannot be written as ONNX: .*plain torch"):
        to_onnx(model, "mine with looping")
