"""The estimate before a run: its numbers are those of the data, the model and the grid."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import pytest
import torch

from bench.data.prepare.ready import make_ready
from bench.engine.fast import memory
from bench.engine.footprint import _Live, footprint
from bench.plugins import backbones
from bench.profiles import resolve_profile
from bench.run import estimate as planning
from bench.run.config import RunConfig
from bench.run.job import resolve_backbone
from bench.run.session import Session, resolve

SPEC = "planted[rows=2000,fields=12]"
PLAN = ("run", "--plan", "--datasets", SPEC, "--methods", "no-selection", "--backbones", "pnn", "dnn")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    config = RunConfig(
        datasets=(SPEC,),
        methods=("no-selection", "random-k"),
        backbones=("dnn[dropout=0]", "xdeepfm"),
        seeds=3,
        prune_ratio=(0.25, 0.5),
        data_dir=tmp_path / "data",
        out=tmp_path / "run",
        threads=1,
    )
    plan = resolve(config)
    make_ready(plan.cards.values(), config.data_dir, pytest.fail)
    return Session(plan)


def test_sizes_say_what_the_grid_holds_without_reading_a_row(session, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Session, "data", lambda self, label: pytest.fail("rows were read"))
        sizes = planning.sizes(session)
    data = session.data(next(iter(session.plan.cards)))
    assert [one.cell.backbone for one in sizes] == ["dnn[dropout=0]", "xdeepfm"]
    for one in sizes:
        assert one.cells == 3 * (1 + 2)  # no-selection once a seed, random-k at two prune ratios
        assert (one.rows, one.fields) == ({"train": 1600, "valid": 200, "test": 200}, 12)
        # 12 int32 ids, a float32 label and an int64 row number a row
        assert one.data_bytes == 2000 * (12 * 4 + 4 + 8)
        assert one.vocabulary == data.schema.vocabulary_rows
    dnn = sizes[0]
    dim, batch, (h1, h2, h3) = 8, 256, (400, 400, 200)
    network = (12 * dim + 1) * h1 + (h1 + 1) * h2 + (h2 + 1) * h3 + h3 + 1
    assert dnn.model_bytes == 5 * 4 * (network + dim * data.schema.vocabulary_rows)
    # kept for the backward pass: embeddings and the output of every hidden layer; and the gradient of the embeddings
    assert dnn.activation_bytes == 4 * batch * (2 * 12 * dim + h1 + h2 + h3)
    assert dnn.step_flops == 6 * batch * ((12 * dim) * h1 + h1 * h2 + h2 * h3 + h3)  # 2 a product; 3 products
    assert "1,600 / 200 / 200" in planning.size_table(sizes)
    assert not session.plan.config.out.exists()


def test_masks_over_weights_and_what_moves_them_are_said_beside_the_model(session, monkeypatch):
    assert [one.beside for one in planning.sizes(session)] == [None, None]
    assert "more while it trains" not in planning.size_table(planning.sizes(session))
    config = {**vars(session.plan.config), "methods": ("no-selection", "magnitude", "dsl[grace=false]")}
    (dnn, _) = planning.sizes(Session(resolve(RunConfig(**config))))
    assert dnn.beside == ("dsl[grace=false]", 24 * 8 * dnn.vocabulary)
    mib = 24 * 8 * dnn.vocabulary / 2**20
    assert f"dsl[grace=false] needs up to {mib:,.1f} MiB more while it trains" in planning.size_table([dnn])


def test_workers_of_a_cell_hold_as_much_each_and_divide_a_batch(session):
    config = session.plan.config
    single, _ = planning.sizes(session)
    assert single.together_bytes == single.needed_bytes
    assert "workers" not in planning.size_table([single])
    sizes = planning.sizes(Session(resolve(RunConfig(**{**vars(config), "workers_per_cell": 3}))))
    one = sizes[0]
    data, model, kept, passes = one.data_bytes, one.model_bytes, one.activation_bytes, one.pass_bytes
    assert (data, model, kept) == (single.data_bytes, single.model_bytes, single.activation_bytes)
    assert one.needed_bytes == data + model + kept
    assert one.together_bytes == 3 * (data + model) + kept
    assert one.held_bytes == 3 * (data + model + passes)
    assert dataclasses.replace(one, rows_in_memory=False).held_bytes == 3 * (model + passes)
    text = planning.size_table(sizes)
    assert "batch MiB    3 workers MiB\n" in text
    assert [line.split()[-1] for line in text.splitlines()[2:4]] == [f"{s.held_bytes / 2**20:,.1f}" for s in sizes]
    assert "data, model and batch are of one process. 3 workers: what the 3 processes of a cell hold" in text
    assert "in each worker: masks" in planning.size_table([dataclasses.replace(one, beside=("dsl", 2**20))])


@pytest.mark.parametrize(("executor", "sharing"), [("process", 2), ("slurm", 1), ("ray:4", 1)])
def test_workers_that_do_not_fit_together_are_named(session, executor, sharing):
    """One process fits, and is calibrated; on a cluster it is not this machine's memory that they share."""
    more = {"workers_per_cell": 2, "executor": executor}
    (one, _) = planning.sizes(Session(resolve(RunConfig(**{**vars(session.plan.config), **more}))))
    assert one.sharing == sharing
    tight = dataclasses.replace(one, free_bytes=one.needed_bytes)
    assert not tight.too_large
    text = planning.size_table([tight])
    gib = one.together_bytes / 2**30
    said = f"needs {gib:,.1f} GiB at least for 2 workers together, and {one.needed_bytes / 2**30:,.1f} GiB are free"
    assert (said in text) == (sharing == 2)
    assert ("a smaller backbone, or fewer workers." in text) == (sharing == 2)


def test_sizes_of_a_part_of_the_rows_are_those_of_its_own_vocabulary(session, monkeypatch):
    config = session.plan.config
    part = Session(resolve(RunConfig(**{**vars(config), "rows": 500})))
    with monkeypatch.context() as patch:
        patch.setattr(Session, "data", lambda self, label: pytest.fail("rows were loaded"))
        sizes = planning.sizes(part)
    schema = part.data(next(iter(part.plan.cards))).schema
    assert sum(sizes[0].rows.values()) == 500
    assert sizes[0].vocabulary == schema.vocabulary_rows < session.data(sizes[0].cell.dataset).schema.vocabulary_rows


@pytest.mark.parametrize("name", backbones().names())
def test_a_footprint_is_that_of_the_model_when_it_is_built(name):
    """Weights of a real model are as many; what it keeps of a batch is measured by the storages that stay alive."""
    n_fields, batch = 6, 32
    profile = resolve_profile("small", batch, {})
    choice = resolve_backbone(name, profile)
    found = footprint(choice.cls, n_fields, profile.dim, choice.params, batch)
    net = choice.cls(n_fields, profile.dim, choice.params)
    assert found.network_params == sum(p.numel() for p in net.parameters())
    e = torch.randn(batch, n_fields, net.dim, requires_grad=True)
    linear = torch.randn(batch, n_fields, requires_grad=True) if net.uses_linear else None
    kept: dict[int, int] = {e.data_ptr(): e.numel() * 4}
    alive = []

    def keep(tensor):
        alive.append(tensor.detach())
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    gc.collect()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(e, linear)
    weights = {p.data_ptr() for p in net.parameters()}
    measured = sum(size for place, size in kept.items() if place not in weights) + e.numel() * 4
    assert found.activation_bytes == measured


@pytest.mark.parametrize("name", ["dnn", "pnn", "dcnv2"])
def test_both_passes_hold_as_much_with_numbers_as_without(name):
    profile = resolve_profile("small", 32, {})
    choice = resolve_backbone(name, profile)
    found = footprint(choice.cls, 6, profile.dim, choice.params, 32)
    net = choice.cls(6, profile.dim, choice.params)
    e = torch.randn(32, 6, net.dim, requires_grad=True)
    linear = torch.randn(32, 6, requires_grad=True) if net.uses_linear else None
    with _Live() as live:
        net(e, linear).sum().backward()
    passes = live.peak_bytes + e.numel() * 4 - 4 * found.network_params
    assert found.pass_bytes == max(found.activation_bytes, passes)
    assert found.pass_bytes >= found.activation_bytes


def test_memory_is_shown_before_anything_is_calibrated(bench, monkeypatch, capsys):
    shown = []
    real = planning._step_s

    def step(job, watch):
        shown.append(capsys.readouterr().out)
        return real(job, watch)

    monkeypatch.setattr(planning, "_step_s", step)
    done = bench(*PLAN)
    assert done.code == 0
    assert len(shown) == 2 and "1,600 / 200 / 200" in shown[0] and "model MiB" in shown[0]
    assert "The whole run: " in done.out and "model MiB" not in done.out


def test_what_needs_more_than_is_free_is_named_and_not_calibrated(bench, monkeypatch):
    sizes = {}
    real = planning.sizes
    monkeypatch.setattr(planning, "sizes", lambda session: sizes.setdefault("found", real(session)))
    assert bench(*PLAN).code == 0
    pnn, dnn = sizes["found"]
    assert dnn.needed_bytes < pnn.needed_bytes
    monkeypatch.setattr(planning, "sizes", real)
    monkeypatch.setattr(planning, "free_memory", lambda: dnn.needed_bytes)
    done = bench(*PLAN)
    assert done.code == 0, done.err
    assert f"{SPEC.replace('rows=2000,fields=12', 'fields=12,rows=2000')}, pnn: needs 0.0 GiB at least" in done.out
    assert "pnn: not calibrated: it needs more memory than is free." in done.out
    rows = [line.split() for line in done.out.splitlines() if line.startswith("planted[")]
    assert [row[2] for row in rows[3:5]] == ["—", rows[4][2]] and float(rows[4][2]) > 0


def test_a_calibration_that_fails_leaves_the_others(bench, monkeypatch):
    real = planning._step_s

    def step(job, watch):
        if job.backbone.name == "pnn":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory\nfrom here\nand there")
        return real(job, watch)

    monkeypatch.setattr(planning, "_step_s", step)
    done = bench(*PLAN)
    assert (done.code, done.err) == (0, "")
    assert "pnn: not calibrated: RuntimeError: DefaultCPUAllocator: can't allocate memory." in done.out
    assert "dnn: not" not in done.out


def test_a_slow_calibration_ends_with_the_steps_it_has_done(session, monkeypatch):
    monkeypatch.setattr(planning, "CALIBRATION_S", 0.0)
    size = planning.sizes(session)[0]
    pace = planning.pace(session, size)
    assert pace.reason == "calibration stopped after 0 s, at step 1"
    assert pace.epoch_s is not None and pace.epoch_s > 0
    assert pace.valid_s == pytest.approx(pace.epoch_s / 3 * 200 / 1600)


def test_a_step_that_would_take_long_is_not_tried(session, monkeypatch):
    monkeypatch.setattr(planning, "_step_s", lambda job, watch: pytest.fail("a step was tried"))
    size = planning.sizes(session)[0]
    monkeypatch.setattr(planning, "rate", lambda device: size.step_flops / 60)
    pace = planning.pace(session, size)
    assert pace.reason == "not calibrated: by arithmetic a step takes 60 s or more"
    assert pace.epoch_s == pytest.approx(60 * 1600 / 256)


def test_a_backbone_that_cannot_be_reckoned_is_named_and_calibrated(bench, monkeypatch):
    def refuse(*args):
        raise NotImplementedError("no numbers here")

    monkeypatch.setattr(planning, "footprint", refuse)
    done = bench(*PLAN)
    assert done.code == 0
    assert "pnn: memory is not known (NotImplementedError: no numbers here)." in done.out
    assert "not calibrated" not in done.out


def test_free_memory_is_the_least_of_machine_and_container(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable: 500 kB\n")
    assert memory._account(tmp_path / "meminfo", "MemAvailable:") == 500 * 1024
    assert memory._account(tmp_path / "meminfo", "MemTotal:") == 900 * 1024
    assert memory._account(tmp_path / "none", "MemTotal:") is None
    for name, text in (("memory.max", "1000"), ("memory.current", "700"), ("memory.stat", "anon 5\ninactive_file 50")):
        (tmp_path / name).write_text(text)
    assert memory._left_in_group(tmp_path) == 350
    assert memory._limit(tmp_path) == 1000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_group(tmp_path) is None
    assert memory._limit(tmp_path) is None
