"""Group Lasso on the first layer, for fields.

Feng and Simon, Sparse-Input Neural Networks for High-dimensional Nonparametric Regression and Classification, 2017,
arXiv 1711.07592; Scardapane et al., Group Sparse Regularization for Deep Neural Networks, Neurocomputing 2017,
arXiv 1607.00485.

    groups      W_f [H, D]: the weights of the first layer that read the embedding of field f
    search      after each step of the model's optimiser  W_f <- W_f · max(0, 1 - η λ / |W_f|)
    score       |W_f| · mean over held-out rows of |e_{i,f} - ē_f|,   ē_f their mean
    retrain     a new model on the K fields with the largest scores

η is the rate, which may fall with the profile's. Where several layers read embeddings, as DCNv2's tower and cross
network, a group is the weights of all. Cheap, and a good control for methods that cost more.

Where things differ here, since none of the papers has embeddings or Adam:

* The proximal step is that of plain gradients, behind Adam's: weights that decay, not gradients.
* λ follows from the length of the search: at the profile's rate, a group of mean length that no gradient holds up has
  lost ``shrink`` of it by the end. So it means the same at any rate, size of layer and number of rows.
* Lengths of weights alone say little, as an embedding can grow where its weights shrink: the score has both. What an
  embedding has in common over all rows is a shift of the bias and no information: a constant field scores 0.
* Embeddings also pass elsewhere (products of xDeepFM, DeepFM and PNN, linear weights), which the penalty does not
  reach: there, fields that matter in products alone rank low. Backbones that have no such layer (``fm``, ``logistic``)
  are skipped.
* The search stops by the profile's patience on a holdout of the training split, at the latest after ``search_epochs``;
  the decision is that of the best epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Context, CTRModel, Method, Range, Rows, Search, Selection
from methods.parts.first_layers import blocks, field_norms, first_layers
from methods.parts.replacement import mean_lookups

_FEW = 2
"""Fields that tell as well as all of them which layers of a backbone read embeddings."""


@dataclass(frozen=True)
class GroupLassoParams:
    """Parameters of Group Lasso."""

    shrink: Annotated[float, Range(0), Search(0.1, 10)] = 1.0
    """Share of its first length that a group without gradients has lost by the planned end. Chosen here."""
    search_epochs: Annotated[int, Range(1)] = 8
    """Epochs of the search at most, and never more than the profile's. Chosen here: as for AutoField."""


def proximal_step(layers: list[nn.Linear], shape: tuple[int, int], weight: float) -> Callable[[Any], None]:
    """What follows each update: fields' groups of ``layers`` lose η λ of their norm, and stay at zero.

    Args:
        layers: those that read embeddings.
        shape: F and D.
        weight: λ.
    """

    @torch.no_grad()
    def after(optimizer: torch.optim.Optimizer) -> None:
        loss = optimizer.param_groups[0]["lr"] * weight
        kept = (1 - loss / field_norms(layers, *shape).clamp_min(1e-30)).clamp_min(0.0)  # [F]
        for layer in layers:
            blocks(layer, *shape).mul_(kept[None, :, None])

    return after


class GroupLasso(Method[GroupLassoParams]):
    """Trains under a group lasso on the layer that reads embeddings, and ranks fields by what is left."""

    Params = GroupLassoParams

    def skip(self, ctx: Context[GroupLassoParams]) -> str | None:
        if not ctx.dim or not first_layers(ctx.layers(min(ctx.schema.n_fields, _FEW))):
            return "no layer of this backbone reads the embeddings as they are"
        return None

    def select(self, ctx: Context[GroupLassoParams], train: Rows, selection_rows: Rows) -> Selection:
        p, model = self.params, ctx.model()
        shape = ctx.schema.n_fields, model.dim
        layers = first_layers(model.backbone)
        epochs = min(p.search_epochs, ctx.profile.max_epochs)
        planned = epochs * -(-len(train) // ctx.profile.batch_size)
        before = field_norms(layers, *shape).detach()
        weight = p.shrink * float(before.mean()) / (ctx.profile.lr * planned)
        step = ctx.step(model, after=proximal_step(layers, shape, weight))
        log = ctx.fit(model, train, selection_rows, steps=[step], name="search", epochs=epochs, by_lookup=True)
        left = field_norms(layers, *shape).detach()
        scores = (left.double() * mean_distances(model, selection_rows, ctx.profile.batch_size)).cpu()
        notes: dict[str, Any] = {
            "search_epochs": log.epochs,
            "search_best_epoch": log.best_epoch,
            "lambda": weight,
            "mean_norm": float((left / before).mean()),
            "zero_groups": int((left == 0).sum()),
        }
        hint = "all groups have shrunk to zero; a smaller shrink would leave some"
        return Selection(scores=np.asarray(scores), notes=notes, hint=hint)


@torch.inference_mode()
def mean_distances(model: CTRModel, rows: Rows, batch_size: int) -> Tensor:
    """Mean distance of the embeddings of each field from their own mean over ``rows``, float64 [F]."""
    mean = mean_lookups(model, rows).e
    sums = [(model.embed(batch)[0] - mean).double().norm(dim=2).sum(0) for batch in model.view(rows).slices(batch_size)]
    return torch.stack(sums).sum(0) / len(rows)
