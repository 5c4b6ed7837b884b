"""Training profiles: the settings that all methods of a table share. Every cell records the one it ran under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from bench.errors import ConfigError, suggest

Precision = Literal["highest", "high", "medium", "bf16"]
"""Arithmetic of matrix products; see ``Profile.precision``."""
Optimizer = Literal["adam", "lazy-adam"]
"""Update of the embedding table; see ``Profile.optimizer``."""
SMALL_TRAIN_ROWS = 200_000
"""Training splits below this size get the ``small`` profile unless another is asked for."""


@dataclass(frozen=True)
class Profile:
    """One column of the profile table; a data set's card may set ``dim``, ``l2`` and ``evaluate_every``."""

    name: str
    lr: float
    """Learning rate of Adam for all model weights."""
    lr_grid: tuple[float, ...]
    """Learning rates that ``--tune lr`` chooses from; it says nothing of one training, so no record or hash has it."""
    l2: float
    """Coupled weight decay of embedding table and linear weights, unless the card measures its own."""
    batch_size: int
    max_epochs: int
    patience: int
    """Evaluations without a gain in validation AUC before training stops."""
    lr_decay: float | None
    """Factor on every learning rate after an evaluation without gain; None: constant."""
    clip_norm: float | None
    """Bound on the gradient norm over all parameters of a step; None: unbounded."""
    dim: int
    """Embedding size D."""
    init_std: float
    """Standard deviation of the initial embeddings and linear weights."""
    dropout: float
    mlp: tuple[int, ...]
    cin: tuple[int, ...]
    cin_split: bool
    """Whether half of each hidden CIN layer feeds only the output (the other half only the next layer)."""
    evaluate_every: float = 1.0
    """Epochs between validations."""
    precision: Precision = "highest"
    """Products of float32 matrices: "highest" in float32, "high" in TF32 and "medium" in bfloat16 where the device does
    that by itself (``torch.set_float32_matmul_precision``; a CPU needs AMX for it); "bf16" runs the whole backbone
    under bfloat16 autocast."""
    optimizer: Optimizer = "adam"
    """Dense Adam, or Adam that leaves rows of the embedding table without data in a batch as they are."""
    compile: bool = False
    """Whether ``torch.compile`` translates the backbone."""

    def for_card(self, card_values: dict[str, Any]) -> Profile:
        """This profile with the values that a data set's card states for it.

        Args:
            card_values: ``embedding_dim`` and ``l2`` map profile names to values; ``evaluate_every`` is a number.
        """
        changes: dict[str, Any] = {}
        for key, field in (("embedding_dim", "dim"), ("l2", "l2")):
            if self.name in card_values.get(key, {}):
                changes[field] = card_values[key][self.name]
        if self.lr_decay is not None and "evaluate_every" in card_values:
            changes["evaluate_every"] = card_values["evaluate_every"]
        return replace(self, **changes)


PAPER = Profile(
    name="paper",
    lr=3e-4,
    lr_grid=(1e-5, 1e-4, 3e-4),
    l2=1e-5,
    batch_size=4096,
    max_epochs=20,
    patience=1,
    lr_decay=None,
    clip_norm=None,
    dim=10,
    init_std=1e-2,
    dropout=0.0,
    mlp=(400, 400, 200),
    cin=(100, 100),
    cin_split=True,
)
ANCHOR = Profile(
    name="anchor",
    lr=1e-3,
    lr_grid=(1e-5, 1e-4, 3e-4, 1e-3),
    l2=1e-5,
    batch_size=4096,
    max_epochs=50,
    patience=2,
    lr_decay=0.1,
    clip_norm=10.0,
    dim=10,
    init_std=1e-4,
    dropout=0.1,
    mlp=(400, 400, 200),
    cin=(16, 16),
    cin_split=False,
)
SMALL = Profile(
    name="small",
    lr=1e-3,
    lr_grid=(1e-5, 1e-4, 3e-4, 1e-3),
    l2=1e-5,
    batch_size=256,
    max_epochs=10,
    patience=2,
    lr_decay=None,
    clip_norm=None,
    dim=8,
    init_std=1e-2,
    dropout=0.1,
    mlp=(400, 400, 200),
    cin=(16, 16),
    cin_split=False,
)
PROFILES = {profile.name: profile for profile in (PAPER, ANCHOR, SMALL)}
ProfileName = Literal["auto", "paper", "anchor", "small"]


def resolve_profile(
    name: str, train_rows: int, card_values: dict[str, Any], changes: Mapping[str, Any] | None = None
) -> Profile:
    """The profile of a cell: ``auto`` chooses by the size of the training split.

    Args:
        name: a profile, or ``auto``.
        train_rows: size of the training split.
        card_values: what the data set's card states.
        changes: fields that the user has set, over all else.

    Raises:
        ConfigError: an unknown profile, or ``max_epochs`` below 1.
    """
    if name == "auto":
        name = SMALL.name if train_rows < SMALL_TRAIN_ROWS else ANCHOR.name
    if name not in PROFILES:
        raise ConfigError(f"profile={name!r} is unknown.{suggest(name, ['auto', *PROFILES])}")
    profile = replace(PROFILES[name].for_card(card_values), **(changes or {}))
    if profile.max_epochs < 1:
        raise ConfigError(f"epochs={profile.max_epochs} must be at least 1.")
    return profile


def profile_dict(profile: Profile) -> dict[str, Any]:
    """The settings of a training as plain values, for records and hashes."""
    return {field.name: getattr(profile, field.name) for field in fields(profile) if field.name != "lr_grid"}
