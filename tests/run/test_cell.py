from __future__ import annotations

import dataclasses
import gc
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from bench import plugins
from bench.api import CTRModel, FitLog, Rows, Selection, Trained
from bench.engine.evaluate import predict
from bench.method import Method
from bench.records import CellRecord
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.job import Job

MakeJob = Callable[..., Job]


class Spy(Method[Any]):
    """Keeps what the harness hands out, for tests to look at."""

    calls: dict[str, Any]

    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        Spy.calls = {"ctx": ctx, "train": train, "held": selection_rows}
        scores = np.arange(ctx.schema.n_fields, dtype=float) % 3  # ties
        return Selection(scores=scores, used_rows=train.index[:50])

    def train(self, ctx: Any, train: Rows, valid: Rows, selection: Selection) -> Trained:
        trained = super().train(ctx, train, valid, selection)
        Spy.calls |= {"final_train": train, "valid": valid, "selection": selection, "trained": trained}
        return trained

    def columns(self, model: CTRModel, selection: Selection) -> dict[str, float]:
        return {"rows_in_table": float(len(model.table.weight))}


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    """Stands in for every method."""
    monkeypatch.setattr(plugins.methods(), "load", lambda name: Spy)
    return Spy


def spied(make_job: MakeJob, spy: type[Spy], **changes: Any) -> tuple[Job, CellRecord]:
    job = make_job("no-selection", **changes)
    entry = replace(job.method.entry, granularity="field", scores="select")
    tau = changes.get("tau", 0.5)
    job = replace(job, cell=replace(job.cell, tau=tau), method=replace(job.method, entry=entry, budget="field"))
    return job, run_cell(job)


def test_a_good_cell_s_record(make_job: MakeJob, spy: type[Spy]) -> None:
    job, record = spied(make_job, spy, tau=0.25)
    assert (record.status, record.reason, record.traceback) == ("ok", None, None)
    calls, data = spy.calls, job.data
    # scores 0 1 2 0 1 2 0 1: six of eight stay; 2, 5 then 1, 4, 7 then the first 0; three zeros share the cut
    assert record.kept_fields == [0, 1, 2, 4, 5, 7]
    assert record.tie_count == 3
    assert record.field_scores == [0, 1, 2, 0, 1, 2, 0, 1]
    assert record.field_names == list(data.schema.names)
    model = calls["trained"].model
    assert model.kept == (0, 1, 2, 4, 5, 7)
    p = torch.sigmoid(predict(model, data.test).double()).numpy()
    labels = data.test.labels.numpy()
    assert record.auc == pytest.approx(roc_auc_score(labels, p), abs=1e-12)
    assert record.logloss == pytest.approx(log_loss(labels, p), abs=1e-9)
    rate = labels.mean(dtype=np.float64)
    assert record.base_logloss == pytest.approx(log_loss(labels, np.full(len(labels), rate)), abs=1e-9)
    rows = int(sum(data.schema.cardinalities[[0, 1, 2, 4, 5, 7]]))
    assert (record.embedding_rows, record.embedding_params) == (rows, rows * 8)
    assert record.embedding_bytes == rows * 8 * 4
    assert record.network_params == 6 * 8 * 8 + 8 + 8 + 1  # MLP of 48 inputs, 8 hidden units, one output
    assert record.flops_per_row == 2 * (6 * 8 * 8 + 8)
    assert record.selection is not None
    assert record.selection["rows_in_table"] == rows
    assert record.n_rows_used == len(data.train)
    assert record.it_rows == len(data.test)
    assert record.valid_auc == pytest.approx(
        roc_auc_score(data.valid.labels.numpy(), predict(model, data.valid).numpy()), abs=1e-12
    )
    assert (record.epochs, record.optimizer, record.resumed, record.peak_mem_bytes) == (2, "adam", False, None)
    assert record.split_rows == {"train": 960, "valid": 120, "test": 120}
    assert (record.tau, record.seed, record.config_hash) == (0.25, 0, job.hash)


def test_the_times_of_a_record_add_up(make_job: MakeJob, spy: type[Spy]) -> None:
    _, record = spied(make_job, spy)
    phases = record.phases
    assert record.tt_s == record.pt_s + record.ct_s
    assert record.pt_s == phases["select"]
    assert record.ct_s == phases["train"]
    assert 0 < record.surgery_s == phases["train/surgery"] < record.ct_s
    assert 0 < record.ct_best_s <= record.ct_s
    assert 0 < record.ct_epoch_s < record.ct_s
    assert record.it_row_p99_s >= record.it_row_p50_s > 0
    assert phases["untracked"] >= 0
    outer = sum(seconds for name, seconds in phases.items() if "/" not in name and name not in ("total", "untracked"))
    assert outer + phases["untracked"] == pytest.approx(phases["total"])


def test_selection_sees_a_stratified_holdout_and_training_gets_it_back(make_job: MakeJob, spy: type[Spy]) -> None:
    job, record = spied(make_job, spy)
    assert record.status == "ok", record.traceback
    data, calls = job.data, spy.calls
    train, held = calls["train"].index.tolist(), calls["held"].index.tolist()
    assert len(held) == 96  # a tenth of 960
    assert sorted(train + held) == sorted(data.train.index.tolist())
    assert float(calls["held"].labels.sum()) == round(96 * data.train.positive_rate)
    used = calls["selection"].used_rows.tolist()
    assert sorted(calls["final_train"].index.tolist() + used) == sorted(data.train.index.tolist())
    assert torch.equal(calls["valid"].index, data.valid.index)
    spied(make_job, spy, seed=1)
    assert sorted(calls["held"].index.tolist()) != sorted(spy.calls["held"].index.tolist())


def test_sel_split_valid_shows_the_validation_split_to_the_selection(make_job: MakeJob, spy: type[Spy]) -> None:
    job = make_job("no-selection[sel_split=valid]")
    assert run_cell(job).params["sel_split"] == "valid"
    assert torch.equal(spy.calls["held"].index, job.data.valid.index)
    assert torch.equal(spy.calls["train"].index, job.data.train.index)


def reachable(*roots: object) -> Iterator[object]:
    """Everything that can be got at from ``roots`` without going through modules and the names of functions."""
    seen: set[int] = set()
    queue = list(roots)
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type):
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, types.FunctionType):
            queue += [item.__closure__, item.__defaults__, item.__kwdefaults__]
        else:
            queue += gc.get_referents(item)


def found_in(item: object) -> np.ndarray | None:
    if isinstance(item, torch.Tensor):
        return item.detach().cpu().numpy()
    return item if isinstance(item, np.ndarray) else None


@pytest.fixture
def marked(make_job: MakeJob) -> Job:
    """A job whose test rows carry numbers that occur nowhere else."""
    job = make_job("no-selection")
    n = len(job.data.test)
    test = replace(job.data.test, labels=torch.full((n,), 0.123), index=torch.arange(n) + 10**9)
    return replace(job, data=replace(job.data, test=test, test_truth=np.full(n, 0.456, np.float32)))


def sees_the_test_split(job: Job, *roots: object) -> bool:
    test = job.data.test
    storages = {tensor.untyped_storage().data_ptr() for tensor in (test.ids, test.labels, test.index)}
    for item in reachable(*roots):
        if isinstance(item, torch.Tensor) and item.untyped_storage().data_ptr() in storages and item.numel():
            return True
        values = found_in(item)
        if values is not None and values.size and values.dtype.kind in "if":
            strange = np.isin(values.astype(np.float64), [float(np.float32(0.123)), float(np.float32(0.456))])
            if strange.any() or (values >= 10**9).any():
                return True
    return False


def test_the_search_for_the_test_split_finds_it(marked: Job) -> None:
    hidden = {"a": [(lambda: marked.data.test.ids)]}
    assert sees_the_test_split(marked, hidden)
    assert sees_the_test_split(marked, types.SimpleNamespace(x=marked.data.test.labels[3:].clone()))
    assert sees_the_test_split(marked, types.SimpleNamespace(x=marked.data.test_truth))
    assert not sees_the_test_split(marked, marked.data.train, marked.data.valid, marked.data.schema)


def test_a_method_cannot_reach_the_test_split(marked: Job, spy: type[Spy]) -> None:
    run_cell(marked)
    calls = spy.calls
    assert not sees_the_test_split(marked, calls["ctx"], calls["train"], calls["held"])
    assert not sees_the_test_split(marked, calls["final_train"], calls["valid"], calls["trained"].log)


def test_select_is_not_shown_the_validation_split_unless_asked(make_job: MakeJob, spy: type[Spy]) -> None:
    job, _ = spied(make_job, spy)
    shown = [spy.calls[name].index for name in ("train", "held")]
    assert not torch.isin(job.data.valid.index, torch.cat(shown)).any()
    storage = job.data.valid.ids.untyped_storage().data_ptr()
    tensors = [item for item in reachable(spy.calls["ctx"]) if isinstance(item, torch.Tensor) and item.numel()]
    assert all(tensor.untyped_storage().data_ptr() != storage for tensor in tensors)


def test_a_test_auc_hardly_above_chance_or_too_good_is_flagged(make_job: MakeJob, spy: type[Spy]) -> None:
    job, _ = spied(make_job, spy, tau=0.625)  # 2 and 5, then 1: of the scores 0 1 2 0 1 2 0 1, three tie
    logits = predict(spy.calls["trained"].model, job.data.test)
    above = (logits > logits.median()).float()
    records = [
        run_cell(replace(job, data=replace(job.data, test=replace(job.data.test, labels=labels))))
        for labels in (above, 1 - above)
    ]
    assert [record.auc for record in records] == [1.0, 0.0]
    assert [record.notes.get("flags") for record in records] == [["HIGH-AUC", "TIES"], ["LOW-AUC", "TIES"]]
    assert [record.status for record in records] == ["ok", "ok"]


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("zoo-raises", "failed", "KeyError: 'no such thing'"),
        ("zoo-nan", "failed", "ValueError: field scores must be finite; fields [2, 5] have [nan, nan]"),
        (
            "zoo-short",
            "failed",
            "ValueError: select returned scores of shape (7,); wanted one for each of the 8 fields",
        ),
        ("zoo-hungry", "oom", "can't allocate memory"),
        ("zoo-broken", "failed", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("zoo-absent", "failed", "AttributeError: module 'zoo.animals' has no attribute 'Absent'"),
        ("zoo-leaks", "failed", "TypeError: Object of type Tensor is not JSON serializable"),
        (
            "zoo-exploding",
            "failed",
            "NonFiniteQualityError: test: AUC nan, Logloss nan: the scores of 120 of 120 rows are not",
        ),
    ],
)
def test_what_goes_wrong_becomes_status_reason_and_traceback(
    make_job: MakeJob, zoo_folder: Path, method: str, status: str, reason: str
) -> None:
    record = run_cell(make_job(method, epochs=1))
    assert record.status == status
    assert record.reason is not None
    assert reason in record.reason
    assert record.traceback is not None
    assert record.traceback.startswith("Traceback (most recent call last):")
    assert record.auc is None
    home = Path(__file__).resolve().parents[2]
    for folder in (home, zoo_folder, Path.home(), Path(torch.__file__).parent.parent):
        assert f'"{folder}' not in record.traceback


@pytest.mark.usefixtures("zoo")
def test_an_incompatible_cell_is_skipped_with_its_reason(make_job: MakeJob) -> None:
    record = run_cell(make_job("zoo-skips"))
    assert (record.status, record.reason, record.traceback, record.auc) == ("skipped", "not on Sundays", None, None)


class Carries(Spy):
    full: ClassVar[weakref.ref[CTRModel]]

    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        model = ctx.model()
        Carries.full = weakref.ref(model)
        return replace(super().select(ctx, train, selection_rows), start=model)


def test_the_uncut_model_is_gone_when_training_begins(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, gone = CellContext.fit, []

    def watched(ctx: CellContext[Any], model: CTRModel, *rest: Any, **plan: Any) -> FitLog:
        gc.collect()
        gone.append(Carries.full() is None)
        return fit(ctx, model, *rest, **plan)

    monkeypatch.setattr(CellContext, "fit", watched)
    monkeypatch.setattr(plugins.methods(), "load", lambda name: Carries)
    _, record = spied(make_job, Carries)
    assert (record.status, gone) == ("ok", [True]), record.traceback


class Declares(Spy):
    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        return replace(super().select(ctx, train, selection_rows), pretrain_rows=7)

    def train(self, ctx: Any, train: Rows, valid: Rows, selection: Selection) -> Trained:
        trained = super().train(ctx, train, valid, selection)
        assert trained.log is not None
        trained.log.warmup_s = 0.25
        return trained


class Names(Spy):
    """Says the same by the name of a phase, which the harness does not read."""

    def train(self, ctx: Any, train: Rows, valid: Rows, selection: Selection) -> Trained:
        ctx.fit(ctx.model(), train, None, name="warmup", epochs=1)
        return super().train(ctx, train, valid, selection)


@pytest.mark.parametrize(("kind", "rows", "seconds"), [(Declares, 7, 0.25), (Names, None, None)])
def test_a_pretraining_and_a_warm_up_are_what_the_method_declares(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, kind: type[Spy], rows: int | None, seconds: float | None
) -> None:
    monkeypatch.setattr(plugins.methods(), "load", lambda name: kind)
    _, record = spied(make_job, kind)
    assert record.status == "ok", record.traceback
    assert (record.notes.get("pretrain_rows"), record.warmup_s) == (rows, seconds)


class Silent(Spy):
    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        return Selection()


class Exits(Spy):
    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        raise SystemExit(3)


@pytest.mark.parametrize(("kind", "reason"), [(Silent, "neither scores nor kept fields"), (Exits, "SystemExit: 3")])
def test_a_method_that_returns_nothing_or_leaves_fails(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, kind: type[Spy], reason: str
) -> None:
    monkeypatch.setattr(plugins.methods(), "load", lambda name: kind)
    _, record = spied(make_job, kind)
    assert record.status == "failed"
    assert reason in str(record.reason)


class Chooses(Spy):
    kept: ClassVar[list[int]] = []

    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        return Selection(kept=self.kept)

    def train(self, ctx: Any, train: Rows, valid: Rows, selection: Selection) -> Trained:
        return Method.train(self, ctx, train, valid, selection)


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ([0, 2, 3, 7], None),
        ([0, 2, 3], "select kept 3 fields; a field budget keeps K = 4 of 8 at prune ratio 0.5"),
        ([0, 1, 2, 3, 4], "select kept 5 fields; a field budget keeps K = 4 of 8"),
        ([0, 2, 2, 3], "select kept fields [0, 2, 2, 3]; wanted increasing indices below 8"),
        ([3, 2, 1, 0], "wanted increasing indices"),
        ([0, 1, 2, 8], "wanted increasing indices below 8"),
        ([-1, 0, 1, 2], "wanted increasing indices below 8"),
    ],
)
def test_a_method_that_chooses_the_fields_itself_is_held_to_k(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, kept: list[int], reason: str | None
) -> None:
    monkeypatch.setattr(plugins.methods(), "load", lambda name: Chooses)
    monkeypatch.setattr(Chooses, "kept", kept)
    job = make_job("random-k")
    job = replace(job, method=replace(job.method, params=None))
    record = run_cell(job)
    assert (record.status, record.kept_fields) == (("failed", None) if reason else ("ok", kept)), record.traceback
    assert (reason or "") in (record.reason or "")
    native = run_cell(replace(job, method=replace(job.method, budget="native")))
    assert (native.status == "ok") is (reason is None or "increasing" not in reason)


def test_an_interruption_is_no_failure(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        raise KeyboardInterrupt

    monkeypatch.setattr("methods.no_selection.NoSelection.select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_cell(make_job("no-selection"))


def test_the_record_is_complete(make_job: MakeJob) -> None:
    record = run_cell(make_job("light-fmp"))
    optional = {"reason", "traceback", "compile_s", "warmup_s", "peak_mem_bytes", "git", "tuning", "tune_s", "line"}
    optional |= {"penalty", "disturbed", "timing", "pcoc", "ece", "predictions", "field_terms", "plugins"}
    optional |= {"weights", "it_csr_s", "match", "order", "origin"}  # of masked tables, rows held to others, …
    empty = {name for name, value in dataclasses.asdict(record).items() if value is None}
    assert empty <= optional | {"dataset_title", "penalty", "disturbed"}  # tests do not look at what else runs
    assert record.recovery is not None
    data = make_job("light-fmp").data
    best = roc_auc_score(data.test.labels.numpy(), data.test_truth)
    assert record.recovery["auc_truth"] == pytest.approx(best, abs=1e-12)
    assert record.recovery["attainable_auc_share"] == pytest.approx((record.auc - 0.5) / (best - 0.5))
