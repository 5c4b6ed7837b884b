"""Precision and compilation: off by default, scoped to the backbone, kept through surgery, restored afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench import plugins
from bench.engine.arithmetic import PLAIN, Arithmetic, compile_ahead, matmul_precision
from bench.engine.clock import COMPILE, Clock
from bench.identity import config_hash
from bench.rows.rows import batch_sizes
from bench.run.cell import run_cell
from bench.run.job import Job


class Probe(nn.Module):
    """A backbone that says in which type its products are made."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        made: Tensor = self.layer(e.flatten(1)).squeeze(1)
        self.seen.append(made.dtype)
        return made


def test_bf16_is_for_the_backbone_and_its_logits_leave_in_float32() -> None:
    probe, e = Probe(), torch.randn(5, 3, 2)
    plain, low = PLAIN.score(probe, e, None), Arithmetic(bf16=True).score(probe, e, None)
    assert probe.seen == [torch.float32, torch.bfloat16]
    assert plain.dtype == low.dtype == torch.float32
    assert 0 < float((plain - low).detach().abs().max()) < 0.1  # bfloat16 has 8 bits


def test_the_precision_of_products_is_restored_even_after_an_error() -> None:
    with pytest.raises(KeyError), matmul_precision("medium"):
        assert torch.get_float32_matmul_precision() == "medium"
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("medium")
    try:
        with matmul_precision("bf16"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("option", [{"precision": "medium"}, {"optimizer": "lazy-adam"}, {"compile": True}], ids=str)
def test_an_option_is_part_of_the_identity(make_job: Callable[..., Job], option: dict[str, object]) -> None:
    job = make_job("no-selection")
    other = replace(job, profile=replace(job.profile, **option))  # type: ignore[arg-type]
    assert config_hash(job.identity) != config_hash(other.identity)


def test_a_cell_runs_in_the_precision_of_its_profile(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        "bench.run.cell._run", lambda job, work: seen.append(torch.get_float32_matmul_precision()) or {}
    )
    job = make_job("no-selection")
    run_cell(replace(job, profile=replace(job.profile, precision="medium")))
    assert seen == ["medium"]


def test_bf16_cells_differ_from_float32_ones_and_reach_about_the_same(make_job: Callable[..., Job]) -> None:
    job = make_job("no-selection")
    full, low = (run_cell(replace(job, profile=replace(job.profile, precision=p))) for p in ("highest", "bf16"))
    assert full.status == low.status == "ok"
    assert full.auc is not None and low.auc is not None
    assert full.auc != low.auc
    assert abs(full.auc - low.auc) < 0.02


def test_surgery_keeps_the_arithmetic(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def note(module: nn.Module, **settings: object) -> None:
        compiled.append(module)

    monkeypatch.setattr(nn.Module, "compile", note)
    job = make_job("no-selection")
    profile = replace(job.profile, precision="bf16", compile=True)
    model = replace(job, profile=profile).context(Clock(job.device)).model()
    assert model.arithmetic == Arithmetic(bf16=True, compile=True)
    cut, folded = model.prune([0, 2]), model.fold()
    restricted = model.restrict(job.data.train).model
    assert {cut.arithmetic, folded.arithmetic, restricted.arithmetic} == {model.arithmetic}
    assert compiled == [model.backbone, cut.backbone, folded.backbone, model.backbone]


@pytest.mark.parametrize(("rows", "size", "expected"), [(10, 4, {4, 2}), (8, 4, {4}), (3, 4, {3}), (0, 4, set())])
def test_batch_sizes(rows: int, size: int, expected: set[int]) -> None:
    assert batch_sizes(rows, size) == expected == {len(part) for part in torch.arange(rows).split(size) if len(part)}


def test_compiling_ahead_meets_every_shape_and_leaves_the_model_as_it_was(make_job: Callable[..., Job]) -> None:
    job = make_job("no-selection")
    model = job.context(Clock(job.device)).model().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: list[tuple[int, bool, bool]] = []
    model.backbone.register_forward_hook(
        lambda module, args, out: seen.append((len(out), module.training, torch.is_grad_enabled()))
    )
    compile_ahead(model, {4, 2}, {3})
    assert seen == [(4, True, True), (2, True, True), (3, False, False)]
    assert not model.backbone.training
    assert all(param.grad is None for param in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_compilation_counts_as_its_own_time(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr("bench.engine.clock.now", lambda device: float(next(ticks)))
    monkeypatch.setattr(nn.Module, "compile", lambda self, **settings: None)
    job = make_job("no-selection")
    record = run_cell(replace(job, profile=replace(job.profile, compile=True), warmed={job.backbone.label}))
    assert record.status == "ok", record.traceback
    phases = record.phases
    inner = phases[f"train/{COMPILE}"]
    assert inner > 0
    assert record.compile_s == inner
    assert record.ct_s == phases["train"] - inner
    assert record.tt_s == pytest.approx(record.pt_s + record.ct_s)  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # of torch's own compiler
def test_a_compiled_cell_gives_the_same_result_to_rounding(make_job: Callable[..., Job]) -> None:
    job = make_job("light-fmp")
    plain, compiled = (run_cell(replace(job, profile=replace(job.profile, compile=c))) for c in (False, True))
    assert compiled.status == "ok", compiled.traceback
    assert compiled.kept_fields == plain.kept_fields
    assert compiled.auc == pytest.approx(plain.auc, abs=1e-3)
    assert compiled.compile_s is not None
    assert compiled.compile_s > 0


@pytest.mark.parametrize("name", plugins.backbones().names())
def test_every_backbone_scores_and_learns_under_bf16(make_job: Callable[..., Job], name: str) -> None:
    job = make_job("no-selection", backbone=f"{name}[mlp=8]" if name not in ("logistic", "fm") else name)
    model = job.context(Clock(job.device)).model().eval()
    with torch.no_grad():
        for param in model.parameters():
            param.uniform_(0.1, 0.2)  # of one sign: nothing cancels, and relative errors only add up
    batch = next(job.data.train.slices(64))
    made = []
    for arithmetic in (PLAIN, Arithmetic(bf16=True)):
        model.arithmetic = arithmetic
        logits = model(batch)
        grads = torch.autograd.grad(logits.square().sum(), model.network_parameters())
        made.append([logits.detach(), *grads])
    for plain, low in zip(*made, strict=True):
        assert low.dtype == plain.dtype == torch.float32
        error = float((plain - low).norm() / plain.norm().clamp_min(1e-12))
        assert error < 12 * 2**-8  # a dozen numbers rounded to 8 bits on the longest way, sums in float32
