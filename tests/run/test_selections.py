from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import Selection
from bench.errors import DataError
from bench.method import Decision, HandOver, Method, Remarks
from bench.run.grid import choose_method
from bench.run.job import Job
from bench.run.selections import SelectionStore, is_shared, ranking_key, shared_key


def method(text: str) -> Method[Any]:
    choice = choose_method(text)
    made: Method[Any] = plugins.methods().load(choice.name)(choice.params, choice.entry)
    return made


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("random-k", True),
        ("random-k[carry_over=true]", False),
        ("light-fmp", False),
        ("no-selection", False),
        ("xgboost", True),
        ("lasso", True),
        ("pca", True),
        ("cardinality", True),
        ("lpfs", False),  # every cell searches the weights that it goes on with
        ("lpfs[start=fresh]", True),
        ("shark", True),
        ("shark[finetune=true]", False),
    ],
)
def test_a_ranking_is_shared_where_an_axis_does_not_change_it(text: str, shared: bool) -> None:
    assert is_shared(method(text)) is shared


def test_the_key_leaves_out_exactly_the_axes_that_do_not_matter(make_job: Callable[..., Job]) -> None:
    def key(text: str = "random-k", **changes: Any) -> str:
        return shared_key(make_job(text, **changes).identity, method(text))

    base = key()
    assert key(tau=0.25) == key(backbone="xdeepfm[mlp=8]") == key(backbone="dnn[mlp=9]") == base
    others = [key(seed=1), key("xgboost"), key("random-k[sel_split=valid]"), key(epochs=9)]
    assert len({base, *others}) == 5
    carried = "random-k[carry_over=true]"
    assert len({key(carried), key(carried, tau=0.25), key(carried, backbone="dnn[mlp=9]")}) == 3


def test_a_cell_whose_plug_in_cannot_tell_shares_no_ranking(make_job: Callable[..., Job]) -> None:
    job = make_job("random-k")
    assert ranking_key(job.method, job.identity) == shared_key(job.identity, method("random-k"))
    assert ranking_key(choose_method("light-fmp"), job.identity) is None
    assert ranking_key(replace(job.method, error="Traceback"), job.identity) is None
    assert ranking_key(replace(job.method, name="nobody-has-this"), job.identity) is None


def test_a_ranking_comes_back_as_it_was(tmp_path: Path) -> None:
    store = SelectionStore(tmp_path / "selections")
    scores = np.array([0.1, 1 / 3, -1e-300])
    assert store.read("a" * 64) is None
    notes = {"n": np.int64(3), "x": np.float32(0.5), "y": float("nan")}
    selection = Selection(scores=scores, rows_seen=7, pretrain_rows=5, hint="give more rows", notes=notes)
    store.write("a" * 64, selection, 1.25)
    found = store.read("a" * 64)
    assert found is not None
    assert found[0].scores is not None
    assert found[0].scores.tolist() == scores.tolist()
    assert (found[0].rows_seen, found[0].notes, found[1]) == (7, {"n": 3, "x": 0.5, "y": None}, 1.25)
    assert (found[0].pretrain_rows, found[0].hint) == (5, "give more rows")
    assert store.read("b" * 64) is None


def test_a_ranking_without_remarks_reads_as_it_was_written(tmp_path: Path) -> None:
    store = SelectionStore(tmp_path)
    store.write("a" * 64, Selection(scores=np.ones(2)), 1.0)
    found = store.read("a" * 64)
    assert found is not None
    assert (found[0].rows_seen, found[0].hint, found[0].notes) == (None, None, {})


def test_every_field_of_a_selection_belongs_to_one_part_and_none_says_all() -> None:
    parts = [{item.name for item in fields(part)} for part in (Decision, HandOver, Remarks)]
    names = [item.name for item in fields(Selection)]
    assert names[0] == "scores"
    assert sorted(names) == sorted(name for part in parts for name in part)
    assert Selection().kept_fields(3) == [0, 1, 2]
    assert Selection(kept=np.array([0, 2])).kept_fields(3) == [0, 2]
    assert Selection(kept=[]).kept_fields(3) == []
    told = Selection(scores=np.ones(3), used_rows=torch.arange(2), rows_seen=0)
    assert (set(told.given(Decision)), set(told.given(HandOver))) == ({"scores"}, {"used_rows"})
    assert told.given(Remarks) == {"rows_seen": 0, "notes": {}}


@pytest.mark.parametrize(
    "extra",
    [
        {"value_mask": torch.ones(3, dtype=torch.bool)},
        {"dims": torch.ones(3)},
        {"weight_mask": torch.ones(3, 2)},
        {"scale": torch.ones(3)},
        {"used_rows": torch.arange(3)},
        {"gate_rows": object()},
        {"kept": (0, 2)},
        {"start": object()},
        {"scores": None},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_a_selection_that_is_more_than_a_ranking_is_not_shared(tmp_path: Path, extra: dict[str, Any]) -> None:
    store = SelectionStore(tmp_path)
    store.write("a" * 64, Selection(**({"scores": np.ones(3)} | extra)), 1.0)
    assert store.read("a" * 64) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"scores": [1], "notes": {}, "rows_seen": 1})])
def test_a_damaged_ranking_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    store = SelectionStore(tmp_path)
    (tmp_path / f"{'a' * 16}.json").write_text(text)
    with pytest.raises(DataError) as caught:
        store.read("a" * 64)
    assert f"{'a' * 16}.json" in str(caught.value)
    assert "Delete it" in str(caught.value)
