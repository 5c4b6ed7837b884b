"""Masks over single embedding scalars: they are held to the budget, and what they leave is counted and timed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.engine.csr import CsrTable, encoded_bytes
from bench.engine.evaluate import inference_time
from bench.engine.model import CTRModel
from bench.engine.table import EmbeddingTable
from bench.method import Selection
from bench.rows.residency import settle
from bench.rows.rows import Rows
from bench.run.context import CellContext

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def check_weights(model: CTRModel, selection: Selection, ctx: CellContext[Any]) -> None:
    """Hold a trained model to the mask and to the budget of scalars.

    Raises:
        ValueError: the selection has a mask and the model none, as many scalars as the budget has are not active, or
            one outside of the mask is not zero; values take more scalars than another cell, whose bytes are the budget.
    """
    mask = model.table.mask
    if selection.weight_mask is None and mask is None:
        _check_values(model, selection, ctx)
        return
    if mask is None:
        raise ValueError(
            "select returned a weight_mask, and the trained table has none: call model.table.mask_weights(...) in train"
        )
    first = mask.active if selection.weight_mask is None else selection.weight_mask
    wanted = ctx.keeps(mask.active.numel()) if ctx.budget == "exact" else int(first.sum())
    for when, active in (("select returned", first), ("the trained table has", mask.active)):
        if int(active.sum()) != wanted:
            raise ValueError(f"{when} {int(active.sum())} active scalars of {active.numel()}; the budget is {wanted}")
    if bool(model.table.weight[:, : mask.dim].masked_select(~mask.active).any()):
        raise ValueError("the trained table has scalars outside of its mask that are not zero")


def _check_values(model: CTRModel, selection: Selection, ctx: CellContext[Any]) -> None:
    """Hold a choice of values and sizes to the scalars of another cell, where these are the budget."""
    if not ctx.matched or ctx.budget != "exact":
        return
    sizes, cardinalities = selection.dims, torch.from_numpy(model.schema.cardinalities)
    by_row = torch.full((len(cardinalities),), model.dim) if sizes is None else sizes.cpu()
    by_row = by_row.repeat_interleave(cardinalities)
    kept = int(by_row.sum() if selection.value_mask is None else by_row[selection.value_mask.cpu()].sum())
    limit = ctx.keeps(len(by_row) * model.dim)
    if kept > limit:
        raise ValueError(
            f"select kept {kept} embedding scalars; the budget is {limit}, those of another cell: ask ctx.keeps(n) how "
            f"many of n units stay"
        )


def weight_columns(model: CTRModel, test: Rows, **clocking: Any) -> dict[str, Any]:
    """What a masked table holds, in which bytes, and how fast it is looked up without its zeros; {} without a mask.

    Args:
        model: evaluated as it is, and once more with its table in CSR.
        test: rows that both are timed on.
        clocking: goes to ``inference_time``.
    """
    table = model.table
    if table.mask is None:
        return {}
    active = table.mask.active
    scalars, linear = int(active.sum()), table.weight.shape[1] > active.shape[1]
    sizes = encoded_bytes(scalars, len(active), active.shape[1], linear)
    by_row = active.sum(1)
    return {
        "it_csr_s": _csr_time(model, settle(test), **clocking),
        "weights": {
            "active": scalars,
            "of": active.numel(),
            "empty_rows": int((by_row == 0).sum()),
            "quantiles": _quantiles(by_row),
            "by_field": _by_field(model, by_row),
            **sizes,
            **table.mask.spent,
        },
        "selection": {
            "kept_scalars": scalars,
            "kept_scalar_share": scalars / active.numel(),
            "kept_bytes": min(sizes.values()),
        },
    }


def _csr_time(model: CTRModel, test: Rows, **clocking: Any) -> float:
    dense: EmbeddingTable = model.table
    with torch.no_grad():
        model.table = CsrTable(dense)  # type: ignore[assignment]
        try:
            return inference_time(model, test, **clocking).total_s
        finally:
            model.table = dense


def _quantiles(by_row: Tensor) -> list[int]:
    """Least, quartiles and most of the active scalars of rows, [V]."""
    ordered = by_row.sort().values
    return [int(ordered[round(share * (len(ordered) - 1))]) for share in _QUANTILES]


def _by_field(model: CTRModel, by_row: Tensor) -> list[float]:
    """Mean of the active scalars of rows, [V], by field."""
    parts = torch.split(by_row.double(), model.schema.cardinalities.tolist())
    return [float(part.mean()) for part in parts]
