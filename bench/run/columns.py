"""What a finished cell says of itself: the columns of its record, from selection, model and clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.budget import Kept
from bench.engine.clock import Clock
from bench.engine.evaluate import flops_per_row, inference_time, scored
from bench.engine.fast.memory import peak_rss
from bench.engine.fit import FitLog
from bench.engine.model import CTRModel
from bench.method import Selection
from bench.predictions import Predictions
from bench.rows.load import LoadedData
from bench.rows.residency import settle
from bench.rows.rows import Rows
from bench.run.context import SURGERY
from bench.stats import calibration, recovery


@dataclass
class Chosen:
    """A selection with the harness's part: which fields stay, and what the decision cost."""

    selection: Selection
    ranked: Kept | None
    """The harness's choice from the scores; None where the method kept everything or chose itself."""
    pt_s: float
    shared: bool
    """Whether the ranking serves other cells too."""
    rows_seen: int


def quality_columns(model: CTRModel, test: Rows, **clocking: Any) -> tuple[dict[str, Any], torch.Tensor]:
    """Quality and inference time on the test split, which goes to the model's device if it fits there by now.

    ``clocking`` goes to ``inference_time``. Behind the columns come the logits that the quality is of, [N].

    Raises:
        NonFiniteQualityError: the model's scores are not finite.
    """
    test = settle(test)
    quality, logits = scored(model, test, "test")
    timing = inference_time(model, test, **clocking)
    p = test.positive_rate
    columns = {
        "auc": quality.auc,
        "logloss": quality.logloss,
        "base_logloss": -(p * math.log(p) + (1 - p) * math.log(1 - p)) if 0 < p < 1 else 0.0,
        "it_s": timing.total_s,
        "it_rows": len(test),
        "it_row_p50_s": timing.row_p50_s,
        "it_row_p99_s": timing.row_p99_s,
    }
    return columns, logits


def prediction_columns(store: Predictions, config_hash: str, data: LoadedData, logits: torch.Tensor) -> dict[str, Any]:
    """Keep the test logits [N] of a cell, and say what is kept and how calibrated they are.

    Raises:
        StorageError: they cannot be written.
    """
    scores, labels = logits.float().cpu().numpy(), data.test.labels.cpu().numpy()
    return {
        "pcoc": calibration.pcoc(scores, labels),
        "ece": calibration.ece(scores, labels),
        "predictions": store.stage(config_hash, data.label, scores, labels),
    }


def selection_columns(data: LoadedData, chosen: Chosen, scores: np.ndarray | None) -> dict[str, Any]:
    """What was kept and why; ``scores`` [F] or None."""
    schema = data.schema
    details: dict[str, Any] = {}
    if scores is not None:
        details["score_cardinality_corr"] = recovery.spearman(scores, np.log(schema.cardinalities))
    return {
        "field_names": list(schema.names),
        "kept_fields": chosen.selection.kept_fields(schema.n_fields),
        "field_scores": None if scores is None else scores.tolist(),
        "tie_count": None if chosen.ranked is None else chosen.ranked.ties,
        "selection": details,
        "n_rows_used": chosen.rows_seen,
    }


def recovery_columns(
    data: LoadedData, kept: list[int], scores: np.ndarray | None, auc: float
) -> dict[str, float] | None:
    """Agreement with the known truth of generated data; of real data with junk, its share; None for other data."""
    if data.roles is None:
        return None
    schema = data.schema
    if data.test_truth is None:
        return {"junk_share": recovery.junk_share(schema.names, data.roles, kept)}
    found = recovery.recovery(schema.names, data.roles, kept, scores, schema.cardinalities)
    labels = data.test.labels.cpu().numpy()
    return found | recovery.attainable_auc_share(auc, data.test_truth, labels)


def size_columns(model: CTRModel, test: Rows) -> dict[str, Any]:
    """Parameters, bytes and operations of the evaluated model; linear weights count with the table."""
    weight = model.table.weight
    return {
        "network_params": sum(p.numel() for p in model.parameters()) - weight.numel(),
        "embedding_rows": len(weight),
        "embedding_params": weight.numel(),
        "embedding_bytes": weight.numel() * weight.element_size(),
        "flops_per_row": flops_per_row(model, test),
    }


def time_columns(clock: Clock, chosen: Chosen, log: FitLog | None) -> dict[str, Any]:
    """Seconds by the protocol's names; ``tt_s`` is ``pt_s`` + ``ct_s`` by definition."""
    phases = clock.report()
    compile_s = clock.compiling("train")
    pt_s, ct_s = chosen.pt_s, phases["train"] - compile_s
    compile_s += clock.compiling("select")
    columns: dict[str, Any] = {
        "pt_s": pt_s,
        "pt_shared": chosen.shared,
        "ct_s": ct_s,
        "tt_s": pt_s + ct_s,
        "surgery_s": phases.get(f"train/{SURGERY}", 0.0),
        "compile_s": compile_s or None,
        "phases": phases,
    }
    if log is not None:
        before_first_epoch = ct_s - log.total_s
        columns |= {
            "warmup_s": log.warmup_s,
            "ct_best_s": before_first_epoch + log.best_s,
            "ct_epoch_s": log.epoch_s,
            "valid_auc": log.valid_auc,
            "epochs": log.epochs,
            "best_epoch": log.best_epoch,
            "optimizer": log.optimizer,
        }
    return columns


def peak_memory(device: torch.device, own_process: bool) -> int | None:
    """Peak bytes of the cell: the device's, or the process's where the cell had one of its own."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_rss() if own_process else None
