"""A timing pass: whose turn it is, what is kept of it, and what it refuses; seconds are injected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cell_records import TINY, Watcher, without_circumstances

from bench.cli.run import parse
from bench.engine import disturbance
from bench.engine.disturbance import Reading
from bench.errors import BusyError, ConfigError, StorageError
from bench.lease import Leases, Owner
from bench.records import CellRecord, RunFolder
from bench.run import idle, sweep, timing
from bench.run.config import RunConfig
from bench.run.executors.base import CellTask, Executor, R, Task, TimingTask, read_task
from bench.run.grid import Cell
from bench.run.session import resolve

METHODS = ("no-selection", "random-k", "cardinality")
NOTHING: dict[str, str] = {}
BUSY = {"ct": "other processes had the cores for 50% of its computing time"}


class Clockwork(Executor):
    """Gives the record of a cell with the seconds of a script in place of a computation; notes who is submitted."""

    submitted: ClassVar[list[tuple[str, int]]]
    script: Callable[[str, int], dict[str, Any]]
    """(method, how many of its tasks came before) -> changes to its record."""
    kill_at: ClassVar[int]

    def submit(self, task: Task[R], emit: Any) -> R:
        assert isinstance(read_task(task.text), TimingTask)
        if len(self.submitted) == self.kill_at:
            raise KeyboardInterrupt
        cell = task.cell
        before = sum(one == (cell.method, cell.seed) for one in self.submitted)
        self.submitted.append((cell.method, cell.seed))
        emit({"event": "phase", "phase": "train"})
        record = self.session.folder.read(self.session.cell(cell).hash)
        assert record is not None and task.result is CellRecord
        changes = {"disturbed": NOTHING} | type(self).script(cell.method, before)
        return replace(record, **changes)  # type: ignore[return-value]


@pytest.fixture
def clockwork(monkeypatch: pytest.MonkeyPatch) -> type[Clockwork]:
    """The executor of all timing passes, whose repeats take 1, 2, 3, ... seconds to train, on a machine at rest."""

    class Own(Clockwork):
        submitted: ClassVar = []
        kill_at = -1
        script = staticmethod(lambda method, before: {"pt_s": 0.5, "ct_s": 1.0 + before, "it_s": 0.25})

    monkeypatch.setattr(timing, "choose_executor", lambda name: Own)
    monkeypatch.setattr(idle, "LOOK_S", 0.0)
    return Own


def settings(out: Path, data_dir: Path) -> RunConfig:
    net = ("dnn[mlp=8]",)
    return RunConfig(datasets=(TINY,), methods=METHODS, backbones=net, epochs=1, timing=3, out=out, data_dir=data_dir)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A run folder whose cells are computed."""
    config = settings(tmp_path_factory.mktemp("once") / "run", data_dir)
    computed(config)
    return config.out


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> RunConfig:
    return settings(tmp_path / "run", data_dir)


@pytest.fixture
def done(config: RunConfig, once: Path) -> dict[str, CellRecord]:
    """The records of the run that ``config`` describes, by method."""
    shutil.copytree(once, config.out)
    return {record.method: record for record in RunFolder(config.out).records()}


def computed(config: RunConfig) -> list[CellRecord]:
    return sweep.run(resolve(config), Watcher())


def time(config: RunConfig) -> tuple[list[str], dict[str, CellRecord]]:
    """What went wrong, and the records by method (of the last seed)."""
    faults = timing.run(resolve(config), Watcher())
    records = sorted(RunFolder(config.out).records(), key=lambda record: record.seed)
    return faults, {record.method: record for record in records}


def lengths(config: RunConfig) -> list[int]:
    return [len(json.loads(file.read_text())["rounds"]) for file in (config.out / "timings").glob("*.json")]


def test_methods_of_a_seed_take_turns_and_every_round_begins_with_the_next(
    config: RunConfig, clockwork: type[Clockwork]
) -> None:
    config = replace(config, seeds=2)
    computed(config)
    time(config)
    a, b, c = METHODS
    rounds = [a, b, c, b, c, a, c, a, b]
    assert clockwork.submitted == [(method, seed) for seed in (0, 1) for method in rounds]


def test_all_prune_ratios_of_a_seed_are_one_group() -> None:
    cells = [Cell("d", "b", method, tau, 0) for method, tau in (("base", None), ("x", 0.25), ("x", 0.5))]
    assert timing.turns(cells, 4) == [cells[1], cells[2], cells[0]]  # the fifth round: 4 mod 3 is 1


def test_times_become_medians_and_nothing_else_changes(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    clockwork.script = staticmethod(
        lambda method, n: {"pt_s": (0.5, 0.1, 0.2)[n], "ct_s": (7.0, 1.0, 3.0)[n], "it_s": 0.25, "ct_epoch_s": 2.0 * n}
    )
    faults, after = time(config)
    assert faults == []
    for method, record in after.items():
        assert (record.pt_s, record.ct_s, record.it_s, record.ct_epoch_s) == (0.2, 3.0, 0.25, 2.0)
        assert record.tt_s == pytest.approx(0.2 + 3.0)
        assert record.timing is not None
        assert (record.timing["repeats"], record.timing["differs"]) == (3, None)
        assert (record.timing["pt_s"], record.timing["ct_s"]) == ([0.5, 0.1, 0.2], [7.0, 1.0, 3.0])
        untimed = replace(record, timing=None)
        assert without_circumstances(untimed) == without_circumstances(done[method])
    assert not list(config.out.rglob("*.tmp")) and not list(config.out.rglob("*.lease"))


def test_a_stopped_pass_goes_on_and_records_wait_for_their_whole_group(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    clockwork.kill_at = 7  # two whole rounds and one repeat
    with pytest.raises(KeyboardInterrupt):
        time(config)
    assert sorted(lengths(config)) == [2, 2, 3]
    assert all(record.timing is None for record in RunFolder(config.out).records())
    first, clockwork.submitted, clockwork.kill_at = clockwork.submitted, [], -1
    time(config)
    assert clockwork.submitted == [(METHODS[0], 0), (METHODS[1], 0)]
    assert first[-1] == (METHODS[2], 0)
    clockwork.submitted = []
    files = {file: file.read_bytes() for file in RunFolder(config.out).record_files()}
    time(config)
    assert clockwork.submitted == []
    assert {file: file.read_bytes() for file in files} == files
    time(replace(config, timing=4))  # more repeats are added to those that are there
    assert len(clockwork.submitted) == len(METHODS)


def test_a_disturbed_repeat_is_made_again_at_most_twice_and_then_counts_for_nothing(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    clockwork.script = staticmethod(
        lambda method, n: {"pt_s": 0.5, "ct_s": 1.0 + n, "it_s": 0.25, "disturbed": BUSY if n in (0, 2, 3, 4) else {}}
    )
    _, after = time(replace(config, methods=METHODS[:1]))
    record = after[METHODS[0]]
    # attempts 0 | 1 | 2, 3, 4 | 5: round one is the second attempt, round two stays disturbed, round three is the sixth
    assert len(clockwork.submitted) == 2 + 3 + 1
    assert record.timing is not None
    assert record.timing["ct_s"] == [2.0, 5.0, 6.0]
    assert record.timing["disturbed"] == [{}, BUSY, {}]
    assert (record.ct_s, record.disturbed) == ((2.0 + 6.0) / 2, {})
    clockwork.submitted = [(METHODS[0], 0)]  # the next one is its second, which is undisturbed
    _, after = time(replace(config, methods=METHODS[:1]))
    assert len(clockwork.submitted) == 2
    found = after[METHODS[0]].timing
    assert found is not None and (found["ct_s"], found["disturbed"]) == ([2.0, 2.0, 6.0], [{}, {}, {}])


def test_a_machine_that_stays_busy_ends_the_pass_which_keeps_what_it_has(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = clockwork.script
    quiet = iter([{}, {}, BUSY])
    clockwork.script = staticmethod(lambda method, n: plain(method, n) | {"disturbed": next(quiet)})
    looks: list[int] = []

    def require_idle(most: int = 3) -> None:
        looks.append(most)
        if len(clockwork.submitted) == 3:
            raise BusyError("the machine is busy")

    monkeypatch.setattr(timing, "require_idle", require_idle)
    with pytest.raises(BusyError):
        time(config)
    assert looks == [3, timing.WAITING_LOOKS]
    assert sorted(lengths(config)) == [1, 1]
    assert not list(config.out.rglob("*.lease"))


def test_a_time_that_was_never_undisturbed_is_left_out_of_tables(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    clockwork.script = staticmethod(lambda method, n: {"pt_s": 0.5, "ct_s": 1.0, "it_s": 0.25, "disturbed": BUSY})
    _, after = time(replace(config, methods=METHODS[:1], timing=2))
    assert len(clockwork.submitted) == 2 * timing.ATTEMPTS
    assert after[METHODS[0]].disturbed == BUSY


def test_another_result_is_told_and_does_not_replace_the_record_s(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    plain = clockwork.script
    clockwork.script = staticmethod(lambda method, n: plain(method, n) | ({"auc": 0.125} if n == 1 else {}))
    _, after = time(config)
    for method, record in after.items():
        assert record.auc == done[method].auc
        assert record.timing is not None
        assert record.timing["differs"] == f"repeat 2 gave auc 0.125 and not {record.auc}"


def test_a_repeat_that_fails_is_a_fault_and_leaves_the_record(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    plain = clockwork.script
    fails = {"status": "oom", "reason": "no memory"}
    clockwork.script = staticmethod(lambda method, n: fails if method == METHODS[1] else plain(method, n))
    faults, after = time(config)
    (fault,) = faults
    assert fault.startswith("oom: ") and METHODS[1] in fault and fault.endswith("repeat 1 of its timing: no memory")
    assert {method: record.timing is not None for method, record in after.items()} == dict(
        zip(METHODS, (True, False, True), strict=True)
    )
    assert after[METHODS[1]].status == "ok"
    assert clockwork.submitted.count((METHODS[1], 0)) == 1


def test_repeats_of_another_machine_are_made_again(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    time(config)
    file = next((config.out / "timings").glob("*.json"))
    stored = json.loads(file.read_text())
    stored["host"]["cpu"] = "another"
    file.write_text(json.dumps(stored))
    clockwork.submitted = []
    time(config)
    assert len(clockwork.submitted) == 3
    assert json.loads(file.read_text())["host"]["cpu"] != "another"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": {}, "device": "cpu", "threads": 1, "rounds": [{}]}'])
def test_a_damaged_file_of_repeats_is_named(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork], text: str
) -> None:
    time(config)
    file = next((config.out / "timings").glob("*.json"))
    file.write_text(text)
    with pytest.raises(StorageError, match=f"{file.name} is damaged. Delete it"):
        time(config)


def test_computing_all_again_forgets_the_repeats(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork]
) -> None:
    time(config)
    records = computed(replace(config, rerun="always"))
    assert [record.timing for record in records] == [None] * 3
    assert lengths(config) == []


def busy_reading(busy_per_look: float) -> Callable[[], Reading]:
    """Counters that grow by so many CPU seconds from one reading to the next."""
    count = iter(range(100))
    return lambda: Reading({}, 0.0, busy_per_look * next(count), 0.0)


def test_a_busy_machine_is_refused_before_anything_is_written(
    config: RunConfig, once: Path, clockwork: type[Clockwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturbance, "reading", busy_reading(1e6))
    with pytest.raises(BusyError, match=r"machine is busy: other processes have .* cores, and --timing allows"):
        timing.check(resolve(config))
    assert not config.out.exists()
    shutil.copytree(once, config.out)
    monkeypatch.setattr(disturbance, "reading", busy_reading(1e6))
    with pytest.raises(BusyError, match="the machine is busy"):
        time(config)
    assert (clockwork.submitted, list(config.out.rglob("*.lease"))) == ([], [])
    monkeypatch.setattr(disturbance, "reading", busy_reading(0.0))  # idle
    timing.check(resolve(config))
    time(config)
    monkeypatch.setattr(disturbance, "reading", busy_reading(1e6))
    timing.check(resolve(config))  # nothing is left to time, so that nobody need be idle
    time(config)


def test_what_others_take_is_all_but_this_process() -> None:
    before, after = Reading({}, 10.0, 100.0, 5.0), Reading({}, 12.0, 105.0, 5.5)
    assert disturbance.taken_s(before, after) == (5.0 - 2.0) + 0.5
    assert disturbance.taken_s(before, replace(after, busy=101.0)) == 0.5  # rounded to hundredths, never below none


def test_two_processes_do_not_time_at_once(
    config: RunConfig, done: dict[str, CellRecord], clockwork: type[Clockwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Leases(me=Owner("there", "another boot", 7, "then"))
    lease = there.take(config.out / "timings" / "pass.lease")
    for refused in (timing.check, lambda plan: timing.run(plan, Watcher())):
        with pytest.raises(BusyError, match="another process is timing the cells of this run folder"):
            refused(resolve(config))
    assert clockwork.submitted == []
    assert not isinstance(lease, Owner)
    lease.release()
    there.close()
    time(config)
    assert len(clockwork.submitted) == 9


def test_a_repeat_searches_by_itself(
    config: RunConfig, zoo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = replace(config, methods=("no-selection", "zoo-counted"), prune_ratio=(0.5, 0.25), executor="inline")
    before = {record.config_hash: record for record in computed(config)}
    log = tmp_path / "zoo.log"
    assert log.read_text().split() == ["select"]  # one ranking for both prune ratios
    faults, _ = time(replace(config, timing=2))
    assert faults == []
    assert log.read_text().split() == ["select"] * (1 + 2 * 2)
    for record in RunFolder(config.out).records():
        assert record.timing is not None
        assert (record.timing["repeats"], record.timing["differs"]) == (2, None)
        assert record.auc == before[record.config_hash].auc


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ([], None),
        (["--timing"], 3),
        (["--timing", "--seeds", "2"], 3),
        (["--timing", "5", "--seeds", "2"], 5),
        (["--timing=4"], 4),
        (["--set", "dim=8", "--timing"], 3),
    ],
)
def test_the_flag_may_stand_without_its_number(argv: list[str], wanted: int | None) -> None:
    assert parse(argv).timing == wanted


@pytest.mark.parametrize("number", ["1", "0", "-2"])
def test_one_repeat_has_no_spread(number: str) -> None:
    with pytest.raises(ConfigError, match=rf"timing={number} is out of range; allowed: \[2, inf\)"):
        parse(["--timing", number])


def test_a_task_travels_as_text() -> None:
    cell = Cell("d", "b", "m", 0.5, 1)
    found = read_task(TimingTask(cell).text)
    assert (type(found), found.cell) == (TimingTask, cell)
    assert type(read_task(CellTask(cell).text)) is CellTask
