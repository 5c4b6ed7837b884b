"""A trained model as an ONNX network: encoded columns in, probability and logit out.

Inputs, one a field, all of one length: ids int64 (0 unseen, 1 missing, then the values of the vocabulary; anything else
counts as unseen), or, of a field of numbers, these standardised, float32, NaN where missing.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.schema import FIRST_VALUE, MISSING, RARE, Field, Schema
from bench.engine.model import CTRModel
from bench.errors import ConfigError
from bench.rows.rows import Batch

OUTPUTS = ("probability", "logit")
_ROWS = "rows"
"""Name of the one dimension of inputs and outputs."""
_EXAMPLE_ROWS = 3
"""Rows to trace with: one or two would look like something else."""


class Served(nn.Module):
    """A model that takes columns one by one."""

    starts: Tensor
    sizes: Tensor
    order: Tensor

    def __init__(self, model: CTRModel) -> None:
        """Take ``model`` as it is."""
        super().__init__()
        self.model = model
        schema = model.schema
        self.numeric = list(schema.numeric_fields)
        self.coded = [place for place in range(schema.n_fields) if place not in self.numeric]
        self.register_buffer("starts", torch.as_tensor(schema.offsets[:-1]))
        self.register_buffer("sizes", torch.as_tensor(schema.cardinalities[self.coded]))
        self.register_buffer("order", torch.as_tensor(np.argsort([*self.coded, *self.numeric])))

    def forward(self, columns: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Probabilities and logits [B] of one column [B] a field."""
        parts: list[Tensor] = []
        numeric: Tensor | None = None
        if self.coded:
            ids = torch.stack([columns[place] for place in self.coded], 1)
            parts.append(torch.where((ids >= 0) & (ids < self.sizes), ids, RARE))
        if self.numeric:
            numbers = torch.stack([columns[place] for place in self.numeric], 1)
            missing = numbers.isnan()
            numeric = torch.where(missing, 1.0, numbers)
            parts.append(torch.where(missing, MISSING, FIRST_VALUE))
        ids = parts[0] if len(parts) == 1 else torch.cat(parts, 1).index_select(1, self.order)
        logits: Tensor = self.model(Batch(ids + self.starts, numeric, self.starts))
        return torch.sigmoid(logits), logits


@dataclass(frozen=True)
class Cut:
    """A model without the table rows that say nothing, and where the others went."""

    model: CTRModel
    new_ids: dict[str, np.ndarray]
    """By field: the new local id of every old one, int64 [cardinality]."""


@torch.no_grad()
def without_empty_rows(model: CTRModel) -> Cut:
    """``model`` with one row of zeros a field in the place of many, which is what a mask on values leaves.

    Scores are the same. A model with a gate, which may look at ids, keeps its rows.
    """
    schema, offsets = model.schema, model.schema.offsets
    places = {field.name: np.arange(field.cardinality) for field in schema.fields}
    if model.gate is not None:
        return Cut(model, places)
    empty: np.ndarray = np.asarray((model.table.weight == 0).all(dim=1).cpu())
    fields, kept = [], []
    for field, start, end in zip(schema.fields, offsets[:-1], offsets[1:], strict=True):
        mine = empty[start:end].copy()
        mine[:FIRST_VALUE] = False  # unseen and missing keep their places
        if field.kind == "numeric" or not mine.any():
            mine[:] = False
        first = int(mine.argmax())
        stays = ~mine
        stays[first] = True
        new = np.cumsum(stays) - 1
        places[field.name] = np.where(mine, new[first], new)
        kept.append(start + np.flatnonzero(stays))
        fields.append(Field(field.name, field.kind, int(stays.sum())))
    weight = model.table.weight[torch.as_tensor(np.concatenate(kept))].clone()
    return Cut(CTRModel(Schema(tuple(fields)), weight, model.backbone, model.kept, model.arithmetic).eval(), places)


def input_names(schema: Schema) -> list[str]:
    """The names of the inputs: those of the fields, with underscores behind what an output is called."""
    taken, found = set(OUTPUTS), []
    for name in schema.names:
        while name in taken:
            name += "_"  # noqa: PLW2901
        taken.add(name)
        found.append(name)
    return found


def to_onnx(model: CTRModel, what: str) -> Any:
    """The network of ``model``, an ``onnx.ModelProto``.

    Args:
        model: in eval mode, on the CPU.
        what: method and backbone, for messages.

    Raises:
        ConfigError: the exporter is not installed, or the model holds operations that it cannot write.
    """
    if model.arithmetic.bf16:
        raise ConfigError(f"{what}: precision=bf16 rounds as ONNX does not; train with another precision.")
    served = Served(_plain(model)).eval()
    columns = tuple(_column(field.kind) for field in model.schema.fields)
    rows = torch.export.Dim(_ROWS, min=1)
    with _quiet(), torch.no_grad():
        try:
            traced = torch.export.export(
                served, (columns,), dynamic_shapes=(tuple({0: rows} for _ in columns),), strict=False
            )
            program = torch.onnx.export(traced, dynamo=True, output_names=OUTPUTS, verbose=False)
            assert program is not None
            proto = program.model_proto
        except ImportError as error:
            raise ConfigError(missing_extra(error)) from None
        except Exception as error:  # tracing runs the plug-in's code, which may do anything
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"{what}: the model cannot be written as ONNX: {first[0]} A backbone or gate must be plain torch "
                f"without loops or branches on the number of rows (torch.compiler.is_exporting() tells)."
            ) from None
    _name(proto, input_names(model.schema))
    return proto


def _plain(model: CTRModel) -> CTRModel:
    """A copy without what training needs."""
    plain = CTRModel(model.schema, model.table.weight.detach(), copy.deepcopy(model.backbone), model.kept)
    plain.gate = copy.deepcopy(model.gate)
    return plain


def _column(kind: str) -> Tensor:
    return torch.zeros(_EXAMPLE_ROWS, dtype=torch.float32 if kind == "numeric" else torch.int64)


def _name(proto: Any, names: Sequence[str]) -> None:
    """Give inputs the names of fields, and their only dimension one of its own."""
    graph = proto.graph
    new = dict(zip((value.name for value in graph.input), names, strict=True))
    inner = {name for node in graph.node for name in node.output} | {one.name for one in graph.initializer}
    new |= {name: f"{name}:inner" for name in inner & set(names)}
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.initializer, *graph.value_info):
        value.name = new.get(value.name, value.name)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _ROWS


def missing_extra(error: ImportError) -> str:
    """What to install where a module is not there."""
    return f"this needs the package {error.name!r}; install it with: pip install 'ctr-field-bench[export]'"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of its own inner workings and of packages that it does without."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", kind)  # of torch's own code, of one release to the next
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
