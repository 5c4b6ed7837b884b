"""The tables whose every number is a metric of cells: one entry a kind, and in it one entry a column."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.stats.calibration import BINS
from bench.tables.field_terms import kept_cost
from bench.tables.metrics import (
    AUC,
    CT_S,
    EMBEDDING_BYTES,
    IT_S,
    LOGLOSS,
    N_KEPT,
    PT_S,
    TT_RATIO,
    TT_S,
    Cell,
    Measure,
    Metric,
    count,
    signed,
    significant,
)

__all__ = ["GAIN", "KINDS", "TableKind"]


@dataclass(frozen=True)
class TableKind:
    """What a table shows: numbers of every method, with their notes, in every format."""

    name: str
    """Of its files, and on the command line."""
    columns: tuple[Metric, ...]
    """Of a data set, from left to right."""
    heading: str
    """Begins the title of every table."""
    section: str
    """Heading of the page's section and of the file in Markdown."""
    meaning: str = ""
    """What the columns mean, beside what each says itself."""
    by_dataset: bool = True
    """Whether every data set has a table of its own, or all stand side by side."""
    needs: Callable[[Cell], bool] | None = None
    """What one successful cell must have, or there is no table."""
    level: str | None = None
    """What the methods of its rows select, beside rows of cells that have what it ``needs``, those held to the bytes of
    another row, and baselines; None: the table is of all rows."""


def _kept_bytes(cell: Cell, baseline: Cell | None) -> float | None:
    """Of what a mask leaves; of the whole table where nothing is masked."""
    left: float | None = (cell["selection"] or {}).get("kept_bytes", cell["embedding_bytes"])
    return left


def _recovered(key: str) -> Measure:
    return lambda cell, baseline: (cell["recovery"] or {}).get(key)


def _ece_by_chance(cell: Cell, baseline: Cell | None) -> float | None:
    """√(2 p (1 - p) / π n), the mean deviation of a normal rate in a bin of n rows, at the rate p of all rows."""
    rows, positives = cell["split_rows"].get("test"), (cell["positives"] or {}).get("test")
    if cell["ece"] is None or not rows or positives is None:
        return None
    rate = positives / rows
    return math.sqrt(2 * rate * (1 - rate) * BINS / (math.pi * rows))


def _junk_of_real_data(cell: Cell, baseline: Cell | None) -> float | None:
    """Of data whose true fields are known, the table of recovery has it."""
    found: dict[str, float | None] = cell["recovery"] or {}
    return None if "precision_at_k" in found else found.get("junk_share")


_OVERALL = TableKind(
    "overall",
    (
        *(AUC, LOGLOSS, TT_RATIO),
        Metric(
            "junk_share", "Junk among kept", "lower", 2, _junk_of_real_data, optional=True, of_data=True,
            meaning="Junk among kept: share of the kept fields that were put there to mislead, or twice.",
        ),
    ),
    "Results",
    "Results",
    by_dataset=False,
)  # fmt: skip
_EFFICIENCY = TableKind(
    "efficiency",
    (
        *(PT_S, CT_S, TT_S, IT_S),
        Metric("epochs", "Epochs", None, count, counted=True),
        Metric(
            "flops_per_row", "Operations", "lower", significant(4),
            unit="MFLOP/row", scale=1e6, counted=True, optional=True,
        ),
        Metric(
            "peak_mem_bytes", "Peak memory", "lower", significant(4), unit="MiB", scale=2**20, optional=True
        ),
    ),
    "Cost",
    "Cost",
    "PT: pretraining; CT: continued training; TT: both; IT: one pass over the test rows. Operations: of a forward "
    "pass. Peak memory: on a CPU known with --isolate only.",
)  # fmt: skip
_SIZE = TableKind(
    "size",
    (
        N_KEPT,
        Metric("network_params", "Network parameters", "lower", count, counted=True, optional=True),
        Metric("embedding_params", "Embedding parameters", "lower", count, counted=True),
        EMBEDDING_BYTES,
        Metric(
            "kept_bytes", "Kept values", "lower", significant(4), _kept_bytes,
            unit="MiB", scale=2**20, counted=True, optional=True, unless_equal=EMBEDDING_BYTES,
        ),
        Metric(
            "kept_cost", "Cost kept", "lower", 1, kept_cost, unit="%", counted=True, optional=True,
            meaning="Cost kept: share of what the card says that all fields cost.",
        ),
    ),
    "Size",
    "Size",
    "Kept values: bytes of what a mask leaves of the embeddings, which keep their place all the same.",
)  # fmt: skip
_RECOVERY = TableKind(
    "recovery",
    (
        Metric(
            "precision_at_k", "Precision at K", "higher", 2, _recovered("precision_at_k"),
            by_lot=_recovered("precision_by_lot"),
        ),
        Metric("main_recall", "Main fields kept", None, 2, _recovered("main_recall")),
        Metric("interaction_recall", "Interaction fields kept", None, 2, _recovered("interaction_recall")),
        Metric(
            "junk_share", "Junk among kept", "lower", 2, _recovered("junk_share"), optional=True,
            meaning="Junk among kept: share of the kept fields that were put there to mislead.",
        ),
        Metric("attainable_auc_share", "Attainable AUC", "higher", 2, _recovered("attainable_auc_share")),
        Metric("score_cardinality_corr", "Score ~ log values", None, 2, _recovered("score_cardinality_corr")),
    ),
    "Recovery of the true fields",
    "Recovery",
    "Precision at K: true fields among the K highest scores, K being their number, a field and its copies counted "
    "once. Attainable AUC: share of what the true probabilities reach above 0.5. Score ~ log values: rank "
    "correlation of scores with vocabulary size.",
    needs=lambda cell: "precision_at_k" in (cell["recovery"] or {}),
)  # fmt: skip

_CALIBRATION = TableKind(
    "calibration",
    (
        LOGLOSS,
        Metric("pcoc", "PCOC", None, 4),
        Metric("ece", "ECE", "lower", 4),
        Metric("ece_by_chance", "ECE by chance", None, 4, _ece_by_chance, counted=True),
    ),
    "Calibration",
    "Calibration",
    "PCOC: mean prediction over the rate of positives; 1 is calibrated. ECE: expected calibration error over 20 bins "
    "of equal mass. ECE by chance: about what so few test rows give a model without any error.",
    needs=lambda cell: cell["ece"] is not None,
)


def _masked(key: str) -> Measure:
    return lambda cell, baseline: (cell["weights"] or {}).get(key)


def _dense_bytes(cell: Cell, baseline: Cell | None) -> float | None:
    """Of a masked table and, to compare with, of the baseline's."""
    held: float | None = cell["embedding_bytes"] if cell["is_baseline"] else _masked("dense_bytes")(cell, baseline)
    return held


def _active(cell: Cell, baseline: Cell | None) -> float | None:
    """Embedding scalars that are kept: by a mask on weights or on values, or in the rows of the fields that stay."""
    masked: float | None = (cell["weights"] or {}).get("active", (cell["selection"] or {}).get("kept_scalars"))
    rows, dim = cell["embedding_rows"], cell["profile"].get("dim")
    return rows * dim if masked is None and rows is not None and dim is not None else masked


_MIB: dict[str, Any] = {"unit": "MiB", "scale": 2**20, "counted": True}
_WEIGHTS = TableKind(
    "weights",
    (
        Metric("active_scalars", "Active scalars", None, count, _active, counted=True),
        Metric("empty_rows", "Empty rows", None, count, _masked("empty_rows"), counted=True),
        Metric("dense_bytes", "Dense", "lower", significant(4), _dense_bytes, **_MIB),
        Metric("csr_bytes", "CSR", "lower", significant(4), _masked("csr_bytes"), **_MIB),
        Metric("bitmask_bytes", "Bit mask", "lower", significant(4), _masked("bitmask_bytes"), **_MIB),
        IT_S,
        Metric(
            "it_csr_s", "IT, CSR", "lower", significant(4),
            unit="ms", scale=1e-3, clock="inference", phases=("it",),
        ),
        Metric("mask_updates", "Moves", None, count, _masked("updates"), counted=True),
        Metric(
            "mask_update_s", "Mask updates", "lower", significant(3), _masked("mask_update_s"),
            unit="s", clock="training", phases=("ct",),
        ),
    ),
    "Masked weights",
    "Masked weights",
    "Active scalars: coordinates of embeddings that are kept; the prune ratio is a share of them where single ones go. "
    "Bytes of the table, linear weights included: with its "
    "zeros, without them in CSR (value, column, row ends), and with a bit a scalar. IT: with the zeros, as in all "
    "tables. Moves: how often the mask was changed while it was trained. Mask updates: the time of that, part of CT.",
    needs=lambda cell: bool(cell["weights"]),
    level="weight",
)  # fmt: skip

KINDS: dict[str, TableKind] = {
    kind.name: kind for kind in (_OVERALL, _EFFICIENCY, _SIZE, _WEIGHTS, _RECOVERY, _CALIBRATION)
}
"""By name, in the order of the page. One more ``Metric`` in ``columns`` is one more column, everywhere; ``TT`` in the
place of ``TT_RATIO`` shows training time as time."""


def _gain(cell: Cell, baseline: Cell | None) -> float | None:
    """Of cells that drop fields."""
    kept = cell["kept_fields"]
    whole = kept is None or len(kept) == len(cell["field_names"])
    if whole or baseline is None or baseline["auc"] is None or cell["auc"] is None:
        return None
    return float(cell["auc"] - baseline["auc"])


GAIN = TableKind(
    "gain",
    (
        Metric(
            "auc_gain", "Gain in AUC", "higher", signed(4), _gain,
            origin="each seed's AUC less that of the method that keeps every field",
        ),
    ),
    "Gain in AUC of methods that drop fields",
    "Gain",
)  # fmt: skip
"""Shown by no report, which has paired tests; what is said of several runs together rests on it."""
