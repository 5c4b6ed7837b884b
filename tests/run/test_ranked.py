"""Rankings alone: what cells would select by, computed once, kept for them, and none of their trainings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cell_records import TINY, Watcher

from bench.api import Selection
from bench.errors import DataError
from bench.lease import Lease, Leases
from bench.records import RunFolder
from bench.run import schedule
from bench.run.config import RunConfig
from bench.run.ranked import Ranked
from bench.run.session import Session, resolve
from bench.run.sweep import rank, run
from methods.cardinality import Cardinality

pytestmark = pytest.mark.usefixtures("zoo")


@pytest.fixture
def config(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.setenv("ZOO_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(schedule, "POLL_S", 0.01)
    return RunConfig(
        datasets=(TINY,),
        methods=("zoo-counted",),
        backbones=("dnn[mlp=8]",),
        epochs=1,
        seeds=2,
        threads=1,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def ranked(config: RunConfig, watcher: Watcher | None = None) -> list[Ranked]:
    plan = resolve(config)
    return rank(plan, Watcher() if watcher is None else watcher, Session(plan))


def selections() -> Sequence[str]:
    log = Path(os.environ["ZOO_LOG"])
    return log.read_text().split() if log.exists() else ()


def test_a_ranking_alone_is_that_of_the_cell_and_serves_it(config: RunConfig, tmp_path: Path) -> None:
    whole = run(resolve(replace(config, out=tmp_path / "whole")), Watcher())
    done, watcher = len(selections()), Watcher()
    found = ranked(config, watcher)
    assert [one.scores for one in found] == [record.field_scores for record in whole]
    assert {(one.label, one.status) for one in found} == {("zoo-counted", "ok")}
    assert not RunFolder(config.out).record_files() and not (config.out / "checkpoints").exists()
    each = len(selections()) - done
    assert each == len({record.seed for record in whole}) == watcher.phases.count("ranking")

    again = Watcher()
    assert ranked(config, again) == found
    assert (len(selections()) - done, again.phases) == (each, [])
    records = run(resolve(config), Watcher())
    assert [record.field_scores for record in records] == [one.scores for one in found]
    assert len(selections()) - done == each
    assert [one.scores for one in ranked(replace(config, rerun="failed"))] == [one.scores for one in found]


def test_what_ranks_by_its_training_is_trained(config: RunConfig) -> None:
    config, watcher = replace(config, methods=("zoo-counted", "light-fmp"), seeds=1), Watcher()
    found = {one.label: one for one in ranked(config, watcher)}
    (record,) = RunFolder(config.out).records()
    assert (record.label, record.field_scores, watcher.planned) == ("light-fmp", found["light-fmp"].scores, (1, 0))
    assert found["zoo-counted"].status == "ok"
    assert ranked(config) == list(found.values())


def test_a_failed_ranking_says_why_and_is_tried_again(config: RunConfig) -> None:
    config = replace(config, methods=("zoo-stumbles", "zoo-short", "zoo-skips"), seeds=1)
    said = [(one.status, one.scores, one.reason) for one in ranked(config)]
    assert said == [
        ("failed", None, "KeyError: 'no such thing'"),
        ("failed", None, "ValueError: select returned scores of shape (7,); wanted one for each of the 8 fields"),
        ("skipped", None, "not on Sundays"),
    ]
    watcher = Watcher()
    assert [(one.status, one.scores, one.reason) for one in ranked(config, watcher)] == said
    assert watcher.phases.count("ranking") == 1
    assert watcher.statuses == ["failed"]  # of its own scores, all of which its cell needs; a skipped one is done


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        (np.ones(8), ("skipped", "no ranking, all 8 fields have the same score: there was nothing to see")),
        (np.arange(7.0), ("failed", "ValueError: select returned scores of shape (7,); wanted one for each of the 8")),
        (np.full(8, np.nan), ("failed", "ValueError: field scores must be finite")),
    ],
    ids=["equal", "few", "odd"],
)
def test_what_is_no_ranking_is_none_for_other_seeds_and_commands_either(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, scores: np.ndarray, wanted: tuple[str, str]
) -> None:
    def select(*_: object) -> Selection:
        return Selection(scores=scores, hint="there was nothing to see")

    monkeypatch.setattr(Cardinality, "select", select)
    config = replace(config, methods=("cardinality",))
    for _ in range(2):
        for one in ranked(config):
            assert (one.status, one.scores) == (wanted[0], None)
            assert str(one.reason).startswith(wanted[1])


def test_a_process_of_its_own_ranks_alike_and_its_death_is_survived(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, methods=("zoo-counted", "zoo-dies"), seeds=1, isolate=True)
    plain, killed = ranked(config)
    (here,) = ranked(replace(config, methods=("zoo-counted",), isolate=False, out=tmp_path / "here"))
    assert plain == here
    assert (killed.status, killed.scores) == ("oom", None) and "memory" in str(killed.reason)
    assert not RunFolder(config.out).record_files()


def test_a_ranking_that_another_process_makes_is_waited_for(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    (wanted,) = ranked(replace(config, seeds=1))
    plan = resolve(replace(config, seeds=1))
    session = Session(plan)
    (file,) = session.selections.folder.glob("*.json")
    text = file.read_text()
    file.unlink()
    waits = Watcher()
    with Leases() as others:
        lease = others.take(file.with_suffix(".lease"))
        assert isinstance(lease, Lease)
        with lease:
            monkeypatch.setattr(schedule.time, "sleep", lambda seconds: file.write_text(text))
            before = len(selections())
            assert rank(plan, waits, session) == [wanted]
    assert (len(selections()), waits.phases) == (before, ["ranking"])
    assert len(waits.waits) == 1


def test_what_is_no_ranking_is_refused() -> None:
    one = Ranked("lasso", "ok", [1.0, None])
    assert Ranked.from_dict(one.to_dict(), source="x") == one
    with pytest.raises(DataError, match="x has no readable ranking"):
        Ranked.from_dict({"label": "lasso", "rank": 1}, source="x")
