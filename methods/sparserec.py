"""SparseRec: Sparser Training for On-Device Recommendation (Qu et al., 2024, arXiv 2411.12205), reconstructed.

Dynamic sparse training as in DSL, with three changes, each with a switch:

    mask_init=nmf       the first mask comes from a nonnegative matrix factorisation (``methods/parts/nmf_mask.py``)
    growth=accum        g of an exchange is the sum of gradients since the last one, so that it is not the few values of
                        one batch that grow
    backward=sampled    gradients of inactive scalars are gathered for a few rows alone, and only those may grow: q V
                        rows without replacement, drawn anew at each exchange, the likelier the larger

                            m_v + log(1 + n_v) / mean                  n_v: occurrences
                            m_v = (m_v + ‖g_v‖ / mean) / 2, 0 at first  g_v: gradients of active scalars since the last

                        so that a row without active scalars may come back

``mask_init=uniform,growth=last,backward=dense`` is DSL, mask for mask. Budget, schedule, drop and moments are DSL's; so
is what the prune ratio means, a share of embedding scalars.

Sources: the abstract, which makes these three claims; neither the paper's text nor code was to be had.

Where this differs from the abstract, or fills what it leaves open: All else is chosen here. The abstract's matrix is of
users and items, and tables of clicks have neither, so values are factorised by what they occur with, in clicked rows
and others; the factors decide on the mask alone, and weights start as ever; gradients are summed with their signs, as
those of one large batch are; q, m, γ, anchors, rows and sweeps. A batch of clicks looks few rows up anyway, so sampling
saves the memory of the sums here, and hardly time. It may cost quality where few scalars are active: frequent values of
small fields are drawn no surer than thousands of rare ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from bench.api import Context, CTRModel, GradientSums, Only, Range, Rows, Search, Selection
from methods.dsl import DSL, DSLParams
from methods.parts.nmf_mask import Factors, nmf_mask
from methods.parts.value_gates import frequencies
from methods.parts.weight_sparsity import Growth, budget, largest


@dataclass(frozen=True)
class SparseRecParams(DSLParams):
    """Parameters of SparseRec beside DSL's. All defaults but the three switches' are chosen here."""

    mask_init: Literal["nmf", "uniform"] = "nmf"
    """First mask: by factors, or by lot (abstract)."""
    growth: Literal["accum", "last"] = "accum"
    """Gradients that decide what grows: of all steps since the last exchange, or of the last step (abstract)."""
    backward: Literal["sampled", "dense"] = "sampled"
    """Rows whose inactive scalars may grow: those that are drawn, or all (abstract)."""
    watched_share: Annotated[float, Range(0, 1, open_low=True), Search(0.01, 1), Only(backward="sampled")] = 0.1
    """q, share of the rows that are drawn. Chosen here."""
    nmf_rows: Annotated[int, Range(1), Only(mask_init="nmf")] = 200_000
    """Rows of data that the matrix is made of, at most, and 20 million values in them. Chosen here."""
    anchors: Annotated[int, Range(1), Only(mask_init="nmf")] = 1024
    """A, frequent values that others are described by. Chosen here."""
    evenness: Annotated[float, Range(0, 1), Only(mask_init="nmf")] = 0.5
    """γ, how evenly rows share the scalars. Chosen here."""
    sweeps: Annotated[int, Range(1), Only(mask_init="nmf")] = 20
    """Passes of the factorisation. Chosen here."""


class Gathered(Growth):
    """Sums over one step or all since the last exchange, of all rows or of rows that are drawn by importance."""

    importance: Tensor
    often: Tensor
    exchanges: Tensor

    def __init__(self, sums: GradientSums, lasting: bool, counts: Tensor, seed: int) -> None:
        """Gather into ``sums``; values of the table occur ``counts`` times, [V], on its device."""
        super().__init__(sums)
        self.lasting, self._seed = lasting, seed
        often = torch.log1p(counts)
        self.register_buffer("often", (often / often.mean()).to(sums.sums.dtype), persistent=False)
        self.register_buffer("importance", torch.zeros_like(self.often))
        self.register_buffer("exchanges", torch.zeros((), dtype=torch.int64))
        if sums.rows is not None:
            sums.watch(self._drawn())

    def moved(self) -> None:
        """Weigh rows by the gradients they had, and draw."""
        if self.sums.squares is None:
            self.sums.clear()
            return
        norms = self.sums.squares.sqrt()
        self.importance.add_(norms / norms.mean().clamp(min=1e-30)).div_(2)
        self.exchanges += 1
        self.sums.watch(self._drawn())

    def _drawn(self) -> Tensor:
        """Rows without replacement, by importance, int64 [n]: those whose exponential clocks ring first."""
        assert self.sums.rows is not None
        draw = torch.Generator().manual_seed(self._seed + int(self.exchanges))
        rate = (self.importance + self.often).double().cpu().clamp(min=1e-12)
        ring = torch.empty_like(rate).exponential_(generator=draw) / rate
        return largest(-ring, len(self.sums.rows)).to(self.importance.device)


class SparseRec(DSL):
    """DSL with a factorised first mask, accumulated gradients and sampled rows."""

    Params = SparseRecParams
    params: SparseRecParams

    def skip(self, ctx: Context[Any]) -> str | None:
        """What is slow to import is loaded here, before the clock of the selection runs."""
        if self.params.mask_init == "nmf":
            import sklearn.decomposition  # noqa: F401, PLC0415
        return super().skip(ctx)

    def select(self, ctx: Context[Any], train: Rows, selection_rows: Rows) -> Selection:
        """Choose the first mask; ``selection_rows`` are not looked at."""
        params = self.params
        if params.mask_init == "uniform":
            return super().select(ctx, train, selection_rows)
        how = Factors(params.nmf_rows, params.anchors, params.evenness, params.sweeps)
        mask = ctx.stage("nmf", lambda: nmf_mask(train, ctx.dim, budget(ctx), how, ctx.rng("nmf")))
        return Selection(weight_mask=mask, rows_seen=how.sampled(train))

    def growth(self, ctx: Context[Any], model: CTRModel, train: Rows) -> Growth:
        params, table = self.params, model.table
        assert table.mask is not None
        lasting = params.growth == "accum"
        n = None if params.backward == "dense" else max(1, int(params.watched_share * ctx.schema.vocabulary_rows))
        sums = GradientSums(table.mask, table.weight.detach(), n, lasting)
        seed = int(torch.randint(2**62, (), generator=ctx.rng("rows")))
        return Gathered(sums, lasting, frequencies(train).to(table.weight.device), seed)
