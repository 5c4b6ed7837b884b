"""What is measured: sizes, repeats, stages. Plain values that travel to child processes; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import ConfigError
from bench.profiles import Optimizer, Precision

Stage = Literal["prepare", "train", "gates", "search", "overhead", "evaluate", "metrics", "select"]
STAGES: tuple[Stage, ...] = ("prepare", "train", "gates", "search", "overhead", "evaluate", "metrics", "select")
Cin = tuple[int, ...]


@dataclass(frozen=True)
class SpeedConfig:
    """Sizes of the workload; the defaults are those of the Criteo data."""

    rows: int = 200_000
    """Encoded rows that training, evaluation and selection read, and raw rows that preparation reads."""
    vocabulary: int = 1_100_000
    """V, rows of the embedding table."""
    fields: int = 39
    """F."""
    dim: int = 10
    """D."""
    batch: int = 4096
    """Rows a training step."""
    mlp: tuple[int, ...] = (400, 400, 200)
    """Hidden sizes of the MLP."""
    l2: float = 1e-5
    """Coupled weight decay of embeddings and linear weights."""
    predictions: int = 4_600_000
    """Predictions whose AUC and log loss are computed: the test split of Criteo."""
    repeats: int = 5
    """Timed windows; the median counts."""
    window_s: float = 1.0
    """Least seconds of a timed window of training."""
    precision: Precision = "highest"
    """Matrix products, as `python -m bench run` takes it."""
    optimizer: Optimizer = "adam"
    """adam or lazy-adam; the bound is that of the same."""
    compile: bool = False
    """Translate backbones with torch.compile."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads; None: all cores."""
    seed: int = 0
    """Seed of the generated data."""


def check(config: SpeedConfig) -> SpeedConfig:
    """The settings, if their ranges hold.

    Raises:
        ConfigError: a value out of range.
    """
    least = {"rows": 100, "fields": 1, "dim": 1, "batch": 2, "predictions": 100, "repeats": 1}
    for name, low in least.items():
        value = getattr(config, name)
        if value < low:
            raise ConfigError(f"{name}={value} is out of range; allowed: [{low}, inf).")
    if config.vocabulary < 4 * config.fields:
        raise ConfigError(f"vocabulary={config.vocabulary} is too small; {config.fields} fields need at least 4 each.")
    if config.batch > config.rows:
        raise ConfigError(f"batch={config.batch} is above rows={config.rows}; use a smaller batch or more rows.")
    if config.threads is not None and config.threads < 1:
        raise ConfigError(f"threads={config.threads} is out of range; allowed: [1, inf).")
    if not config.window_s > 0:
        raise ConfigError(f"window-s={config.window_s:g} is out of range; allowed: (0, inf).")
    return config
