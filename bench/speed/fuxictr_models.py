"""Models of the peer's layers.

The public package brings layers and the base class of models, which holds loss, regulariser, optimiser and training
step. The models are put together here, each from the parts that the model of that name in its zoo has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.speed.settings import SpeedConfig

layers = importlib.import_module("fuxictr.pytorch.layers")
models = importlib.import_module("fuxictr.pytorch.models")

CLIP_NORM = 10.0
"""Its default."""


class Part(nn.Module):
    """A layer of the peer and what it reads: the columns of a batch, or its embeddings [B, F, D]."""

    def __init__(self, layer: nn.Module, read: Callable[[nn.Module, Any, Any], Tensor]) -> None:
        """Call ``read(layer, columns, embeddings)`` for a part of the logit, [B, 1]."""
        super().__init__()
        self.layer, self.read = layer, read

    def forward(self, columns: Any, e: Any) -> Tensor:
        return self.read(self.layer, columns, e)


class Pairs(nn.Module):
    """Inner products beside the embeddings, and a tower over both."""

    def __init__(self, n_fields: int, width: int, hidden: list[int]) -> None:
        super().__init__()
        self.products = layers.InnerProductInteraction(n_fields, output="inner_product")
        self.tower = layers.MLP_Block(width + n_fields * (n_fields - 1) // 2, hidden, output_dim=1)

    def forward(self, e: Tensor) -> Tensor:
        logits: Tensor = self.tower(torch.cat([e.flatten(1), self.products(e)], dim=1))
        return logits


class Cross(nn.Module):
    """Cross network and tower side by side, one linear layer over both."""

    def __init__(self, width: int, hidden: list[int], n_layers: int) -> None:
        super().__init__()
        self.cross = layers.CrossNetV2(width, n_layers)
        self.tower = layers.MLP_Block(width, hidden)
        self.output = nn.Linear(width + hidden[-1], 1)

    def forward(self, e: Tensor) -> Tensor:
        flat = e.flatten(1)
        logits: Tensor = self.output(torch.cat([self.cross(flat), self.tower(flat)], dim=1))
        return logits


class Peer(models.BaseModel):  # type: ignore[misc, name-defined]
    """Its base class around a sum of parts."""

    def __init__(self, features: Any, parts: list[Part], **settings: Any) -> None:
        """Set up embeddings, optimiser and initial weights the way its models do."""
        super().__init__(features, verbose=0, metrics=["AUC", "logloss"], **settings)
        self.embedding_layer = layers.FeatureEmbedding(features, features.default_emb_dim)
        self.parts = nn.ModuleList(parts)
        self._max_gradient_norm = CLIP_NORM
        self.compile("adam", "binary_crossentropy", lr=1e-3)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        columns = self.get_inputs(inputs)
        e = self.embedding_layer(columns)
        logits = sum(part(columns, e) for part in self.parts)
        return {"y_pred": self.output_activation(logits)}


class PeerLinear(Peer):
    """The same without embeddings."""

    def __init__(self, features: Any, parts: list[Part], **settings: Any) -> None:
        """Drop the embeddings before the optimiser could see them."""
        super().__init__(features, parts, **settings)
        del self.embedding_layer
        self.compile("adam", "binary_crossentropy", lr=1e-3)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        columns = self.get_inputs(inputs)
        return {"y_pred": self.output_activation(sum(part(columns, None) for part in self.parts))}


def make_model(config: SpeedConfig, name: str, params: Any, features: Any, folder: str) -> Any:
    """Its model of that name, with the workload's sizes and its own defaults for all else.

    Args:
        config: sizes.
        name: one of ``bench.speed.fuxictr.MODELS``.
        params: parameters of our backbone, for the sizes of what only some models have.
        features: the peer's description of the fields.
        folder: where it may keep files.
    """
    width, hidden = config.fields * config.dim, list(config.mlp)

    def weights(bias: bool = False) -> Part:
        return Part(layers.LogisticRegression(features, use_bias=bias), lambda layer, columns, e: layer(columns))

    def machine() -> Part:
        return Part(layers.FactorizationMachine(features), lambda layer, columns, e: layer(columns, e))

    def tower() -> Part:
        return Part(layers.MLP_Block(width, hidden, output_dim=1), lambda layer, columns, e: layer(e.flatten(1)))

    def over_embeddings(layer: nn.Module) -> Part:
        return Part(layer, lambda layer, columns, e: layer(e))

    parts: dict[str, Callable[[], list[Part]]] = {
        "LR": lambda: [weights(bias=True)],
        "FM": lambda: [machine()],
        "DNN": lambda: [tower()],
        "WideDeep": lambda: [weights(), tower()],
        "DeepFM": lambda: [machine(), tower()],
        "PNN": lambda: [over_embeddings(Pairs(config.fields, width, hidden))],
        "xDeepFM": lambda: [
            weights(),
            over_embeddings(layers.CompressedInteractionNet(config.fields, list(params.cin))),
            tower(),
        ],
        "DCNv2": lambda: [over_embeddings(Cross(width, hidden, params.layers))],
    }
    cls = PeerLinear if name == "LR" else Peer
    return cls(features, parts[name](), model_id=name, embedding_regularizer=config.l2, model_root=folder)
