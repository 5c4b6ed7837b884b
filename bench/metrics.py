"""The metrics of tables and plots: their names, units, directions and formats, known nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "Metric"]

Format = Callable[[float, float], str]
"""(value, like) -> text of ``value`` with as many decimals as suit ``like``."""


@dataclass(frozen=True)
class Metric:
    """How one column of results is named, ranked and printed."""

    label: str
    unit: str
    """Unit as printed; empty for a number without one."""
    better: Literal["higher", "lower"] | None
    """None: a description, never ranked."""
    worst: float
    """The value of a useless model: where an axis may begin and what a failure cannot beat."""
    fmt: Format
    scale: float = 1.0
    """Recorded value of one printed unit."""
    counted: bool = False
    """A whole number by nature, printed without ± where all seeds agree."""
    key: str = ""
    """Key of the record, where it is not the metric's own name."""
    duration: bool = False
    """Printed with its units, as ``4h23m23s``."""
    clock: Literal["training", "inference"] | None = None
    """Times of resumed cells are not shown; training times are ranked within one optimizer only."""

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]

    @property
    def heading(self) -> str:
        """Label, unit and direction, e.g. ``IT [s] ↓``."""
        parts = (self.label, f"[{self.unit}]" if self.unit else "", self.arrow)
        return " ".join(part for part in parts if part)

    def text(self, value: float, like: float | None = None) -> str:
        """Print a recorded ``value`` with the decimals that suit ``like`` (default: itself)."""
        return self.fmt(value / self.scale, (value if like is None else like) / self.scale)


def _fixed(decimals: int) -> Format:
    return lambda value, like: f"{value:,.{decimals}f}"


def _signed(decimals: int) -> Format:
    return lambda value, like: f"{value:+.{decimals}f}"


def _p(value: float, like: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else "<0.0001"


def _duration(value: float, like: float) -> str:
    """Seconds as ``4h23m23s``; under a minute with the decimals that show three significant digits of ``like``."""
    if value < 60:
        return f"{_significant(3)(value, min(like, 60))}s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"


def _signed_duration(value: float, like: float) -> str:
    return f"{'-' if value < 0 else '+'}{_duration(abs(value), abs(like))}"


def _significant(digits: int) -> Format:
    """Decimals that show ``digits`` significant ones of ``like``; digits before the point all stay."""

    def fmt(value: float, like: float) -> str:
        magnitude = math.floor(math.log10(abs(like))) if like else digits
        return f"{value:,.{max(0, digits - 1 - magnitude)}f}"

    return fmt


def _count(value: float, like: float) -> str:
    """A whole number, or one decimal where a mean over seeds is not whole."""
    return f"{value:,.0f}" if float(value).is_integer() and float(like).is_integer() else f"{value:,.1f}"


_INF = math.inf

METRICS: dict[str, Metric] = {
    "auc": Metric("AUC", "", "higher", 0.5, _fixed(4)),
    "logloss": Metric("Logloss", "", "lower", _INF, _fixed(4)),
    "tt_ratio": Metric("TT", "", "lower", _INF, _fixed(4), clock="training"),
    "pt_s": Metric("PT", "s", "lower", _INF, _significant(4), clock="training"),
    "ct_s": Metric("CT", "s", "lower", _INF, _significant(4), clock="training"),
    "tt_s": Metric("TT", "s", "lower", _INF, _significant(4), clock="training"),
    "it_s": Metric("IT", "s", "lower", _INF, _significant(4), clock="inference"),
    "epochs": Metric("Epochs", "", None, _INF, _count, counted=True),
    "n_kept": Metric("Fields", "", None, _INF, _count, counted=True),
    "network_params": Metric("Network parameters", "", "lower", _INF, _count, counted=True),
    "embedding_params": Metric("Embedding parameters", "", "lower", _INF, _count, counted=True),
    "embedding_bytes": Metric("Embedding size", "MiB", "lower", _INF, _significant(4), scale=2**20, counted=True),
    "kept_bytes": Metric("Kept values", "MiB", "lower", _INF, _significant(4), scale=2**20, counted=True),
    "flops_per_row": Metric("Operations", "MFLOP/row", "lower", _INF, _significant(4), scale=1e6, counted=True),
    "peak_mem_bytes": Metric("Peak memory", "MiB", "lower", _INF, _significant(4), scale=2**20),
    "aukc": Metric("AUKC", "", "higher", 0.0, _fixed(4)),
    "nogueira": Metric("Φ", "", None, 0.0, _signed(2)),
    "nogueira_low": Metric("from", "", None, 0.0, _signed(2)),
    "nogueira_high": Metric("to", "", None, 0.0, _signed(2)),
    "seed_spearman": Metric("ρ", "", None, 0.0, _signed(2)),
    "seed_kendall": Metric("τ-b", "", None, 0.0, _signed(2)),
    "kendall": Metric("τ-b", "", None, 0.0, _signed(2)),
    "spearman": Metric("ρ", "", None, 0.0, _signed(2)),
    "total_rows": Metric("Total", "", None, _INF, _count, counted=True),
    "train_rows": Metric("Training", "", None, _INF, _count, counted=True),
    "valid_rows": Metric("Validation", "", None, _INF, _count, counted=True),
    "test_rows": Metric("Test", "", None, _INF, _count, counted=True),
    "pretrain_rows": Metric("Pretraining", "", None, _INF, _count, counted=True),
    "n_fields": Metric("Fields", "", None, _INF, _count, counted=True),
    "vocabulary_rows": Metric("Vocabulary", "", None, _INF, _count, counted=True),
    "positives": Metric("Positives", "", None, _INF, _count, counted=True),
    "positive_share": Metric("Positives", "%", None, _INF, _fixed(2)),
    "precision_at_k": Metric("Precision at K", "", "higher", 0.0, _fixed(2)),
    "main_recall": Metric("Main fields kept", "", None, 0.0, _fixed(2)),
    "interaction_recall": Metric("Interaction fields kept", "", None, 0.0, _fixed(2)),
    "attainable_auc_share": Metric("Attainable AUC", "", "higher", 0.0, _fixed(2)),
    "tt": Metric("TT", "", "lower", _INF, _duration, key="tt_s", duration=True, clock="training"),
    "auc_paper": Metric("paper", "", None, 0.5, _fixed(4)),
    "auc_gap": Metric("difference", "", None, 0.0, _signed(4)),
    "logloss_paper": Metric("paper", "", None, _INF, _fixed(4)),
    "logloss_gap": Metric("difference", "", None, _INF, _signed(4)),
    "tt_ratio_paper": Metric("paper", "", None, _INF, _fixed(4)),
    "tt_ratio_gap": Metric("difference", "", None, _INF, _signed(4)),
    "tt_paper": Metric("paper", "", None, _INF, _duration),
    "tt_gap": Metric("difference", "", None, _INF, _signed_duration),
    "gain": Metric("Gain", "", None, 0.0, _signed(4)),
    "gain_low": Metric("from", "", None, 0.0, _signed(4)),
    "gain_high": Metric("to", "", None, 0.0, _signed(4)),
    "gain_p": Metric("p", "", None, 1.0, _p),
    "gain_wilcoxon_p": Metric("Wilcoxon p", "", None, 1.0, _p),
    "lead": Metric("Lead", "", None, 0.0, _signed(4)),
    "lead_low": Metric("from", "", None, 0.0, _signed(4)),
    "lead_high": Metric("to", "", None, 0.0, _signed(4)),
    "lead_p": Metric("p", "", None, 1.0, _p),
    "lead_wilcoxon_p": Metric("Wilcoxon p", "", None, 1.0, _p),
    "score_cardinality_corr": Metric("Score ~ log values", "", None, _INF, _fixed(2)),
}
"""Every metric by its column: a key of the record, or a quantity derived from records."""
