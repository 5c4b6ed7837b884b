"""Candidates of an embedding-size search: which scalars of the table a choice of sizes keeps, and what they score.

A candidate gives field f the size d_f in 1, ..., D. It keeps the first d_f coordinates of the values that pass a cut on
q [V], in all Σ_f d_f · (kept values of f) scalars. Without a limit the cut is q > 0. With a limit of K scalars the
cut is where the values, best q first, stop fitting: the count is at most K, and above K - D where ``fill`` has made
sure that all values together reach K.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.api import CTRModel, Rows, auc, predict
from methods.parts.evolution import Genes
from methods.parts.value_gates import field_of_values


class Candidates:
    """Masks, counts and scores of candidates, over one trained model.

    Args:
        model: all fields, ungated.
        q: importance of each value, [V].
        limit: K, scalars that a candidate may keep; None: every value with q > 0.
        rows: rows that candidates are scored on.
    """

    def __init__(self, model: CTRModel, q: Tensor, limit: int | None, rows: Rows) -> None:
        self.dim, self.limit, self.open = model.dim, limit, q > 0
        self.cardinalities: list[int] = model.schema.cardinalities.tolist()
        self.fields = field_of_values(model.schema, q.device)
        self.order = torch.argsort(q, descending=True, stable=True)
        self._slice = model.restrict(rows)

    def mask(self, genes: Genes) -> Tensor:
        """The values that a candidate keeps, bool [V]."""
        if self.limit is None:
            return self.open
        sizes = torch.tensor(genes, device=self.order.device)[self.fields[self.order]]
        fitting = self.order[sizes.cumsum(0) <= self.limit]
        return torch.zeros_like(self.open).index_fill(0, fitting, True)

    def scalars(self, genes: Genes) -> int:
        """Embedding scalars that a candidate keeps."""
        sizes = torch.tensor(genes, device=self.fields.device)[self.fields]
        return int(sizes[self.mask(genes)].sum())

    def fill(self, genes: Genes, draw: torch.Generator) -> Genes:
        """The candidate, with fields in random order grown until all values together reach the limit."""
        sizes = list(genes)
        missing = (self.limit or 0) - sum(d * n for d, n in zip(sizes, self.cardinalities, strict=True))
        for f in torch.randperm(len(sizes), generator=draw).tolist():
            if missing <= 0:
                break
            more = min(self.dim - sizes[f], -(-missing // self.cardinalities[f]))
            sizes[f] += more
            missing -= more * self.cardinalities[f]
        return tuple(sizes)

    def score(self, genes: Genes) -> float:
        """AUC of the masked model on the rows.

        Raises:
            ValueError: it is not defined, so that candidates have no order.
        """
        part = self._slice
        factors = self.mask(genes)[part.used].to(part.model.table.weight.dtype)
        masked = part.model.fold(factors, torch.tensor(genes))
        score = auc(predict(masked, part.rows), part.rows.labels)
        if math.isnan(score):
            raise ValueError(
                "the AUC of a candidate is not a number: its scores are none, or its rows have one label only"
            )
        return score
