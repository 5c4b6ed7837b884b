"""What trainings are reckoned to take, by those that were seen and the operations of the networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from bench.advising.watch import START_S, Watch, work_of
from bench.engine.backbone import Backbone
from bench.run.grid import Cell
from bench.run.job import Job
from bench.run.progress import Silence


class NeedsNumbers(Backbone[None]):
    """Looks at values, which nothing can do without numbers; with one field it need not."""

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        scores = e.sum((1, 2))
        return scores if e.shape[1] == 1 else scores.clamp(max=float(scores.detach().max()))


CELL = Cell("d", "dnn", "no-selection", None, 0)


def note(watch: Watch, n_fields: int, seconds: float, pt_s: float = 0.0) -> None:
    record: Any = SimpleNamespace(field_names=["f"] * 9, kept_fields=list(range(n_fields)), pt_s=pt_s)
    watch.finish(CELL, record, seconds)


def test_a_training_is_reckoned_by_those_with_the_next_larger_number_of_fields() -> None:
    watch = Watch(Silence(), lambda n_fields: 10.0 * n_fields)
    watch.expect(8, 41.0)
    assert watch.cell_s(8) == 41.0
    assert watch.cell_s(2) == pytest.approx(START_S + 40.0 * 2 / 8)
    note(watch, 8, 82.0, pt_s=1.0)
    watch.expect(8, 7.0)  # one was computed meanwhile
    assert watch.cell_s(4) == pytest.approx(START_S + ((41.0 + 81.0) / 2 - START_S) * 4 / 8)
    note(watch, 4, 21.0)
    assert watch.cell_s(4) == 21.0
    assert watch.cell_s(3) == pytest.approx(START_S + 20.0 * 3 / 4)
    assert watch.cell_s(5) == pytest.approx(START_S + 60.0 * 5 / 8)
    note(watch, 1, 0.2)  # less than a cell takes beside its training
    assert watch.cell_s(1) == START_S


def test_work_is_what_the_network_of_so_many_fields_does(make_job: Callable[..., Job]) -> None:
    job = make_job("no-selection", backbone="dnn[mlp=8]")
    work, dim = work_of(job), job.profile.dim
    for n_fields in (1, 8):  # forward, and the slopes of weights and inputs: 2 operations a product each
        assert work(n_fields) == 3 * 2 * (n_fields * dim * 8 + 8)
    broken = replace(job.backbone, error="Traceback")
    assert work_of(replace(job, backbone=broken))(3) is None


def test_a_backbone_that_does_not_run_without_numbers_takes_as_long_with_fewer_fields(
    make_job: Callable[..., Job],
) -> None:
    job = make_job("no-selection", backbone="dnn")
    watch = Watch(Silence(), work_of(replace(job, backbone=replace(job.backbone, cls=NeedsNumbers, params=None))))
    watch.expect(8, 41.0)
    assert [watch.cell_s(n_fields) for n_fields in (8, 3, 1)] == [41.0, 41.0, 41.0]
