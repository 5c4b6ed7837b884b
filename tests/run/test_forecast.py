"""About how long a run will take: the range follows from pace, epochs, costs of methods, and what is already done."""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from cell_records import TINY, Watcher

from bench import environment
from bench.plugins import methods
from bench.profiles import ANCHOR, SMALL
from bench.records import CellRecord, RunFolder
from bench.registry import OTHER_RETRAIN, OTHER_SEARCH, RETRAIN, SEARCH, MethodEntry
from bench.run import estimate as planning
from bench.run import forecast as module
from bench.run import sweep
from bench.run.config import RunConfig
from bench.run.estimate import Pace
from bench.run.forecast import epochs_of, forecasts, total
from bench.run.forecast_table import forecast_table
from bench.run.grid import choose_method
from bench.run.progress import duration
from bench.run.session import Session, resolve
from bench.run.tuning import Trial

NET = "dnn[mlp=8]"
STARTS = module.FORKED_S if sys.platform == "linux" else module.PROCESS_S
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


@pytest.fixture
def make_session(data_dir: Path, tmp_path: Path) -> Callable[..., Session]:
    def make(**settings: Any) -> Session:
        plain = RunConfig(
            datasets=(TINY,),
            methods=("no-selection", "random-k"),
            backbones=(NET,),
            seeds=3,
            prune_ratio=(0.25, 0.5),
            data_dir=data_dir,
            out=tmp_path / "run",
        )
        return Session(resolve(replace(plain, **settings)))

    return make


def paces(session: Session, epoch_s: float | None = 10.0, valid_s: float = 2.0) -> list[Pace]:
    return [Pace(size, epoch_s, valid_s) for size in planning.sizes(session)]


def test_the_guess_of_epochs_follows_patience_decay_and_the_most_allowed() -> None:
    flat = replace(SMALL, patience=2, lr_decay=None)
    assert epochs_of([], flat) == ((3, 5), "guessed")  # patience 2: the first evaluation, and two without gain
    assert epochs_of([], ANCHOR) == ((3, 9), "guessed")
    assert epochs_of([], SMALL) == ((4, 12), "guessed")  # patience 3, and the rate falls
    assert epochs_of([], replace(flat, patience=4)) == ((5, 9), "guessed")
    assert epochs_of([], replace(flat, patience=1)) == ((2, 4), "guessed")
    assert epochs_of([], replace(flat, max_epochs=2)) == ((2, 2), "guessed")
    assert epochs_of([], replace(flat, evaluate_every=0.5)) == ((1.5, 2.5), "guessed")


def test_a_range_is_made_of_epochs_validations_costs_and_evaluations(make_session: Callable[..., Session]) -> None:
    session = make_session()
    (found,) = forecasts(session, paces(session))
    assert (found.cells, found.trials, found.epochs) == (3 * (1 + 2), 0, (4, 12))
    # three trainings of the baseline and six of the control, 10 s an epoch and 2 s its validation
    low, high = 4 * 12, 12 * 12
    narrow, wide = RETRAIN["control"]
    least = low * (3 + 6 * narrow)
    most = high * (3 + 6 * wide)
    # 120 test rows as 120 validation rows: eight passes of 2 s
    fixed = [9 * (8 * 2 * noise + more) for noise, more in zip(module.NOISE, module.CELL_S, strict=True)]
    assert found.seconds == pytest.approx((least * 0.85 + fixed[0], most * 1.25 + fixed[1]))
    whole = total([found, found])
    assert whole == pytest.approx(tuple(2 * end + more for end, more in zip(found.seconds, module.RUN_S, strict=True)))
    assert "4 to 12 (guessed)" in forecast_table([found])


def test_half_widths_of_methods_add_up_in_squares() -> None:
    one = module.Work("a", 0, 2, 2, (0, 0), (1, 4))  # 2 to 8 trainings: 5 ± 3
    other = module.Work("b", 1, 1, 1, (1, 6), (1, 4))  # 2 to 10: 6 ± 4
    assert module._spent([one, other], [], (10.0, 10.0)) == pytest.approx((10 * (11 - 5), 10 * (11 + 5)))


def test_a_pace_that_is_not_known_is_a_dash_and_the_whole_is_not_known(make_session: Callable[..., Session]) -> None:
    session = make_session()
    found = forecasts(session, paces(session, None))
    assert found[0].seconds is None and total(found) is None
    text = forecast_table(found)
    busy = replace(found[0], pace=replace(found[0].pace, share=0.4))
    assert "busy machine, at work 40% of the time" in forecast_table([busy]) and "busy" not in text
    assert "The whole run: not known" in text and text.splitlines()[2].endswith("—")


def test_a_ranking_that_cells_share_is_searched_once(make_session: Callable[..., Session]) -> None:
    """Lasso's ranking depends on the seed alone: two ratios and two backbones use one."""
    session = make_session(methods=("lasso", "light-fmp"), backbones=(NET, "fm"), seeds=2)
    left, ranked = module.pending(session), set()
    found = {}
    for (_, backbone), cells in left.items():
        for label, some in module._by_label(cells).items():
            found[backbone, label] = module._work(session, some, {}, ranked)
    searches = {place: work.searches for place, work in found.items()}
    assert searches == {(NET, "lasso"): 2, ("fm", "lasso"): 0, (NET, "light-fmp"): 4, ("fm", "light-fmp"): 4}
    assert {work.trainings for work in found.values()} == {4}


def test_a_training_for_every_field_is_reckoned_with(make_session: Callable[..., Session]) -> None:
    session = make_session(methods=("drop-one",), seeds=1)
    for (dataset, _), cells in module.pending(session).items():
        for label, some in module._by_label(cells).items():
            if label == "drop-one":
                entry, n_fields = methods().entry("drop-one"), session.facts(dataset).schema.n_fields
                assert n_fields > 1 and entry.search_per_field == entry.search_cost
                found = module._work(session, some, {}, set()).search
                assert found == pytest.approx([(1 + n_fields) * end for end in entry.search_cost])
                return
    raise AssertionError("no cell of drop-one")


def test_trials_of_learning_rates_come_on_top(make_session: Callable[..., Session]) -> None:
    session = make_session(tune="lr", prune_ratio=(0.5,))
    (found,) = forecasts(session, paces(session))
    assert (found.cells, found.trials) == (6, 2 * len(SMALL.lr_grid))
    assert "6 + 8 trials" in forecast_table([found])
    plain = forecasts(make_session(prune_ratio=(0.5,)), paces(session))[0]
    assert found.seconds is not None and plain.seconds is not None
    assert found.seconds[0] > 2 * (plain.seconds[0] - 6 * 20)  # 14 trainings instead of 6, evaluations apart


def test_processes_of_their_own_take_their_start(make_session: Callable[..., Session]) -> None:
    session = make_session()
    (inline,), (process,) = forecasts(session, paces(session)), forecasts(make_session(isolate=True), paces(session))
    assert inline.seconds is not None and process.seconds is not None
    more = [b - a for a, b in zip(inline.seconds, process.seconds, strict=True)]
    assert more == pytest.approx([9 * start for start in STARTS])


def test_trials_are_processes_too(make_session: Callable[..., Session]) -> None:
    tuned = {"tune": "lr", "prune_ratio": (0.5,)}
    session = make_session(**tuned)
    (inline,), (process,) = (forecasts(one, paces(session)) for one in (session, make_session(isolate=True, **tuned)))
    assert inline.seconds is not None and process.seconds is not None
    more = [b - a for a, b in zip(inline.seconds, process.seconds, strict=True)]
    assert more == pytest.approx([(6 + 8) * start for start in STARTS])


def test_cells_side_by_side_take_from_their_share_to_as_long(make_session: Callable[..., Session]) -> None:
    session = make_session(executor="process:2", timing=3)
    (found,) = forecasts(session, paces(session))
    assert found.seconds is not None and found.timing is not None
    one, two = total([found]), total([found], at_once=2)
    assert one is not None and two is not None
    assert one[0] - two[0] == pytest.approx(found.seconds[0] / 2)  # the timing pass is not shared out
    assert one[1] == two[1]
    text = forecast_table([found], at_once=2)
    whole = next(line for line in text.splitlines() if line.startswith("The whole run"))
    assert f"{duration(two[0])} to {duration(two[1])}" in whole
    assert "with 2 at a time the whole run takes from a half of them to as long" in text
    assert "at a time" not in forecast_table([found])


def test_trials_that_are_kept_are_made_again_where_all_is(make_session: Callable[..., Session]) -> None:
    session = make_session(tune="lr", prune_ratio=(0.5,))
    for cell in session.plan.cells():
        for rate in SMALL.lr_grid:
            session.trials.write(
                session.trial(cell, {"lr": rate}).hash, Trial(values={"lr": rate}, status="ok", valid_auc=0.6)
            )
    session.tunings.clear()
    again = make_session(tune="lr", prune_ratio=(0.5,), rerun="always")
    assert forecasts(session, paces(session))[0].trials == 0
    assert forecasts(again, paces(session))[0].trials == 2 * len(SMALL.lr_grid)


def test_what_is_done_counts_no_more_and_tells_the_epochs(
    make_session: Callable[..., Session],
) -> None:
    settings: dict[str, Any] = {"epochs": 2, "methods": ("no-selection",)}
    one, two = (make_session(seeds=n, **settings) for n in (1, 2))
    sweep.run(one.plan, Watcher())
    (nothing,) = forecasts(one, paces(one))
    assert (nothing.cells, nothing.seconds) == (0, (0.0, 0.0))
    (again,) = forecasts(make_session(seeds=1, rerun="always", **settings), paces(one))
    assert again.cells == 1
    (more,) = forecasts(two, paces(two))
    assert (more.cells, more.epochs, more.basis) == (1, (2.0, 2.0), "from 1 record")
    (record,) = two.folder.records()
    spent = module._spent([module.Work("no-selection", 0, 1, 1, (0, 0), (1, 1))], [record], (1e6, 1e6))
    assert spent == pytest.approx((record.ct_s, record.ct_s))  # its own seconds, not those of a reckoned training
    other = make_session(seeds=2, set=("dim=4",), **settings)
    assert forecasts(other, paces(other))[0].basis == "guessed"  # another model may take other epochs


def test_times_of_workers_are_those_of_as_many_workers_or_of_one_process(make_session: Callable[..., Session]) -> None:
    settings: dict[str, Any] = {"epochs": 2, "methods": ("no-selection",), "threads": 1}
    one = make_session(seeds=1, **settings)
    sweep.run(one.plan, Watcher())
    (record,) = one.folder.records()
    alone, together = (make_session(seeds=2, **settings, workers_per_cell=n) for n in (1, 2))

    def found(session: Session, workers: int) -> tuple[module.Forecast, str]:
        host = record.host | ({environment.WORKERS: workers} if workers > 1 else {})
        session.folder.write(replace(record, host=host, ct_s=1000.0))
        (forecast,) = forecasts(session, paces(session))
        return forecast, forecast_table([forecast])

    reckoned = "times of no-selection are reckoned for one process with 1 thread: this folder has no cell of theirs"
    cases = {(n, of): found(session, of) for n, session in ((1, alone), (2, together)) for of in (1, 2)}
    for (n, of), (forecast, text) in cases.items():
        assert forecast.seconds is not None
        assert (forecast.seconds[0] > 500) == (n == of), "seconds of records of other numbers of workers do not count"
        assert forecast.basis == "from 1 record", "which epochs do, as results are the same"
        assert forecast.unmeasured == (() if n == of else ("no-selection",))
        assert (reckoned in " ".join(text.split())) == ((n, of) == (2, 1))
    low, high = cases[2, 1][0].seconds or (0.0, 0.0)
    # two epochs of 10 s with validations of 2 s in a process of its own: nothing is divided by two
    assert low == pytest.approx(2 * 12 * 0.85 + 8 * 2 * 0.85 + module.CELL_S[0] + STARTS[0])
    assert high == pytest.approx(2 * 12 * 1.25 + 8 * 2 * 1.25 + module.CELL_S[1] + STARTS[1])


def test_a_timing_pass_goes_by_cells_of_one_process_with_all_threads(make_session: Callable[..., Session]) -> None:
    settings: dict[str, Any] = {"epochs": 2, "methods": ("no-selection",)}
    one = make_session(seeds=1, **settings)
    sweep.run(one.plan, Watcher())
    (record,) = one.folder.records()
    one.folder.write(replace(record, ct_s=1000.0))
    session = make_session(seeds=1, executor="process:2", timing=2, **settings)
    (found,) = forecasts(session, paces(session))
    assert found.timing is not None and found.timing[0] > 2 * 0.85 * 1000


def test_a_method_costs_what_its_entry_declares_or_its_family_does() -> None:
    plain = MethodEntry("x:X", "X", family="sparsity")
    assert (plain.search_cost, plain.retrain_cost) == (OTHER_SEARCH, OTHER_RETRAIN)
    shallow = MethodEntry("x:X", "X", family="shallow")
    assert (shallow.search_cost, shallow.retrain_cost) == (SEARCH["shallow"], RETRAIN["shallow"])
    own = dataclasses.replace(shallow, search=(1, 2), retrain=(0.5, 3))
    assert (own.search_cost, own.retrain_cost) == ((1, 2), (0.5, 3))
    for name in methods().names():
        for low, high in (methods().entry(name).search_cost, methods().entry(name).retrain_cost):
            assert 0 <= low <= high, name


def test_a_timing_pass_is_repeats_that_each_search_in_a_process_of_its_own(
    make_session: Callable[..., Session],
) -> None:
    session = make_session(seeds=1, timing=3, methods=("no-selection", "cardinality"))
    (found,) = forecasts(session, paces(session))
    assert (found.cells, found.repeats) == (3, 3 * 3)
    # three rounds of the baseline, and of a control at two prune ratios: nothing is known of any
    low, high = 4 * 12, 12 * 12
    entry = methods().entry("cardinality")
    ends = [entry.search_cost[end] + entry.retrain_cost[end] for end in (0, 1)]
    baseline = 3 * low, 3 * high
    control = 6 * ends[0] * low, 6 * ends[1] * low, 6 * ends[0] * high, 6 * ends[1] * high
    least = baseline[0] + control[0]
    most = baseline[1] + control[3]
    starts = zip(module.NOISE, module.CELL_S, STARTS, strict=True)
    fixed = [9 * (8 * 2 * noise + more + start) for noise, more, start in starts]
    assert found.timing == pytest.approx((least * 0.85 + fixed[0], most * 1.25 + fixed[1]))
    assert found.seconds is not None and found.timing is not None
    whole = total([found])
    assert whole is not None and whole[1] == pytest.approx(found.seconds[1] + found.timing[1] + module.RUN_S[1])
    assert "The timing pass: 9 repeats of whole cells, each in a process of its own, " in forecast_table([found])
    (without,) = forecasts(make_session(seeds=1), paces(session))
    assert (without.repeats, "timing pass" in forecast_table([without])) == (0, False)
    (unknown,) = forecasts(session, paces(session, None))
    assert unknown.timing is None and "process of its own, not known, on an idle" in forecast_table([unknown])


def test_what_entries_declare_holds_what_the_reference_runs_took() -> None:
    """Medians over seeds, in trainings with all fields, on one machine at a time; disturbed times say nothing."""
    checked = 0
    for run in sorted(REFERENCE.glob("*/run.toml")):
        places: dict[tuple[str, str, str], dict[str, list[CellRecord]]] = defaultdict(lambda: defaultdict(list))
        for record in RunFolder(run.parent).records():
            if not record.disturbed:
                places[record.dataset, record.backbone, (record.host or {})["boot"]][record.label].append(record)
        for place, rows in places.items():
            if "no-selection" not in rows:
                continue
            unit = median(record.ct_s or 0.0 for record in rows["no-selection"])
            for label in rows.keys() & set(methods().names()):
                choice = choose_method(label)
                search = median(record.pt_s or 0.0 for record in rows[label]) / unit
                retrain = median(record.ct_s or 0.0 for record in rows[label]) / unit
                low, high = choice.search_cost(len(rows[label][0].field_names))
                assert low <= search <= high + 0.01, (place, label)  # a search of nothing
                least, most = choice.entry.retrain_cost
                assert least <= retrain <= most, (place, label)
                checked += 1
    assert checked >= 30
