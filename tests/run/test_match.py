"""Cells that are held to the embedding bytes of another row: their budgets, order and identity, and partners lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from cell_records import TINY, Watcher

from bench.api import Selection
from bench.budget import Budget, Terms
from bench.engine.evaluate import inference_time
from bench.errors import ConfigError
from bench.lease import Leases, Owner
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.explain import Wanted, explain
from bench.rows.load import LoadedData
from bench.run import columns, schedule, weights
from bench.run.again import resolve_again
from bench.run.config import RunConfig
from bench.run.grid import Cell, alone, cells, choose_method
from bench.run.job import Job
from bench.run.match import Match, kept_scalars
from bench.run.selections import ranking_key
from bench.run.session import resolve
from bench.run.sweep import run
from bench.run.weights import check_weights
from bench.tables.overall import overall_tables
from methods.random_k import RandomK
from tests.engine.fit_rig import DIM, make_model, make_rows

THERE = Owner("there", "another boot", 7, "then")
DSL, CUT = "dsl[budget=match:random-k]", "random-k[budget=match:magnitude]"
VALUES = "optfs[budget=match:random-k,rewind_epoch=0,search_epochs=2]"


@pytest.fixture
def config(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    def once(model: Any, rows: Any, *given: Any, **clocking: Any) -> Any:
        return inference_time(model, rows, 1, 0.0, 1)

    monkeypatch.setattr(columns, "inference_time", once)
    monkeypatch.setattr(weights, "inference_time", once)
    return RunConfig(
        datasets=(TINY,),
        methods=(DSL, "no-selection", "random-k"),
        backbones=("dnn[mlp=8]",),
        prune_ratio=(0.5,),
        seeds=1,
        epochs=1,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def by_label(records: list[CellRecord]) -> dict[str, CellRecord]:
    return {record.label: record for record in records}


def test_what_a_row_is_held_to_is_read_from_its_budget() -> None:
    found = choose_method("dsl[budget=match:lasso[variant=sound,folds=3],last_share=0.1]")
    assert found.matches == "lasso[folds=3,variant=sound]"
    assert found.label == f"dsl[budget=match:{found.matches},last_share=0.1]"
    assert (found.budget, found.rule, found.uses_tau) == ("exact", f"match:{found.matches}", True)
    assert choose_method("lasso[budget=match:optfs]").budget == "field"
    assert choose_method("adafs[budget=match:lasso]").budget == "field", "it drops values of single rows only"
    assert choose_method("optem[budget=match:lasso]").budget == "exact"
    unmoved = choose_method("lasso[budget=match:optfs]")
    assert not unmoved.uses_tau, "neither the ranking of Lasso nor the native rule of OptFS knows the prune ratio"
    assert choose_method("light-fmp[budget=match:optfs]").uses_tau, "its gates do"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dsl[budget=match:]", "dsl: budget=match: names no row; write budget=match:LABEL"),
        ("dsl[budget=match:lasos]", "dsl: budget=match:lasos: method 'lasos' is unknown. Did you mean 'lasso'"),
        ("lasso[budget=match:lasso]", "the row is held to itself; name another one, or leave out budget=match:lasso"),
        ("dsl[budget=match:dsl[budget=exact]]", "the row is held to itself"),
        ("lasso[budget=match:dsl[budget=match:pca]]", "held to another one itself; name that one, 'pca'"),
        ("no-selection[budget=match:lasso]", "the method keeps all fields and all of their embeddings"),
        ("lasso[budget=bytes]", "choose one of field, or match:LABEL with the label of another row"),
    ],
)
def test_a_row_that_cannot_be_held_to_another_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        choose_method(text)
    assert message in str(refused.value)


def test_the_same_method_in_another_unit_or_with_other_parameters_is_another_row() -> None:
    assert choose_method("optfs[budget=match:optfs[budget=field]]").matches == "optfs[budget=field]"
    assert choose_method("lasso[budget=match:lasso,variant=group]").matches == "lasso"


def test_the_other_row_must_be_part_of_the_run(config: RunConfig) -> None:
    with pytest.raises(
        ConfigError, match=r"'random-k', whose bytes it is held to, is not part of this run; add it to --m"
    ):
        resolve(replace(config, methods=(DSL, "no-selection")))
    with pytest.raises(ConfigError, match="there are no cells of 'random-k' here"):
        alone(choose_method(DSL))


def test_cells_come_after_those_that_they_are_held_to_and_follow_their_prune_ratios() -> None:
    methods = [choose_method(text) for text in (DSL, "random-k", "lasso[budget=match:optfs]", "optfs")]
    found = list(cells(["d"], ["b"], methods, [0.25, 0.5], seeds=2))
    for cell in found:
        other = cell.held_to(next(method for method in methods if method.label == cell.method))
        assert other is None or other in found[: found.index(cell)]
    assert [cell.tau for cell in found if cell.method == DSL] == [0.25, 0.5] * 2
    assert [cell.tau for cell in found if cell.method.startswith("lasso")] == [None] * 2
    assert Cell("d", "b", DSL, 0.5, 1).held_to(methods[0]) == Cell("d", "b", "random-k", 0.5, 1)
    assert Cell("d", "b", "lasso", 0.5, 1).held_to(methods[2]) == Cell("d", "b", "optfs", None, 1)


def record(**found: Any) -> CellRecord:
    return CellRecord(dataset="d", backbone="b", method="m", label="m", seed=0, config_hash="h", **found)


def test_embedding_scalars_are_rows_times_their_size_or_what_a_mask_leaves_without_linear_weights() -> None:
    plain = record(status="ok", embedding_rows=10, embedding_params=10 * (4 + 1), vocabulary_rows=25)
    assert kept_scalars(plain, linear=True) == (40, 4)
    assert kept_scalars(replace(plain, selection={"kept_scalars": 7.0}), linear=True) == (7, 4)
    match = Match.with_cell("m", "h", plain, decided=True, linear=True)
    assert (match.scalars, match.of, match.share, match.lacks) == (40, 100, Fraction(2, 5), None)
    assert Match.read(match.recorded()) == match


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (None, "it is held to the bytes of m, and that cell has not run"),
        (record(status="failed", reason="broken"), "that cell is failed: broken"),
        (record(status="skipped", reason="no ranking"), "that cell is skipped: no ranking"),
        (
            record(status="ok", embedding_rows=10, embedding_params=10, vocabulary_rows=25),
            "this backbone has linear weights only",
        ),
    ],
)
def test_nothing_is_kept_where_the_other_cell_has_no_embeddings(other: CellRecord | None, why: str) -> None:
    match = Match.with_cell("m", "h", other, decided=True, linear=True)
    assert match.scalars is None
    assert match.lacks is not None and why in match.lacks


def test_fields_fill_the_bytes_of_the_other_row_by_their_scores() -> None:
    within = Budget.within(Fraction(3, 8), "other", 0.5, Terms(locked=(3,)), [4, 6, 3, 1, 2])
    assert within.limit == 6
    # field 3 is locked, and 5 rows are left: field 0 takes 4 of them, and no other has as little as 1
    assert within.choose([5, 4, 3, 0, 1]).fields == (0, 3)
    assert within.choose([1, 9, 3, 0, 2]).fields == (2, 3, 4)
    small = Budget.within(Fraction(1, 32), "other", 0.5, Terms(), [4, 6, 3, 1, 2])
    assert str(small.impossible("abcde")).startswith("other keeps 0.5 of 16 rows of embeddings, and none of the fields")


def test_a_method_asks_how_many_of_its_units_stay(make_job: Callable[..., Job]) -> None:
    v = make_job("dsl").data.schema.vocabulary_rows
    match = Match("random-k", "h", scalars=5 * v - 1, of=8 * v)
    ctx = replace(make_job("dsl"), match=match).context(cast(Any, None))
    assert (ctx.keeps(8 * v), ctx.keeps(v)) == (5 * v - 1, (5 * v - 1) // 8)
    plain = make_job("dsl", tau=0.3).context(cast(Any, None))
    assert plain.keeps(10 * v + 1) == 10 * v + 1 - math.floor(Fraction(3, 10) * (10 * v + 1))


def test_more_values_than_the_other_row_has_scalars_are_a_fault() -> None:
    model = make_model(make_rows(4).schema)
    v = model.schema.vocabulary_rows
    mask = torch.arange(v) < 5
    held = cast(Any, SimpleNamespace(budget="exact", matched=True, keeps=lambda n: 5 * DIM - 1))
    with pytest.raises(ValueError, match=f"kept {5 * DIM} embedding scalars; the budget is {5 * DIM - 1}.*ctx.keeps"):
        check_weights(model, Selection(value_mask=mask), held)
    check_weights(model, Selection(value_mask=torch.arange(v) < 4), held)
    sizes = torch.full((model.schema.n_fields,), DIM - 1)
    check_weights(model, Selection(value_mask=mask, dims=sizes), held)


def test_an_identity_holds_the_other_cell_and_a_ranking_serves_both(make_job: Callable[..., Job]) -> None:
    plain = make_job("random-k")
    method = choose_method("random-k[budget=match:magnitude]")
    held = replace(plain, method=method, match=Match("magnitude", "one", 5, 10))
    assert held.identity == plain.identity | {"match": "one"}
    assert replace(held, match=Match("elsewhere", "one", 6, 10)).hash == held.hash
    assert replace(held, match=Match("magnitude", "two", 5, 10)).hash != held.hash
    assert ranking_key(method, held.identity) == ranking_key(plain.method, plain.identity) is not None
    assert not replace(held, match=Match("magnitude", "one", decided=False)).decided


def test_rows_keep_what_the_other_row_keeps(config: RunConfig, tiny: LoadedData) -> None:
    methods = (CUT, DSL, VALUES, "no-selection", "random-k", "magnitude")
    records = run(resolve(replace(config, methods=methods)), Watcher())
    found = by_label(records)
    assert {record.status for record in records} == {"ok"}, [record.reason for record in records]
    fields, masked = found["random-k"], found["magnitude"]
    dim = fields.profile["dim"]
    assert fields.embedding_rows is not None and masked.weights is not None
    assert found[DSL].match is not None
    scalars = fields.embedding_rows * dim
    assert (found[DSL].weights or {})["active"] == scalars == found[DSL].match["scalars"]
    assert found[DSL].match["config_hash"] == fields.config_hash
    assert (found[VALUES].selection or {})["kept_values"] == scalars // dim
    limit, sizes = masked.weights["active"] // dim, tiny.schema.cardinalities
    left, kept = limit, []
    for place in np.argsort(-np.array(fields.field_scores, dtype=float), kind="stable"):
        if sizes[place] <= left:
            kept.append(int(place))
            left -= int(sizes[place])
    assert found[CUT].kept_fields == sorted(kept)
    assert found[CUT].embedding_rows == limit - left
    assert found[CUT].budget == "match:magnitude"
    said = explain(RunFolder(config.out), Wanted("table2", fields.dataset, DSL, "auc"))
    assert f"embedding scalars: at most {scalars:,} of {found[DSL].match['of']:,}, as in cells/" in said
    notes = [note.text for table in overall_tables(to_frame(records)) for note in table.notes]
    assert any(f"({scalars:,} of {found[DSL].match['of']:,})" in text for text in notes), notes


def test_a_result_stands_as_long_as_the_other_cell_keeps_as_much(config: RunConfig) -> None:
    first = by_label(run(resolve(config), Watcher()))
    watcher = Watcher()
    run(resolve(config), watcher)
    assert (watcher.planned, watcher.started) == ((3, 3), [])
    folder = RunFolder(config.out)
    folder.write(replace(first["random-k"], embedding_rows=10, embedding_params=10 * first["random-k"].profile["dim"]))
    watcher = Watcher()
    now = by_label(run(resolve(config), watcher))
    assert [cell.method for cell in watcher.started] == [DSL]
    assert now[DSL].config_hash == first[DSL].config_hash and now[DSL].weights is not None
    assert now[DSL].weights["active"] == 10 * first["random-k"].profile["dim"]
    assert len(folder.record_files()) == 3
    folder.cell_file(first["random-k"].config_hash).unlink()
    watcher = Watcher()
    restored = by_label(run(resolve(config), watcher))
    assert [cell.method for cell in watcher.started] == ["random-k", DSL]
    assert (restored[DSL].auc, restored[DSL].match) == (first[DSL].auc, first[DSL].match)
    again = resolve_again(folder, restored[DSL], None, None, print)  # by its record alone
    assert again.cell.match == Match.read(first[DSL].match or {})


def test_without_the_other_cell_s_result_it_is_skipped_until_there_is_one(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> Any:
        raise ValueError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(RandomK, "select", broken)
        found = by_label(run(resolve(config), Watcher()))
    assert found["random-k"].status == "failed"
    assert (found[DSL].status, found[DSL].reason) == (
        "skipped",
        "it is held to the bytes of random-k, and that cell is failed: ValueError: no luck",
    )
    watcher = Watcher()
    mended = by_label(run(resolve(config), watcher))
    assert [cell.method for cell in watcher.started] == ["random-k", DSL]
    assert (mended[DSL].status, mended[DSL].config_hash) == ("ok", found[DSL].config_hash)


def test_a_cell_waits_for_the_process_that_is_at_the_other_one(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has the partner, and writes its result while this one waits."""
    elsewhere = by_label(run(resolve(replace(config, out=config.out.with_name("elsewhere"))), Watcher()))["random-k"]
    folder = RunFolder(config.out)
    lease = folder.cells / f"{folder.cell_file(elsewhere.config_hash).stem}.lease"
    real = Leases.take

    def take(self: Leases, path: Path) -> Any:
        return THERE if path == lease and not finished else real(self, path)

    finished: list[bool] = []

    def wait(seconds: float) -> None:
        finished.append(True)
        folder.write(elsewhere)

    monkeypatch.setattr(Leases, "take", take)
    monkeypatch.setattr(schedule.time, "sleep", wait)
    watcher = Watcher()
    found = by_label(run(resolve(config), watcher))
    assert [cell.method for cell in watcher.started] == ["no-selection", DSL]
    assert watcher.waits == ["waiting for another process: there, pid 7, 2 cells"]
    assert found[DSL].match is not None and found[DSL].match["config_hash"] == elsewhere.config_hash


def test_learning_rates_are_tried_under_the_other_cell_s_bytes(config: RunConfig) -> None:
    tuned = replace(config, tune="lr", set=("lr_grid=1e-3,1e-2",))
    watcher = Watcher()
    found = by_label(run(resolve(tuned), watcher))
    assert sum(DSL in text for text in watcher.trials) == 2
    assert found[DSL].status == "ok" and found[DSL].weights is not None
    assert found[DSL].weights["active"] == found["random-k"].embedding_params
