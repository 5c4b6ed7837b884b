"""``--tune optuna``: what is searched, by equal numbers of trials, resumed as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from cell_records import TINY, Watcher, contents

from bench.cli.run import parse
from bench.errors import ConfigError
from bench.params import Only, Range, Search, searched, unsearchable
from bench.predictions import Predictions
from bench.records import CellRecord, RunFolder, load_frame
from bench.report.explain import Explainer, Wanted
from bench.run import estimate as planning
from bench.run.best import Outcome
from bench.run.check import check
from bench.run.config import RunConfig, base_config, from_json, to_json
from bench.run.forecast import forecasts
from bench.run.job import Job
from bench.run.refusals import refuse_unsearchable
from bench.run.session import Session, resolve
from bench.run.study import Study, restored, study_of
from bench.run.sweep import run
from bench.run.trial import run_trial
from bench.run.tuning import PRUNED, Asked, Trial
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles
from bench.tables.tuned import tuned_tables

pytest.importorskip("optuna", reason="optuna is not installed: it is an extra")

N = 4
SPACE = {"lr": Search(1e-4, 1e-2), "params.price": Search(0.0, 1.0, log=False)}
OWN = {"lr": 1e-3, "params.price": 0.5}


def trial(n: int, auc: float | None = None, **more: Any) -> Trial:
    return Trial(values={"lr": 1e-3 + 1e-4 * n, "params.price": 0.5}, status="ok", valid_auc=auc, **more)


def study(*trials: Trial, size: int = 20) -> Study:
    return Study(SPACE, OWN, size, tuple(trials))


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("no-selection", "group-lasso"),
        backbones=("dnn[mlp=8]",),
        tune="optuna",
        trials=N,
        epochs=3,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def compute(config: RunConfig, interrupt_at: int = 0) -> tuple[list[CellRecord], Watcher]:
    watcher = Watcher(interrupt_at)
    return run(resolve(config), watcher), watcher


@dataclass(frozen=True)
class Priced:
    price: Annotated[float, Range(0), Search(0.1, 10)] = 1.0
    rate: Annotated[float | None, Range(0), Search(0.1, 1), Only(kind="b")] = None
    raw: Annotated[float, Search(1, 100, only=Only(kind=("a", "c")))] = 10.0
    kind: str = "a"
    count: Annotated[int, Range(1)] = 3


@dataclass(frozen=True)
class Wrong:
    beyond: Annotated[float, Range(0, 1), Search(0.1, 10)] = 0.5
    outside: Annotated[float, Search(0.1, 1)] = 2.0
    whole: Annotated[int, Search(1, 10)] = 3


def test_a_space_is_an_interval() -> None:
    for low, high, log in ((1, 1, True), (2, 1, False), (0, 1, True)):
        with pytest.raises(ValueError, match="low must be below high, and above 0 where"):
            Search(low, high, log)
    assert 0.5 in Search(0.0, 1.0, log=False)


def test_what_is_searched_has_a_part_beside_the_other_parameters() -> None:
    assert searched(Priced()) == {"price": Search(0.1, 10), "raw": Search(1, 100)}
    assert list(searched(Priced(kind="b"))) == ["price", "rate"]
    assert list(searched(Priced(kind="c"))) == ["price", "raw"]
    assert searched(None) == {}
    assert list(unsearchable(Priced)) == []


def test_a_space_that_cannot_be_is_named() -> None:
    beyond, outside, whole = unsearchable(Wrong)
    assert beyond == "the Search(0.1, 10) of 'beyond' goes beyond its Range"
    assert outside == "the Search(0.1, 1) of 'outside' lacks its default, 2, which is tried first"
    assert whole.startswith("the Search(1, 10) of 'whole' is of no number with a fraction")


def test_the_first_trial_has_the_defaults_and_later_ones_lie_in_the_space() -> None:
    one = study()
    (asked,) = one.asked()
    assert asked == Asked(OWN)
    for _ in range(12):
        (asked,) = one.asked()
        assert all(asked.values[name] in space for name, space in SPACE.items())
        one = one.add(Trial(values=asked.values, status="ok", valid_auc=0.5 + asked.values["lr"]))
    assert len({one.values["lr"] for one in one.trials}) > 6
    assert len(one.missing) == one.planned - 12 == 8


def test_a_trial_depends_on_those_before_it_alone() -> None:
    trials = [trial(n, 0.5 + n / 100) for n in range(12)]
    drawn = [study(*trials[:n]).asked()[0].values for n in range(1, 12)]
    again = [study(*trials[:n], size=50).asked()[0].values for n in reversed(range(1, 12))]
    assert drawn == again[::-1]
    other = [replace(one, valid_auc=0.7 - n / 100) for n, one in enumerate(trials)]
    assert study(*other).asked() != study(*trials).asked()  # by number 12 the sampler has learned from them


def test_failed_trials_count_and_the_best_is_the_first_of_the_highest() -> None:
    failed = replace(trial(1), status="failed", reason="why")
    one = study(trial(0, 0.5), failed, trial(2, 0.7), trial(3, 0.7), size=4)
    assert (one.missing, one.asked(), one.decided) == (range(4, 4), [], True)
    assert one.values == trial(2).values
    none = study(failed, failed, size=2)
    assert none.failure is not None
    assert (none.failure["status"], none.decided, none.values) == ("failed", False, OWN)


def test_a_training_is_given_up_below_the_median_of_five() -> None:
    curves = [(0.5, 0.6), (0.5, 0.61, 0.7), (0.5, 0.62), (0.5, 0.63), (0.5, 0.64)]
    trials = [trial(n, 0.6, curve=curve) for n, curve in enumerate(curves)]
    assert study(*trials[:4]).asked()[0].least == (None, None, None)
    assert study(*trials).asked()[0].least == (None, 0.62, None)  # the third evaluation is known of one alone
    pruned = replace(trial(5, curve=(0.4, 0.4)), status=PRUNED)
    assert study(*trials, pruned).asked()[0].least == (None, 0.62, None)


def test_a_given_up_trial_says_where_and_took_its_time(make_job: Callable[..., Job]) -> None:
    job = make_job("random-k")
    whole = run_trial(job, Asked({"lr": 1e-3}))
    assert (whole.status, len(whole.curve) > 1) == ("ok", True)
    assert whole.valid_auc == pytest.approx(max(whole.curve), abs=1e-12)
    stopped = run_trial(job, Asked({"lr": 1e-3}, (None, 0.999)))
    assert (stopped.status, stopped.valid_auc) == (PRUNED, None)
    assert stopped.curve == whole.curve[:2]
    assert str(stopped.reason).endswith("after 2 evaluations, below the median 0.9990")
    assert stopped.seconds is not None
    assert stopped.seconds > 0
    assert run_trial(job, Asked({"lr": 1e-3}, (0.0, 0.0))).curve == whole.curve


def test_rate_and_l2_are_searched_for_all_and_what_the_user_sets_stays(make_job: Callable[..., Job]) -> None:
    job = make_job("random-k")
    assert list(study_of(job, 3, None).space) == ["lr", "l2"]
    assert study_of(job, 3, None).space["lr"] == Search(job.profile.lr / 10, job.profile.lr * 10)
    free = study_of(make_job("group-lasso"), 3, None)
    assert free.space["params.shrink"] == Search(0.1, 10)
    assert free.own == {"lr": job.profile.lr, "l2": job.profile.l2, "params.shrink": 1.0}
    assert "params.shrink" not in study_of(make_job("group-lasso[shrink=0.5]"), 3, None).space
    gate = study_of(make_job("stg"), 3, None)
    assert "params.gate_lr" in gate.space.keys() - gate.own.keys()  # its default is no number
    without = replace(job, profile=replace(job.profile, l2=0.0))
    found = study_of(without, 3, None)
    assert (found.own["l2"], found.space["l2"].low) == (0.0, 1e-7)
    assert found.add(Trial(values=found.own, status="ok", valid_auc=0.5)).asked()[0].values["l2"] in found.space["l2"]


def test_a_search_that_was_interrupted_goes_on_as_if_undisturbed(config: RunConfig, tmp_path: Path) -> None:
    records, watcher = compute(replace(config, out=tmp_path / "whole", seeds=2))
    assert [record.status for record in records] == ["ok"] * 4
    whole = contents(tmp_path / "whole")
    assert len(watcher.trials) == 2 * N == len(list((tmp_path / "whole" / "trials").glob("*.json")))
    for at in (watcher.events // 4, watcher.events // 2):
        shutil.rmtree(config.out, ignore_errors=True)
        with pytest.raises(KeyboardInterrupt):
            compute(replace(config, seeds=2), interrupt_at=at)
        kept = len(list((config.out / "trials").glob("*.json")))
        _, rest = compute(replace(config, seeds=2))
        assert len(rest.trials) == 2 * N - kept
        assert contents(config.out) == whole
    best = [(folder / "best.toml").read_text() for folder in (tmp_path / "whole", config.out)]
    tables = [[{**one, "seconds": 0} for one in tomllib.loads(text)["tuned"]] for text in best]
    assert tables[0] == tables[1]


def test_cells_have_what_was_chosen_and_say_how(config: RunConfig) -> None:
    records, _ = compute(config)
    for record, names in zip(records, (["lr", "l2"], ["lr", "l2", "params.shrink"]), strict=True):
        assert record.tuning is not None
        told = record.tuning
        assert [list(one) for one in (told["space"], told["default"], told["values"])] == [names] * 3
        assert (len(told["trials"]), told["planned"], told["seed"]) == (N, N, 0)
        best = max(told["trials"], key=lambda one: one["valid_auc"] or 0.0)
        assert told["values"] == best["values"]
        assert record.valid_auc == best["valid_auc"]  # seed 0 is the seed of the trials
        assert record.tune_s == pytest.approx(sum(one["seconds"] or 0.0 for one in told["trials"]))
        assert record.profile["lr"] == told["space"]["lr"][:2]
        assert record.profile["trials"] == N
    assert records[1].params["shrink"] == records[1].tuning["values"]["params.shrink"]  # type: ignore[index]
    _, more = compute(replace(config, trials=N + 1))
    assert len(more.trials) == 2  # one more of each; those that are there count


def test_best_toml_repeats_the_cells_without_a_trial(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    records, _ = compute(config)
    again = check(replace(base_config(None, config.out / "best.toml", True), out=config.out.parent / "again"))
    assert from_json(to_json(again)).tuned == again.tuned
    monkeypatch.setitem(sys.modules, "optuna", None)
    repeated, watcher = compute(again)
    assert watcher.trials == []
    for record, before in zip(repeated, records, strict=True):
        assert (record.config_hash, record.auc) == (before.config_hash, before.auc)
        assert record.tune_s == pytest.approx(before.tune_s, abs=1e-3)
    tables = [tomllib.loads((folder / "best.toml").read_text())["tuned"] for folder in (config.out, again.out)]
    assert tables[0] == tables[1]
    (one, _) = tables[0]
    assert {"dataset", "backbone", "method", "lr", "l2", "params", "trials", "valid_auc", "seconds"} == one.keys()


def test_a_record_alone_says_what_its_search_was(config: RunConfig) -> None:
    records, _ = compute(config)
    session = Session(resolve(config))
    for record, cell in zip(records, session.plan.cells(), strict=True):
        told = json.loads(json.dumps(record.tuning))
        found = session.cell(cell)
        assert found.hash == record.config_hash
        assert replace(found, tuning=restored(told)).hash == record.config_hash
        assert dict(restored(told).values) == told["values"]


def test_the_table_sets_tuned_beside_default(config: RunConfig) -> None:
    compute(replace(config, seeds=2))
    (alone,) = tuned_tables(load_frame(config.out), Predictions(config.out / "predictions"))
    assert [row.values[0].mean for row in alone.rows] == [None, None]
    assert alone.notes[0].text.startswith("No cells with defaults to compare with; run the same with --tune none")
    plain, _ = compute(replace(config, seeds=2, tune="none"))
    tuned, _ = compute(replace(config, seeds=2))
    (table,) = tuned_tables(load_frame(config.out), Predictions(config.out / "predictions"))
    names = [metric.name for _, metric in table.columns]
    for number, row in enumerate(table.rows):
        shown = dict(zip(names, row.values, strict=True))
        before, after = ([one.auc or 0.0 for one in records[number::2]] for records in (plain, tuned))
        assert shown["auc_default"].mean == pytest.approx(sum(before) / 2)
        assert shown["auc_tuned"].mean == pytest.approx(sum(after) / 2)
        assert shown["tuned_difference"].mean == pytest.approx((sum(after) - sum(before)) / 2)
        low, high = (shown[f"tuned_difference_{end}"].mean for end in ("low", "high"))
        assert low is not None
        assert high is not None
        assert (low + high) / 2 == pytest.approx(shown["tuned_difference"].mean)
        assert shown["tuned_trials"].text == str(N)
        assert shown["tuned_valid_gain"].mean is not None
        assert shown["tuned_valid_gain"].mean >= 0  # the first trial has the defaults
    assert table.rows[0].values[names.index("tuned_params")].text == "none declared"
    assert "shrink" in table.rows[1].values[names.index("tuned_params")].text
    assert not any("several configurations" in note.text for note in table.notes)
    explainer = Explainer(RunFolder(config.out))
    for name in names:
        told = explainer.text(Wanted("tuned", tuned[1].dataset, tuned[1].label, name))
        behind = plain if name == "auc_default" else tuned
        assert [f"cells/{one.config_hash[:16]}.json" in told for one in behind] == [False, True] * 2, name
    (both,) = overall_tables(load_frame(config.out), Titles())
    assert [group.title.partition(" · ")[2] for group in both.groups] == ["defaults", f"tuned by {N} trials"]


def test_the_plan_counts_the_trials(config: RunConfig) -> None:
    session = Session(resolve(replace(config, seeds=3, threads=1)))
    (size,) = planning.sizes(session)
    assert (size.cells, size.trials) == (6, 2 * N)
    (found,) = forecasts(session, [planning.Pace(size, 0.5)])
    assert found.trials == 2 * N


def test_without_the_package_it_is_refused_before_anything_is_written(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"takes the package optuna: pip install 'ctr-field-bench\[hpo\]'"):
        resolve(config)


def test_a_method_whose_space_cannot_be_is_refused_before_the_run(config: RunConfig) -> None:
    (choice, _) = resolve(config).methods.values()
    with pytest.raises(
        ConfigError, match=r"no-selection cannot be searched: the Search\(0.1, 10\) of 'beyond' goes beyond"
    ):
        refuse_unsearchable(config, [replace(choice, params=Wrong())])


def test_trials_without_a_search_are_refused() -> None:
    assert parse(["--tune", "optuna", "--trials", "7"]).trials == 7
    with pytest.raises(ConfigError, match="--trials has no part in --tune none: leave it out, or add --tune optuna"):
        parse(["--trials", "7"])
    with pytest.raises(ConfigError, match=r"trials=1 is out of range; allowed: \[2, inf\)"):
        parse(["--tune", "optuna", "--trials", "1"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lr = 'x'", r"\[\[tuned\]\] number 1: lr='x' is not a finite number"),
        ("lr = nan", "lr=nan is not a finite number"),
        ("rl = 0.1", "key 'rl' is unknown. Known: "),
        ("", "key 'lr' is missing"),
        ("lr = 0.1\nparams = {price = true}", "price=True is not a finite number"),
    ],
)
def test_a_damaged_best_toml_is_refused(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "best.toml"
    known = 'dataset = "a"\nbackbone = "b"\nmethod = "c"\ntrials = 3\nseconds = 1\nl2 = 0.1'
    file.write_text(f"[[tuned]]\n{known}\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        base_config(None, file, True)


def test_chosen_values_that_cannot_be_are_refused_by_name() -> None:
    for values, message in (({"lr": -1.0}, "lr=-1 is out of range"), ({"params.prise": 1.0}, "is no setting")):
        with pytest.raises(ConfigError, match=message):
            Outcome(values, 3, 0.5, 1.0).check(Priced())
