"""AdaFS (Lin et al., AdaFS: Adaptive Feature Selection in Deep Recommender System, KDD 2022).

    warm up    the model alone, two epochs
    train      weights, and a controller that weighs the fields of each row: together on the training loss
               (``schedule=joint``), or the controller by steps of its own on the selection rows, every f-th
               iteration (``schedule=bilevel``, first order, the authors')

    w = softmax(dropout(ReLU(y))),   y = BN(W x),   x = BN(e) over coordinates
    soft   z_j = F w_j
    hard   z_j = K w_j / Σ_kept w   for the K largest y of the row, 0 for the others

Which fields are the largest has no gradient; the kept factors have theirs. Shapes: e [B, F, D], w, z [B, F]. The two
steps: ``methods/parts/bilevel.py``; the phases and ``budget=field``: ``methods/parts/per_sample.py``. ``mode=hard``
keeps the K fields of each row that the controller weighs most, ``mode=soft`` keeps all and has no prune ratio. Nothing
is removed: the model is served with its controller.

Sources: f = 10 and the controller's rate 1e-3 at batches of 2,048, selection batches of twice the size, two warm-up
epochs, dropout 0.2 and reweighting come from the authors' code. The public ERASE benchmark trains the controller with
the weights on the training loss (``schedule=joint``).

The authors' 1,790 controller steps an epoch (Criteo) are carried over to the rows at hand by the rule for all gates
(``methods/parts/gate_budget.py``): on a few thousand rows a controller step follows every step of the weights, at ten
times the profile's rate. With the authors' f and rate instead, some ten steps of 1e-3 an epoch, 95 % of the places that
a row keeps were those of the untrained controller.

The rows that the controller learns on are lost to the weights, here as in the authors' code, which takes them from the
validation split: once the weights have seen them, the controller's loss there says nothing of other rows. Methods that
select first get theirs back. ``schedule=joint`` needs no such rows. With DNN, three seeds and the small profile it has
a higher validation AUC on the data sets that no table shows: criteo-like[rows=20000] .7008 (standard deviation .0013)
against .6771 (.0062), planted[rows=30000,fields=32,seed=7] .7390 (.0163) against .7197 (.0176). So it is the default,
by the mean over them, as other defaults are; on millions of rows the authors' form may lose less.

Where this differs from the code:

* Weights are multiplied by F (soft) or K (hard), so that equal weights change nothing. A field's linear weight passes
  through its gate.
* Batch norm of the embeddings belongs to the model there and is trained through the warm-up. Here the controller sees
  normalised embeddings, the backbone the embeddings as they are; ``normalise=all`` gives them to both, from the end of
  the warm-up on, which changes the model as well as its inputs. Its scale and shift learn with the weights, as there;
  those of the norm behind the controller's layer with the controller.
* The MLP is the profile's, without batch norm; the code has one behind each layer. Patience is the profile's, 3 there.
* Running statistics are means over the first ten batches, and exponential means after that: the norms come into a
  model that is trained already. The controller's steps do not enter selection rows into them.
* The K largest are found before ReLU and dropout, after which about half of a row's fields tie at the bottom;
  ``head=linear`` leaves both out.
* The controller starts from Xavier's draw.
* Under ``bilevel`` it learns on a holdout of the training split, which the weights never see. ``sel_split=valid``
  reproduces the authors; early stopping then watches rows that the controller has learned, which the record and a flag
  say.
* Both phases keep their best validated weights, the second not before its first epoch has ended; rows are shuffled. No
  weight decay on the controller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Context, CTRModel, Only, Range, Rows
from methods.parts.bilevel import bilevel_steps, joint_step
from methods.parts.controllers import ChannelNorm, FieldScorer, largest
from methods.parts.gate_budget import AuthorsTraining, gate_plan
from methods.parts.per_sample import GatedTraining, PerSampleGate, PerSampleMethod, PerSampleParams

AUTHORS = AuthorsTraining(batch=2048, lr=1e-3, every=10)


@dataclass(frozen=True)
class ControllerShape:
    """How AdaFS's controller is built and used."""

    kept: int | None
    """K, fields that each row keeps; None: all, softly."""
    head: Literal["relu", "linear"]
    """ReLU and dropout on the softmax's logits, or neither."""
    dropout: float
    reweight: bool
    """Whether kept weights are scaled to sum K."""
    normalise: Literal["controller", "all"]
    """Who sees the normalised embeddings."""


class ControllerGate(PerSampleGate):
    """AdaFS: one controller weighs the fields of every row; equal weights are the identity."""

    def __init__(self, n_fields: int, dim: int, how: ControllerShape, generator: torch.Generator) -> None:
        """Build the controller; ``generator`` draws its weights."""
        super().__init__()
        self.how = how
        self.channels = ChannelNorm(dim)
        self.scorer = FieldScorer(n_fields, dim, 1, generator)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self._factors(e, self.channels.affine(e))

    def importance(self, e: Tensor, ids: Tensor) -> Tensor:
        y: Tensor = self.scorer(e, self.channels.affine(e))
        return y

    def _factors(self, e: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
        y: Tensor = self.scorer(e, affine)  # [B, F]
        kept = self.how.kept
        if kept is None:
            return self._head(y).softmax(1) * e.shape[1]
        closed, logits = ~largest(y, kept), self._head(y)
        if self.how.reweight:
            return logits.masked_fill(closed, -torch.inf).softmax(1) * kept
        return logits.softmax(1).masked_fill(closed, 0.0) * e.shape[1]

    def _head(self, y: Tensor) -> Tensor:
        return y if self.how.head == "linear" else F.dropout(y.relu(), self.how.dropout, self.training)

    def multiply(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.how.normalise == "controller":
            return super().multiply(e, linear, ids)
        scale, shift = affine = self.channels.affine(e)
        z = self._factors(e, affine)
        return torch.addcmul(shift, e, scale) * z[..., None], None if linear is None else linear * z


@dataclass(frozen=True)
class AdaFSParams(PerSampleParams):
    """Parameters of AdaFS."""

    mode: Literal["hard", "soft"] = "hard"
    """Keep the K largest fields of each row, or weigh all."""
    schedule: Literal["bilevel", "joint"] = "joint"
    """Who trains the controller: the weights' step (ERASE), or steps of its own on selection rows (authors)."""
    update_every: Annotated[int | None, Range(1), Only(schedule="bilevel")] = None
    """f, iterations between controller steps; none: the authors' 10, carried over to the rows at hand
    (``methods/parts/gate_budget.py``)."""
    reweight: Annotated[bool, Only(mode="hard")] = True
    """Scale the kept weights of a row to sum K (authors); otherwise they stay shares of all fields, times F."""
    head: Literal["relu", "linear"] = "relu"
    """What is between the controller's batch norm and its softmax: ReLU and dropout (authors), or nothing."""
    dropout: Annotated[float, Range(0, 1, open_high=True), Only(head="relu")] = 0.2
    """Dropout of ``head=relu`` (authors)."""
    normalise: Literal["controller", "all"] = "controller"
    """Who sees the normalised embeddings: the controller, or the backbone too (authors)."""


class AdaFS(PerSampleMethod[AdaFSParams]):
    """A controller that weighs or picks the fields of every row."""

    Params = AdaFSParams

    def rows_keep_k(self) -> bool:
        return self.params.mode == "hard"

    def holds_out(self) -> bool:
        return self.params.schedule == "bilevel"

    def gate(self, ctx: Context[AdaFSParams], dim: int) -> PerSampleGate:
        p = self.params
        kept = ctx.n_keep if p.mode == "hard" else None
        shape = ControllerShape(kept, p.head, p.dropout, p.reweight, p.normalise)
        return ControllerGate(ctx.schema.n_fields, dim, shape, ctx.rng("controller"))

    def training(self, ctx: Context[AdaFSParams], model: CTRModel, train: Rows, held: Rows) -> GatedTraining:
        p = self.params
        assert isinstance(model.gate, ControllerGate)
        of_model = list(model.gate.channels.parameters())
        if p.schedule == "joint":
            plan = gate_plan(ctx, replace(AUTHORS, every=1), len(train), lr=p.gate_lr)
            return GatedTraining(joint_step(ctx, model, plan.lr, of_model), plan)
        plan = gate_plan(ctx, AUTHORS, len(train), every=p.update_every, lr=p.gate_lr)
        return GatedTraining(bilevel_steps(ctx, model, held, plan.lr, plan.every, of_model), plan)
