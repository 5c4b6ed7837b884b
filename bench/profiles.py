"""Training profiles: the settings that all methods of a table share. Every cell records the one it ran under.

What a profile says goes under what a data set's card says, that under a profile of the user's own, and that under what
the run itself sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from bench.errors import ConfigError, suggest
from bench.params import Range

Precision = Literal["highest", "high", "medium", "bf16"]
"""Arithmetic of matrix products; see ``Profile.precision``."""
Optimizer = Literal["adam", "lazy-adam"]
"""Update of the embedding table; see ``Profile.optimizer``."""
SMALL_TRAIN_ROWS = 200_000
"""Training splits below this size get the ``small`` profile unless another is asked for."""


_POSITIVE = Range(0, open_low=True)
_COUNT = Range(1)


@dataclass(frozen=True)
class Profile:
    """One column of the profile table; a data set's card may set ``dim``, ``l2`` and ``evaluate_every``."""

    name: str
    lr: Annotated[float, _POSITIVE]
    """Learning rate of Adam for all model weights."""
    lr_grid: tuple[Annotated[float, _POSITIVE], ...]
    """Learning rates that ``--tune lr`` chooses from; it says nothing of one training, so no record or hash has it."""
    l2: Annotated[float, Range(low=0)]
    """Coupled weight decay of embedding table and linear weights, unless the card measures its own."""
    batch_size: Annotated[int, _COUNT]
    max_epochs: Annotated[int, _COUNT]
    patience: Annotated[int, _COUNT]
    """Evaluations without a gain in validation AUC before training stops."""
    lr_decay: Annotated[float | None, Range(0, 1, open_low=True)]
    """Factor on every learning rate after an evaluation without gain; None: constant."""
    clip_norm: Annotated[float | None, _POSITIVE]
    """Bound on the gradient norm over all parameters of a step; None: unbounded."""
    dim: Annotated[int, _COUNT]
    """Embedding size D."""
    init_std: Annotated[float, _POSITIVE]
    """Standard deviation of the initial embeddings and linear weights."""
    dropout: Annotated[float, Range(0, 1, open_high=True)]
    mlp: tuple[Annotated[int, _COUNT], ...]
    """Hidden sizes of the MLP; empty: none, its output reads the inputs."""
    cin: tuple[Annotated[int, _COUNT], ...]
    cin_split: bool
    """Whether half of each hidden CIN layer feeds only the output (the other half only the next layer)."""
    evaluate_every: Annotated[float, _POSITIVE] = 1.0
    """Epochs between validations."""
    precision: Precision = "highest"
    """Products of float32 matrices: "highest" in float32, "high" in TF32 and "medium" in bfloat16 where the device does
    that by itself (``torch.set_float32_matmul_precision``; a CPU needs AMX for it); "bf16" runs the whole backbone
    under bfloat16 autocast."""
    optimizer: Optimizer = "adam"
    """Dense Adam, or Adam that leaves rows of the embedding table without data in a batch as they are."""
    compile: bool = False
    """Whether ``torch.compile`` translates the backbone."""
    set_apart: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What the user has set and what it would not have been without; with ``base`` where the profile is the user's."""

    def for_card(self, card_values: dict[str, Any]) -> Profile:
        """This profile with the values that a data set's card states for it.

        Args:
            card_values: ``embedding_dim`` and ``l2`` map profile names to values; ``evaluate_every`` is a number.
        """
        changes: dict[str, Any] = {}
        for key, name in (("embedding_dim", "dim"), ("l2", "l2")):
            if self.name in card_values.get(key, {}):
                changes[name] = card_values[key][self.name]
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
    l2=1e-2,
    batch_size=256,
    max_epochs=20,
    patience=3,
    lr_decay=0.3,
    clip_norm=None,
    dim=8,
    init_std=1e-2,
    dropout=0.1,
    mlp=(400, 400, 200),
    cin=(16, 16),
    cin_split=False,
)
PROFILES = {profile.name: profile for profile in (PAPER, ANCHOR, SMALL)}
AUTO = "auto"
"""Stands for the profile that fits the number of training rows."""
_NO_SETTINGS = ("name", "set_apart")
SETTINGS = tuple(item.name for item in fields(Profile) if item.name not in _NO_SETTINGS)
"""Fields of a profile that a user may set."""


@dataclass(frozen=True)
class OwnProfile:
    """A profile of the user's: what differs from one of ours."""

    name: str
    base: str
    """One of ours, or ``auto``."""
    values: Mapping[str, Any]
    """By field."""


def resolve_profile(
    choice: str | OwnProfile,
    train_rows: int,
    card_values: dict[str, Any],
    changes: Mapping[str, Any] | None = None,
) -> Profile:
    """The profile of a cell: ``auto`` chooses by the size of the training split.

    Args:
        choice: a profile by name, ``auto``, or one of the user's own.
        train_rows: size of the training split.
        card_values: what the data set's card states.
        changes: fields that the run sets, over all else.

    Raises:
        ConfigError: an unknown profile, or ``max_epochs`` below 1.
    """
    own = choice if isinstance(choice, OwnProfile) else None
    name = choice if isinstance(choice, str) else choice.base
    if name == AUTO:
        name = SMALL.name if train_rows < SMALL_TRAIN_ROWS else ANCHOR.name
    if name not in PROFILES:
        raise ConfigError(f"profile={name!r} is unknown.{suggest(name, [AUTO, *PROFILES])}")
    base = PROFILES[name].for_card(card_values)
    values = {**(own.values if own else {}), **(changes or {})}
    if "lr" in values and "lr_grid" not in values:  # a rate that was set is among those that tuning tries
        values["lr_grid"] = tuple(sorted({*base.lr_grid, values["lr"]}))
    apart = {key: value for key, value in values.items() if value != getattr(base, key)}
    if own is not None:
        apart, values = {"base": name, **apart}, {"name": own.name, **values}
    profile = replace(base, **values, set_apart=apart)
    if profile.max_epochs < 1:
        raise ConfigError(f"epochs={profile.max_epochs} must be at least 1.")
    return profile


def profile_dict(profile: Profile) -> dict[str, Any]:
    """The settings of a training as plain values, for records and hashes."""
    left_out = ("lr_grid", "set_apart")
    return {item.name: getattr(profile, item.name) for item in fields(profile) if item.name not in left_out}
