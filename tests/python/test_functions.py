"""``rank``, ``compare`` and ``advise`` on a small table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.advising.advice import Advice as Found
from bench.advising.advice import FieldAdvice
from bench.advising.config import AdviseConfig
from bench.errors import UserError
from bench.python import advice as advising
from bench.stats.difference import Interval

NET = "dnn[mlp=4]"
SMALL: dict[str, Any] = {"set": {"max_epochs": 1, "l2": 1e-5}, "threads": 1, "verbose": False}


@pytest.fixture(scope="module")
def results(data: bench.Data, tmp_path_factory: pytest.TempPathFactory) -> bench.Results:
    out = tmp_path_factory.mktemp("run")
    return bench.compare(data, ["no-selection", "lasso"], NET, seeds=2, out=out, **SMALL)


def test_ranks_are_means_over_seeds_and_ties_share_theirs() -> None:
    found = bench.Ranking("m", "d", ("a", "b", "c"), np.array([[3.0, 1.0, 1.0], [1.0, 3.0, 2.0]]))
    assert found.ranks.tolist() == [[1, 2.5, 2.5], [3, 1, 2]]
    assert found.top(3) == ["b", "a", "c"], "1.75, 2 and 2.25"
    frame = found.frame
    assert frame.to_dict("list") == {
        "field": ["b", "a", "c"],
        "rank": [1.75, 2.0, 2.25],
        "score": [2.0, 2.0, 1.5],
        "best_rank": [1, 1, 2],
        "worst_rank": [2.5, 3, 2.5],
    }
    assert "<td>b</td>" in found._repr_html_() and "best_rank" in str(found)
    for k in (0, 4):
        with pytest.raises(UserError, match=rf"k={k} is out of range; allowed: \[1, 3\]"):
            found.top(k)


def test_a_figure_shows_the_first_fields() -> None:
    found = bench.Ranking("m", "d", tuple(f"f{i}" for i in range(50)), np.arange(50.0)[None])
    (axes,) = found.plot().axes
    assert [bar.get_width() for bar in axes.patches] == list(range(49, 9, -1))
    assert axes.get_yticklabels()[0].get_text() == "f49"


def test_a_ranking_without_training_is_that_of_the_cells(data: bench.Data, results: bench.Results) -> None:
    cells = results.frame
    recorded = cells[cells["label"] == "lasso"].sort_values("seed")["field_scores"].tolist()
    found = bench.rank(data, "lasso", seeds=2, **SMALL)
    assert found.scores.tolist() == recorded
    assert set(found.top(2)) == {"ad", "price"}


def test_gates_are_ranked_by_whole_cells(data: bench.Data, tmp_path: Path) -> None:
    found = bench.rank(data, "light-fmp", backbone=NET, out=tmp_path / "run", **SMALL)
    assert sorted(found.top(4)) == sorted(data.fields)
    assert len(list((tmp_path / "run" / "cells").glob("*.json"))) == 1


def test_the_default_ranker_is_one_of_those_of_advise(data: bench.Data) -> None:
    assert bench.rank(data, verbose=False).method == "xgboost"


def test_the_table_holds_means_over_seeds(data: bench.Data, results: bench.Results) -> None:
    table = results.table().set_index("method")
    cells = results.frame.groupby("label")
    assert sorted(table.index) == ["lasso", "no-selection"]
    for name in table.index:
        aucs = cells.get_group(name)["auc"]
        assert table.loc[name, "auc"] == pytest.approx(aucs.mean())
        assert table.loc[name, "auc_sd"] == pytest.approx(abs(aucs.iloc[0] - aucs.iloc[1]) / 2**0.5)
    assert table["kept"].to_dict() == {"lasso": 2, "no-selection": 4}
    assert table["seeds"].tolist() == [2, 2]
    assert results.failed == {} and "<td>lasso</td>" in results._repr_html_()
    assert "Lasso" in str(results) and "AUC alone" in str(results)


def test_the_folder_is_that_of_a_run(data: bench.Data, results: bench.Results) -> None:
    assert {one.command for one in results.records} == {"bench.compare(…) in Python"}
    page = results.report()
    assert page == results.folder / "report.html" and page.is_file()
    again = bench.compare(data, ["no-selection", "lasso"], NET, seeds=2, out=results.folder, **SMALL)
    times = {one.config_hash: one.tt_s for one in results.records}
    assert len(again.records) == 4
    assert all(one.tt_s == times[one.config_hash] for one in again.records), "nothing was computed again"


@pytest.mark.usefixtures("zoo")
def test_a_method_that_fails_is_named(data: bench.Data) -> None:
    found = bench.compare(data, ["zoo-raises", "lasso"], NET, seeds=1, **SMALL)
    assert found.failed == {"zoo-raises": "failed: KeyError: 'no such thing'"}
    assert found.table()["method"].tolist() == ["lasso"]
    assert "<li>zoo-raises: failed: KeyError: &#x27;no such thing&#x27;</li>" in found._repr_html_()
    for name, why in (("zoo-raises", "KeyError: 'no such thing'"), ("zoo-broken", "ModuleNotFoundError")):
        with pytest.raises(UserError, match=f"{name} has no ranking of these fields: failed: {why}"):
            bench.rank(data, name, backbone=NET, **SMALL)


def test_progress_is_told_or_not(data: bench.Data, results: bench.Results, capsys: pytest.CaptureFixture[str]) -> None:
    more = {**SMALL, "out": results.folder, "seeds": 2}
    bench.compare(data, "lasso", NET, **more)
    assert capsys.readouterr() == ("", "")
    bench.compare(data, "lasso", NET, **{**more, "verbose": True})
    assert "2 cells, 2 done before, 0 to run" in capsys.readouterr().err


INTERVAL = Interval(0.2, 0.1, 0.3, 0.05, 5.0, 2, 100, 0.0015, 0.001)
FOUND = Found(
    "drop",
    "Drop 1 of 2 fields.",
    ("As <sure> as can be.",),
    *("d", "dnn", 0.01, 2, 2, {"train": 8, "valid": 1, "test": 1}, 0.7),
    above_chance=INTERVAL,
    fields=(FieldAdvice("a", "keep", 1, 1, 1, 40, True), FieldAdvice("b", "drop", 2, 2, 2, 80, False)),
)


def test_advice_is_asked_for_and_shown(data: bench.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[AdviseConfig] = []

    def find(config: AdviseConfig, reporter: object, tell: object) -> Found:
        asked.append(config)
        return FOUND

    monkeypatch.setattr(advising, "find", find)
    found = bench.advise(data, 0.01, rankers="lasso", time="90s", near=1, seeds=2, **SMALL)
    (config,) = asked
    assert (config.data, config.data_dir, config.tolerance) == (data.spec, data.data_dir, 0.01)
    assert (config.rankers, config.time_s, config.near, config.seeds) == (("lasso",), 90, 1, 2)
    assert (config.set, config.threads) == (("max_epochs=1", "l2=1e-05"), 1)
    assert (found.verdict, found.sentence) == ("drop", "Drop 1 of 2 fields.")
    assert (found.kept, found.dropped) == (["a"], ["b"])
    assert found.frame["embedding_bytes"].tolist() == [40, 80]
    assert str(found).startswith("Drop 1 of 2 fields.")
    assert "As &lt;sure&gt; as can be." in found._repr_html_()
    assert bench.advise(data, 0.02, **SMALL).folder != found.folder == asked[0].out


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("rank", ("lasso",), {"dim": 3}, "rank(dim=…): there is no such setting"),
    ("rank", ("xgbost",), {}, "method 'xgbost' is unknown. Did you mean 'xgboost'"),
    ("rank", ("no-selection",), {}, "method='no-selection' gives fields no scores"),
    ("rank", (), {"seeds": 0}, "seeds=0 is out of range"),
    ("compare", ([],), {}, "methods=[]: name at least one"),
    ("compare", ("lasso", [3]), {}, "backbones=[3]: name at least one, as text"),
    ("compare", ("lasso",), {"epoch": 2}, "compare(epoch=…): there is no such setting. Did you mean 'epochs'"),
    ("compare", ("lasso",), {"prune_ratio": 1.5}, "prune-ratio=1.5 is out of range"),
    ("compare", ("lasso",), {"rows": "many"}, "rows is not of type int"),
    ("compare", ("lasso",), {"set": {"dimm": 2}}, "setting 'dimm' is unknown (value '2'). Did you mean 'dim'"),
    ("advise", (), {"prune_ratio": 0.3}, "advise(prune_ratio=…): there is no such setting"),
    ("advise", (2.0,), {}, "tolerance=2 is out of range"),
]


@pytest.mark.parametrize(("what", "args", "given", "said"), BAD, ids=[said[:40] for *_, said in BAD])
def test_bad_input_is_named(data: bench.Data, what: str, args: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        getattr(bench, what)(data, *args, verbose=False, **given)
    assert said in str(error.value)


@pytest.mark.parametrize("what", ["rank", "compare", "advise"])
def test_a_frame_in_the_place_of_data_is_named(what: str, clicks: Any) -> None:
    with pytest.raises(UserError, match=rf"{what}\(DataFrame\): give what bench.dataset returns"):
        getattr(bench, what)(clicks)


def test_all_names_are_there() -> None:
    assert sorted(bench._LAZY) == bench.__all__
    for name in bench.__all__:
        assert getattr(bench, name).__name__ == name
    assert set(bench.__all__) <= set(dir(bench))
    assert bench.sklearn.FieldSelector.__name__ == "FieldSelector"
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'ranks'"):
        bench.ranks  # noqa: B018
