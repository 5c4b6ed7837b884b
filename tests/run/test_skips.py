"""Which cells a forecast says will be skipped: those that the run skips, for its reasons; it builds no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import TINY, Watcher

from bench.engine.clock import Clock
from bench.profiles import SMALL
from bench.run import estimate as planning
from bench.run import sweep
from bench.run.config import RunConfig
from bench.run.context import CellContext
from bench.run.estimate import Pace
from bench.run.forecast import forecasts
from bench.run.forecast_table import forecast_table
from bench.run.job import Job
from bench.run.session import Session, resolve
from bench.run.skips import foreseen
from methods.optem import OptEm

HELD = "random-k[budget=match:optem]"
METHODS = ("no-selection", "random-k", "optem", "group-lasso", "shark[finetune=true]", HELD)
NO_VECTORS = "the method chooses embedding sizes, and this backbone has linear weights only"


@pytest.fixture
def make_session(data_dir: Path, tmp_path: Path) -> Callable[..., Session]:
    def make(**settings: Any) -> Session:
        plain = RunConfig(
            datasets=(TINY,),
            methods=METHODS,
            backbones=("logistic",),
            seeds=2,
            epochs=1,
            prune_ratio=(0.5,),
            data_dir=data_dir,
            out=tmp_path / "run",
        )
        return Session(resolve(replace(plain, **settings)))

    return make


def test_what_is_foreseen_is_what_the_run_skips(make_session: Callable[..., Session]) -> None:
    session = make_session()
    told = foreseen(session, session.plan.cells())
    records = dict(zip(session.plan.cells(), sweep.run(session.plan, Watcher()), strict=True))
    assert told == {cell: record.reason for cell, record in records.items() if record.status == "skipped"}
    assert {cell.method for cell in told} == {"optem", "group-lasso", HELD}
    again = make_session(rerun="always")
    assert foreseen(again, again.plan.cells()) == told


def test_no_model_is_built_to_find_it_out(
    make_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(backbones=("logistic", "dnn[mlp=8]", "fm"))
    monkeypatch.setattr(CellContext, "_table", None)
    found = {(cell.backbone, cell.method) for cell in foreseen(session, session.plan.cells())}
    assert found == {
        *(("logistic", method) for method in ("optem", "group-lasso", HELD)),
        *(("fm", method) for method in ("group-lasso", "shark[finetune=true]")),
    }


def test_what_is_held_to_a_row_that_has_not_run_is_skipped_where_it_does_not_fit_itself(
    make_session: Callable[..., Session],
) -> None:
    session = make_session(
        methods=("random-k", "optem[budget=match:random-k]", "lasso[budget=match:random-k]"), seeds=1
    )
    assert foreseen(session, session.plan.cells()) == {
        cell: NO_VECTORS for cell in session.plan.cells() if cell.method.startswith("optem")
    }


def test_a_plug_in_that_fails_when_it_is_asked_is_left_to_its_cells(
    make_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: OptEm, ctx: Any) -> str | None:
        raise RuntimeError("no")

    monkeypatch.setattr(OptEm, "skip", fail)
    session = make_session(methods=("optem", "group-lasso"))
    assert {cell.method for cell in foreseen(session, session.plan.cells())} == {"group-lasso"}


def test_a_forecast_counts_no_cell_that_will_be_skipped_and_says_why(make_session: Callable[..., Session]) -> None:
    ok = ("no-selection", "random-k", "shark[finetune=true]")
    settings: dict[str, Any] = {"tune": "lr", "timing": 3}
    whole, fitting = make_session(**settings), make_session(methods=ok, **settings)
    found, less = (
        [*forecasts(one, [Pace(size, 10.0, 2.0) for size in planning.sizes(one)])] for one in (whole, fitting)
    )
    for one in (*found, *less):
        assert (one.cells, one.trials, one.repeats) == (3 * 2, 3 * len(SMALL.lr_grid), 3 * 2 * 3)
    assert (found[0].seconds, found[0].timing) == (less[0].seconds, less[0].timing)
    assert (len(found[0].skips), len(less[0].skips)) == (3 * 2, 0)
    text, (place,) = forecast_table(found), whole.plan.cards
    said = " ".join(text.split())
    assert (
        f" 6 cells will be skipped, and count nowhere above: - {place}, logistic, optem (2 cells): {NO_VECTORS} - "
        in said
    )
    assert max(map(len, text.partition("nowhere above:")[2].splitlines())) <= 120
    assert "will be skipped" not in forecast_table(less)
    assert "\n1 cell will be skipped, and counts nowhere above:\n- " in forecast_table(
        [replace(found[0], skips={cell: reason}) for cell, reason in [*found[0].skips.items()][:1]]
    )


def test_memory_is_not_said_of_methods_that_will_be_skipped(make_session: Callable[..., Session]) -> None:
    session = make_session(methods=("no-selection", "dsl"), backbones=("logistic", "dnn[mlp=8]"))
    assert [one.beside and one.beside[0] for one in planning.sizes(session)] == [None, "dsl"]


def test_the_backbone_without_a_table_is_that_of_a_model(make_job: Callable[..., Job]) -> None:
    job = make_job("no-selection", backbone="dnn[mlp=8]")
    ctx = job.context(Clock(job.device))
    alone, whole = ctx.layers(3), ctx.model([0, 2, 5]).backbone
    assert len(alone.state_dict()) > 2
    torch.testing.assert_close(alone.state_dict(), whole.state_dict(), rtol=0, atol=0)
