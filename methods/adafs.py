"""AdaFS (Lin et al., AdaFS: Adaptive Feature Selection in Deep Recommender System, KDD 2022).

    warm up    the model alone, two epochs
    train      weights on training rows; every f-th iteration a controller that weighs the fields of each row, on
               the selection rows (first-order bi-level)

Equations of the controller: ``methods/sample_gates.py``; of the two steps: ``methods/bilevel.py``; of the phases and
``budget=field``: ``methods/per_sample.py``. ``mode=hard`` keeps the K fields of each row that the controller weighs
most, ``mode=soft`` keeps all and has no prune ratio. Nothing is removed: the model is served with its controller.

Sources: f = 10, selection batches of twice the size, two warm-up epochs, dropout 0.2 and reweighting come from the
authors' code. The public ERASE benchmark trains the controller with the weights on the training loss
(``schedule=joint``).

Where this differs from the code:

* Weights are multiplied by F (soft) or K (hard), so that equal weights change nothing.
* The controller sees normalised embeddings, the backbone the embeddings as they are; ``normalise=all`` gives them to
  both, which changes the model as well as its inputs.
* The K largest are found before ReLU and dropout, after which about half of a row's fields tie at the bottom;
  ``head=linear`` leaves both out.
* The controller starts from Xavier's draw, and its steps do not enter selection rows into the running statistics.
* It learns on a holdout of the training split, which the weights never see; ``sel_split=valid`` reproduces the
  authors. f shrinks so that an epoch has ten controller steps, where it would have less.
* Both phases keep their best validated weights; rows are shuffled. No weight decay on the controller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bench.api import Context, CTRModel, Gate, Only, Range, Rows
from methods.bilevel import bilevel_steps, gate_interval, joint_step
from methods.per_sample import GatedTraining, PerSampleMethod, PerSampleParams
from methods.sample_gates import ControllerGate, ControllerShape


@dataclass(frozen=True)
class AdaFSParams(PerSampleParams):
    """Parameters of AdaFS."""

    mode: Literal["hard", "soft"] = "hard"
    """Keep the K largest fields of each row, or weigh all."""
    schedule: Literal["bilevel", "joint"] = "bilevel"
    """Who trains the controller: steps of its own on selection rows (authors), or the weights' step (ERASE)."""
    update_every: Annotated[int, Range(1), Only(schedule="bilevel")] = 10
    """f, iterations between controller steps (authors)."""
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

    def gate(self, ctx: Context[AdaFSParams], dim: int) -> Gate:
        p = self.params
        kept = ctx.n_keep if p.mode == "hard" else None
        shape = ControllerShape(kept, p.head, p.dropout, p.reweight, p.normalise)
        return ControllerGate(ctx.schema.n_fields, dim, shape, ctx.rng("controller"))

    def training(self, ctx: Context[AdaFSParams], model: CTRModel, train: Rows, held: Rows) -> GatedTraining:
        p = self.params
        lr = ctx.profile.lr if p.gate_lr is None else p.gate_lr
        if p.schedule == "joint":
            return GatedTraining(joint_step(ctx, model, lr))
        every = gate_interval(ctx, len(train), p.update_every)
        ctx.log(gate_every=every)
        return GatedTraining(bilevel_steps(ctx, model, held, lr, every))
