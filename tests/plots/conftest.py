"""Made-up cells of one data set and backbone, and the place where figures find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.identity import config_hash
from bench.records import CellRecord, to_frame
from bench.tables.cells import records_of
from bench.tables.places import Place, places
from bench.tables.titles import Titles

ORDER = {"keep": 0, "slim": 1, "lean": 2, "bold": 3}


def _record(method: str, seed: int = 0, tau: float | None = None, **changes: Any) -> CellRecord:
    """A successful cell of 8 fields that keeps the first share 1 - τ of them."""
    kept = 8 - int(8 * (tau or 0.0))
    values: dict[str, Any] = {
        "dataset": "clicks", "backbone": "net", "method": method, "method_title": method.title(),
        "method_order": ORDER[method], "label": method, "is_baseline": method == "keep", "tau": tau, "seed": seed,
        "budget": "field", "status": "ok", "auc": 0.75, "logloss": 0.5, "pt_s": 0.0 if method == "keep" else 1.0,
        "ct_s": 4.0, "it_s": 0.5, "field_names": [f"f{i}" for i in range(8)], "kept_fields": list(range(kept)),
        "embedding_bytes": kept * 2**20, "optimizer": "adam", **changes,
    }  # fmt: skip
    if values["status"] != "ok":
        for key in ("auc", "logloss", "pt_s", "ct_s", "it_s", "kept_fields"):
            values[key] = None
    elif "tt_s" not in values:
        values["tt_s"] = values["pt_s"] + values["ct_s"]
    identity = {key: values.get(key) for key in ("dataset", "backbone", "label", "tau", "seed", "budget", "params")}
    return CellRecord(**values, config_hash=config_hash(identity))


def _places(*cells: CellRecord) -> list[Place]:
    return places(records_of(to_frame(cells)), Titles())


@pytest.fixture
def record() -> Callable[..., CellRecord]:
    return _record


@pytest.fixture
def places_of() -> Callable[..., list[Place]]:
    return _places


@pytest.fixture
def place_of() -> Callable[..., Place]:
    def only(*cells: CellRecord) -> Place:
        (place,) = _places(*cells)
        return place

    return only
