"""AEFS: Adaptive Early Feature Selection for Deep Recommender Systems (Hu et al., IEEE TKDE 2025, arXiv 2509.12076).

    auxiliary   a model of its own, with embeddings of size d; x = BN(its embeddings) [B, F, d], y = BN(W x) [B, F]
    z           softmax(dropout(ReLU(y))) among the K largest of the row, times K; 0 for the others
    main        logit  m = backbone(z e),   e [B, F, D]
    train       BCE(m) + β BCE(a) + γ_s MSE(σ(a), σ(m)) + γ_f MSE(z L(x), z e),   a = MLP(z x), L: d -> D linear;
                σ(m) and z e are targets without a gradient; W takes a step in every f-th iteration, all else in each

A row's K fields are chosen by small embeddings, so that large ones of the other fields need not be read: early, where
AdaFS, whose controller this is (``methods/adafs.py``), reads all of them first. Both alignments let the small model
learn what the large one knows. Nothing is removed, and the model is served with its auxiliary. Field scores are shares
of held-out rows that keep a field; ``budget=field``: ``methods/parts/per_sample.py``.

Sources: the paper's abstract and the authors' code (github.com/fly-dragon211/AEFS): d = 4, β = 1, γ_s = γ_f = 0.3, MSE
in both, K half of the fields, no pretraining, f = 10, rates 1e-3, batches of 2,048, dropout 0.2, layers of 16 and 8 in
the auxiliary. Their 10 and 1e-3 are carried over to the rows at hand by ``methods/parts/gate_budget.py``.
Where this differs:

* All embeddings are looked up, and those of closed fields multiplied by zero: scores are the same, the paper's saving
  of reads is not made, and inference time has the auxiliary on top.
* z sums to K in a row, theirs to 1, so that equal weights change nothing. The K largest are found before ReLU and
  dropout. A field's linear weight passes through z. The backbone sees e as it is, without a batch norm of its own;
  embeddings start at the profile's spread, and have its L2.
* W's step is one of its own, after that of the weights, on the same rows; where f comes to 1 it is the same step.
* Both are stopped together, by the validation AUC of the main model, not before the first epoch has ended.
* Their optional pretraining trains both models; ``warmup_epochs`` trains the main one alone.

The auxiliary knows values by their ids: data with numeric or pooled fields are skipped. On 16,000 planted rows (DNN, K
half of 24 fields, three seeds) its AUC is .673 ± .004, where AdaFS has .729, No Selection .728 and Random K .677, and
its scores find .37 of the true fields, a draw by lot .47. The best epoch is one of the first three: the embeddings
that choose have no start but noise, then learn training rows by heart, and a row's choice says little of a field's
worth. With 80,000 training rows of ``planted[rows=100000,seed=7]`` (one seed) it has .784, AdaFS .786, all fields .791.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Batch, Context, CTRModel, EmbeddingTable, Group, Range, Rows, Search, Step, UndrawnLinear
from methods.parts.controllers import ChannelNorm, FieldScorer, largest, without_statistics
from methods.parts.gate_budget import AuthorsTraining, gate_plan
from methods.parts.per_sample import GatedTraining, PerSampleGate, PerSampleMethod, PerSampleParams

AUTHORS = AuthorsTraining(batch=2048, lr=1e-3, every=10)
WIDTHS = (16, 8)
"""Hidden layers of the auxiliary (the authors' code)."""


@dataclass(frozen=True)
class AEFSParams(PerSampleParams):
    """Parameters of AEFS; defaults are the authors' unless a line says otherwise."""

    warmup_epochs: Annotated[int, Range(0)] = 0
    """Epochs of the main model alone, at most (the authors' code as it is called; 2 with their option)."""
    small_dim: Annotated[int, Range(1)] = 4
    """d, embedding size of the auxiliary."""
    auxiliary: Annotated[float, Range(0), Search(0.1, 10)] = 1.0
    """β, weight of the auxiliary's own log loss."""
    align_scores: Annotated[float, Range(0), Search(0.03, 3)] = 0.3
    """γ_s, weight of the alignment of predictions."""
    align_fields: Annotated[float, Range(0), Search(0.03, 3)] = 0.3
    """γ_f, weight of the alignment of embeddings."""
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.2
    """Dropout of controller and auxiliary."""
    update_every: Annotated[int | None, Range(1)] = None
    """f, iterations between controller steps; none: the authors' 10 at their scale."""


@dataclass(frozen=True)
class Sizes:
    """How large an auxiliary is."""

    values: int
    """V, vocabulary rows."""
    fields: int
    dim: int
    """D, embedding size of the main model."""
    small: int
    """d."""
    kept: int
    """K, fields that each row keeps."""


class AuxiliaryGate(PerSampleGate):
    """The auxiliary model: what a row keeps, and its own prediction."""

    def __init__(self, sizes: Sizes, std: float, dropout: float, generator: torch.Generator) -> None:
        """Draw all weights from ``generator``, embeddings with the standard deviation ``std``."""
        super().__init__()
        self.kept, self.dropout = sizes.kept, dropout
        self.table = EmbeddingTable(torch.randn(sizes.values, sizes.small, generator=generator) * std)
        self.channels = ChannelNorm(sizes.small)
        self.scorer = FieldScorer(sizes.fields, sizes.small, 1, generator)
        self.lift = _linear(sizes.small, sizes.dim, generator)
        layers: list[nn.Module] = []
        for n, width in zip((sizes.fields * sizes.small, *WIDTHS), WIDTHS, strict=False):
            layers += [_linear(n, width, generator), nn.ReLU(), nn.Dropout(dropout)]
        self.network = nn.Sequential(*layers, _linear(WIDTHS[-1], 1, generator))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.look(ids)[0]

    def look(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Factors z [B, F] and normalised small embeddings x [B, F, d]."""
        x: Tensor = self.channels(self.table(ids))
        y: Tensor = self.scorer(x)
        logits = F.dropout(y.relu(), self.dropout, self.training)
        return logits.masked_fill(~largest(y, self.kept), -torch.inf).softmax(1) * self.kept, x

    def importance(self, e: Tensor, ids: Tensor) -> Tensor:
        y: Tensor = self.scorer(self.channels(self.table(ids)))
        return y

    def weights(self) -> list[nn.Parameter]:
        """All but the table and the controller's layer."""
        return [p for part in (self.channels, self.lift, self.network) for p in part.parameters()]


def _linear(n: int, width: int, generator: torch.Generator) -> nn.Linear:
    """A layer without bias at first, Xavier normal."""
    layer = UndrawnLinear(n, width)
    nn.init.xavier_normal_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class AEFS(PerSampleMethod[AEFSParams]):
    """Picks the K fields of every row by a small model of its own."""

    Params = AEFSParams

    def rows_keep_k(self) -> bool:
        return True

    def holds_out(self) -> bool:
        return False

    def gate(self, ctx: Context[AEFSParams], dim: int) -> PerSampleGate:
        p, schema = self.params, ctx.schema
        sizes = Sizes(schema.vocabulary_rows, schema.n_fields, dim, p.small_dim, ctx.n_keep)
        return AuxiliaryGate(sizes, ctx.profile.init_std, p.dropout, ctx.rng("auxiliary"))

    def loss(self, model: CTRModel, batch: Batch) -> Tensor:
        """All four terms."""
        p, gate = self.params, model.gate
        assert isinstance(gate, AuxiliaryGate)
        z, x = gate.look(batch.ids)
        e, linear = model.embed(batch)
        gated = e * z[..., None]
        main = model.arithmetic.score(model.backbone, gated, None if linear is None else linear * z)
        small = gate.network((x * z[..., None]).flatten(1)).squeeze(1)
        found: Tensor = F.binary_cross_entropy_with_logits(main, batch.labels)
        found = found + p.auxiliary * F.binary_cross_entropy_with_logits(small, batch.labels)
        found = found + p.align_scores * F.mse_loss(small.sigmoid(), main.detach().sigmoid())
        return found + p.align_fields * F.mse_loss(gate.lift(x) * z[..., None], gated.detach())

    def training(self, ctx: Context[AEFSParams], model: CTRModel, train: Rows, held: Rows) -> GatedTraining:
        p, profile, gate = self.params, ctx.profile, model.gate
        assert isinstance(gate, AuxiliaryGate)
        plan = gate_plan(ctx, AUTHORS, len(train), every=p.update_every, lr=p.gate_lr)
        base, controller = ctx.step(model), Group(list(gate.scorer.parameters()), plan.lr)
        groups = [
            *base.groups,
            Group([gate.table.weight], profile.lr, weight_decay=profile.l2),
            Group(gate.weights(), profile.lr),
        ]
        if plan.every == 1:
            return GatedTraining([replace(base, groups=[*groups, controller], loss=self.loss)], plan)

        def again(model: CTRModel, batch: Batch) -> Tensor:
            with without_statistics(gate):
                return self.loss(model, batch)

        steps = [replace(base, groups=groups, loss=self.loss), Step([controller], again, name="gate", every=plan.every)]
        return GatedTraining(steps, plan)
