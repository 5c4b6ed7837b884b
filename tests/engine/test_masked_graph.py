"""A masked step is captured as a graph, and goes on as one while its mask moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from recorded_graph import RecordedGraphs

from bench.engine import update, weight_mask
from bench.engine.fast import gradient, graph, linear
from bench.run.cell import run_cell
from bench.run.job import Job

MOVING = "update_every=1,mask_epochs=9"


@pytest.mark.parametrize("method", [f"dsl[{MOVING}]", f"sparserec[{MOVING}]"])
def test_masked_cells_run_as_graphs_and_come_to_the_same(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    for module in (gradient, update, weight_mask):
        monkeypatch.setattr(module, "on_cpu", lambda tensor: False)  # as on a device
    monkeypatch.setattr(linear, "_suits", lambda layer, x: False)  # as on a GPU; a recording sees torch's kernels only
    monkeypatch.setattr(graph, "backend", RecordedGraphs)
    events: list[dict[str, Any]] = []
    captured = run_cell(make_job(method, epochs=4, emit=events.append))
    monkeypatch.setattr(graph, "WARM_UP", 10**9)
    eager = run_cell(make_job(method, epochs=4))
    assert captured.status == eager.status == "ok", captured.traceback
    assert (captured.auc, captured.logloss) == (eager.auc, eager.logloss)
    assert captured.weights is not None
    assert eager.weights is not None
    assert captured.weights["by_field"] == eager.weights["by_field"]
    assert captured.weights["updates"] == 11
    assert "mask_apply_s" not in captured.weights
    assert set(captured.notes["execution"].values()) == {"model: captured"}
    assert [event for event in events if event["event"] == "warning"] == []
