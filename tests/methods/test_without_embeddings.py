"""On a backbone of linear weights alone a method runs, or skips with a reason; it never fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from extras import where_installed

from bench import plugins
from bench.engine.clock import Clock
from bench.run.cell import run_cell
from bench.run.grid import expand
from bench.run.job import Job

SCALARS = "the method drops embedding scalars, and this backbone has linear weights only"
SKIPPING = {
    "optem": "the method chooses embedding sizes, and this backbone has linear weights only",
    "aefs": "the gate reads embeddings, and this backbone has linear weights only",
    "adafs": "the gate reads embeddings, and this backbone has linear weights only",
    **dict.fromkeys(("magnitude", "dsl", "sparserec"), SCALARS),
    "mvfs": "the gate reads embeddings, and this backbone has linear weights only",
    "fairfs": "importances are of embeddings, and this backbone has linear weights only",
    "group-lasso": "no layer of this backbone reads the embeddings as they are",
}
BUDGETS = ("optem[budget=field]", "optem[budget=exact]", "adafs[budget=field]", "mvfs[budget=field]")


@pytest.mark.parametrize("method", where_installed([*expand(["all"], plugins.methods()), *BUDGETS]))
def test_a_method_runs_without_embeddings_or_says_why_not(make_job: Callable[..., Job], method: str) -> None:
    record = run_cell(make_job(method, backbone="logistic", epochs=1))
    reason = SKIPPING.get(method.partition("[")[0])
    assert (record.status, record.reason) == ("skipped" if reason else "ok", reason), record.traceback


@pytest.mark.parametrize(("backbone", "dim"), [("logistic", 0), ("dnn[mlp=8]", 8), ("fm", 8)])
def test_the_context_knows_the_embedding_size(make_job: Callable[..., Job], backbone: str, dim: int) -> None:
    job = make_job("no-selection", backbone=backbone)
    ctx = job.context(Clock(job.device))
    assert ctx.dim == ctx.model().dim == dim
