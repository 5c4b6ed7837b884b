"""Everything a plug-in imports, and nothing else needs importing.

Importing this module loads no torch: names that need it resolve on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError, UserError
from bench.method import Context, Method, NoParams, Selection, Trained
from bench.params import Content, Only, Range, Search, split_outside
from bench.profiles import Profile
from bench.registry import Axis, BackboneEntry, Entry, MethodEntry

if TYPE_CHECKING:
    from bench.budget import n_keep
    from bench.data.schema import Field, Schema
    from bench.engine.arithmetic import uncompiled
    from bench.engine.backbone import Backbone, UndrawnLinear, field_columns, slice_columns
    from bench.engine.evaluate import auc, predict
    from bench.engine.fast.linear import linear
    from bench.engine.fast.twice import goes_on
    from bench.engine.fit import FitLog, FitPlan, Group, Step
    from bench.engine.model import CTRModel, Gate
    from bench.engine.table import EmbeddingTable
    from bench.engine.weight_mask import GradientSums
    from bench.rows.rows import Batch, Rows, stratified_sample
    from bench.stats.association import corrected_v
    from bench.stats.consensus import mean_ranks, ranks_of, reciprocal_ranks
    from bench.stats.paired import holm

_LAZY = {
    "Batch": "bench.rows.rows",
    "Rows": "bench.rows.rows",
    "stratified_sample": "bench.rows.rows",
    "Field": "bench.data.schema",
    "Schema": "bench.data.schema",
    "uncompiled": "bench.engine.arithmetic",
    "Backbone": "bench.engine.backbone",
    "UndrawnLinear": "bench.engine.backbone",
    "field_columns": "bench.engine.backbone",
    "slice_columns": "bench.engine.backbone",
    "FitLog": "bench.engine.fit",
    "FitPlan": "bench.engine.fit",
    "Group": "bench.engine.fit",
    "Step": "bench.engine.fit",
    "linear": "bench.engine.fast.linear",
    "goes_on": "bench.engine.fast.twice",
    "CTRModel": "bench.engine.model",
    "Gate": "bench.engine.model",
    "EmbeddingTable": "bench.engine.table",
    "GradientSums": "bench.engine.weight_mask",
    "auc": "bench.engine.evaluate",
    "predict": "bench.engine.evaluate",
    "n_keep": "bench.budget",
    "mean_ranks": "bench.stats.consensus",
    "ranks_of": "bench.stats.consensus",
    "reciprocal_ranks": "bench.stats.consensus",
    "holm": "bench.stats.paired",
    "corrected_v": "bench.stats.association",
}

__all__ = [
    "Axis",
    "Backbone",
    "BackboneEntry",
    "Batch",
    "CTRModel",
    "ConfigError",
    "Content",
    "Context",
    "EmbeddingTable",
    "Entry",
    "Field",
    "FitLog",
    "FitPlan",
    "Gate",
    "GradientSums",
    "Group",
    "Method",
    "MethodEntry",
    "NoParams",
    "Only",
    "Profile",
    "Range",
    "Rows",
    "Schema",
    "Search",
    "Selection",
    "Step",
    "Trained",
    "UndrawnLinear",
    "UserError",
    "auc",
    "corrected_v",
    "field_columns",
    "goes_on",
    "holm",
    "linear",
    "mean_ranks",
    "n_keep",
    "predict",
    "ranks_of",
    "reciprocal_ranks",
    "slice_columns",
    "split_outside",
    "stratified_sample",
    "uncompiled",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
