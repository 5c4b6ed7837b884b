"""Drop one: the log loss that a model trained anew without a field has more than the one with all fields.

Leave-one-covariate-out (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, Distribution-Free Predictive Inference for
Regression, JASA 2018, arXiv:1604.04173) as one number a field:

    score_f = L(model trained without f) - L(model trained with all fields)

with L the mean log loss on the selection rows. It asks what dropping a field costs once the others have taken over what
they can, which other rankings only estimate: the slow truth for few fields, at F + 1 trainings. Of two copies each is
worth nothing: fields that replace each other should be dropped one after the other, not both.

All trainings share initial embeddings, batch order and seed; what is left of their randomness does not cancel, so that
differences below the spread between seeds tell nothing. Over that spread several seeds help, not longer trainings.

Departures: The same rows stop every training early and measure its loss; no part of the training data is held out
twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch.nn.functional import binary_cross_entropy_with_logits

from bench.api import Context, Method, Range, Rows, Selection, predict


@dataclass(frozen=True)
class DropOneParams:
    """Parameters of the slow truth."""

    max_fields: Annotated[int, Range(1)] = 40
    """Fields at most: there is a training for each. Chosen here: Criteo's 39 take about as long as all other methods
    together."""


class DropOne(Method[DropOneParams]):
    """Ranks fields by what a retrained model loses without them."""

    Params = DropOneParams

    def skip(self, ctx: Context[DropOneParams]) -> str | None:
        n_fields, most = ctx.schema.n_fields, self.params.max_fields
        if n_fields == 1:
            return "there is one field only, and no model without it"
        if n_fields <= most:
            return None
        return (
            f"it trains a model for each of {n_fields} fields, and max_fields={most}: give "
            f"max_fields={n_fields} to wait for {n_fields + 1} trainings, or take a method that trains one"
        )

    def select(self, ctx: Context[DropOneParams], train: Rows, selection_rows: Rows) -> Selection:
        every = list(range(ctx.schema.n_fields))

        def loss(kept: list[int], name: str) -> float:
            model = ctx.model(kept)
            ctx.fit(model, train, selection_rows, name=name)
            logits = predict(model, selection_rows).double()
            labels = selection_rows.labels.to(logits.device).double()
            return float(binary_cross_entropy_with_logits(logits, labels))

        whole = loss(every, "all-fields")
        without = np.array([loss([f for f in every if f != left], "without") for left in every])
        notes = {"all_fields_logloss": whole, "trainings": len(every) + 1}
        return Selection(scores=without - whole, hint="no field changes the loss", notes=notes)
