"""Magnitude pruning of the embedding table, after Han et al., Learning both Weights and Connections, NeurIPS 2015.

    train       all V·D embedding scalars, as No Selection does, stopping by the selection rows
    prune       the K = V·D - ⌊τ·V·D⌋ largest |w| stay, over the whole table, ties to the lower row and column
    fine-tune   from the trained weights under the fixed mask, with a fresh optimiser, as long as any training

The prune ratio τ is a share of embedding scalars; all fields stay. Linear weights and network are not pruned. A simple
baseline that is hard to beat: a recent comparison of lightweight embeddings (Tran et al., 2024, arXiv 2406.17335)
reports it without a fine-tuning. Both phases are trainings of the profile, so it costs about two of them; what a fresh
optimiser alone is worth shows ``no-selection[restart=true]``.

Departures: Han et al. prune the layers of image networks one by one, with a threshold of each layer's spread, at L2
and dropout of their own; here it is one table, and the count is exact. Values that are seldom seen have small weights,
more so under L2, and go first: this ranks by frequency too.
"""

from __future__ import annotations

from bench.api import Context, Method, NoParams, Rows, Selection, Trained
from methods.parts.weight_sparsity import budget, largest_mask, masked_model, no_scalars


class Magnitude(Method[NoParams]):
    """Trains, keeps the largest embedding scalars, trains on."""

    def skip(self, ctx: Context[NoParams]) -> str | None:
        return no_scalars(ctx)

    def select(self, ctx: Context[NoParams], train: Rows, selection_rows: Rows) -> Selection:
        """Train on ``train``, stopping by ``selection_rows``, and cut."""
        model = ctx.model()
        ctx.fit(model, train, selection_rows, name="search")
        mask = largest_mask(model.table.weight.detach()[:, : model.dim].abs(), budget(ctx))
        return Selection(weight_mask=mask, start=model)

    def train(self, ctx: Context[NoParams], train: Rows, valid: Rows, selection: Selection) -> Trained:
        model = masked_model(ctx, selection)
        return Trained(model, ctx.fit(model, train, valid, name="train"))
