from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.identity import config_hash
from bench.records import CellRecord

ORDER = {"keep-all": 0, "coin": 1, "alpha": 2, "beta": 3}


def _cell(method: str = "keep-all", seed: int = 0, **changes: Any) -> CellRecord:
    """A successful cell of ``method``; ``pt_s`` and ``ct_s`` make up ``tt_s`` unless it is given."""
    values: dict[str, Any] = {
        "dataset": "clicks",
        "dataset_revision": "1",
        "split_rows": {"train": 800, "valid": 100, "test": 100},
        "backbone": "net",
        "method": method,
        "method_title": method.title(),
        "method_order": ORDER.get(method, len(ORDER)),
        "label": method,
        "is_baseline": method == "keep-all",
        "profile": {"name": "small", "max_epochs": 10},
        "budget": "field",
        "tau": None if method == "keep-all" else 0.5,
        "seed": seed,
        "status": "ok",
        "auc": 0.75,
        "logloss": 0.5,
        "pt_s": 1.0,
        "ct_s": 3.0,
        "it_s": 0.25,
        "epochs": 3.0,
        "field_names": ["f1", "f2"],
        "kept_fields": [0, 1],
        "embedding_params": 1000,
        "embedding_bytes": 4000,
        "optimizer": "adam",
        **changes,
    }
    if values["status"] != "ok":
        values = {key: value for key, value in values.items() if key not in ("auc", "logloss", "pt_s", "ct_s")}
    else:
        values.setdefault("tt_s", values["pt_s"] + values["ct_s"])
    identity = {key: value for key, value in values.items() if key in _IDENTITY}
    return CellRecord(**values, config_hash=config_hash(identity))


_IDENTITY = ("dataset", "backbone", "label", "tau", "seed", "split_rows", "profile", "budget", "params")


@pytest.fixture(scope="session")
def cell() -> Callable[..., CellRecord]:
    return _cell
