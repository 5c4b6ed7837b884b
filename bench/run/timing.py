"""A timing pass: cells that have a record are computed again, for their times alone.

The cells of one data set, backbone and seed, the baseline's among them, take turns: each once, then each once more, and
every round begins with the next of them. So what the machine does in the meantime meets all alike, and ratios are of
neighbours in time. One process follows the other. Repeats are kept one by one in ``timings/`` of the run folder; where
a group has all of them, its records take their medians. Results stay; where a repeat gives others, the record says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Self

from bench.environment import unlike
from bench.errors import BusyError, StorageError
from bench.files import read_text, write_atomically
from bench.lease import SUFFIX, Lease, LeaseLost, Leases, Owner
from bench.records import CellRecord, plain
from bench.run.config import RunConfig
from bench.run.context import Emit
from bench.run.executors import choose_executor
from bench.run.executors.base import Executor, TimingTask
from bench.run.grid import Cell
from bench.run.idle import require_idle
from bench.run.job import ResolvedCell
from bench.run.progress import Reporter
from bench.run.session import DONE, TIMINGS, Plan, Session, use_threads

ATTEMPTS = 3
"""How often a repeat is made that other work disturbs; the last one is kept, and named."""
WAITING_LOOKS = 600
"""How often the machine is looked at before such a repeat is made again: about so many seconds."""
_LEASE = f"pass{SUFFIX}"
_PHASES = {
    "pt_s": "pt",
    "ct_s": "ct",
    "it_s": "it",
    "it_csr_s": "it",
    "surgery_s": "ct",
    "warmup_s": "ct",
    "ct_best_s": "ct",
    "ct_epoch_s": "ct",
    "it_row_p50_s": "it",
    "it_row_p99_s": "it",
}
"""Times of a record that are medians after a pass, and the phase that they are part of."""
_LISTED = ("pt_s", "ct_s", "it_s")
_RESULTS = ("auc", "logloss", "kept_fields")
_PLACE = ("host", "device", "threads")


@dataclass
class Repeats:
    """What was measured of one cell, round by round."""

    host: dict[str, Any]
    device: str | None
    threads: int | None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """Of each its times, its results, and which phases were ``disturbed``."""

    @classmethod
    def beginning(cls, record: CellRecord) -> Self:
        """None yet, in the circumstances of ``record``."""
        return cls(record.host, record.device, record.threads)

    def is_done(self, number: int) -> bool:
        """Whether round ``number`` was measured and not disturbed."""
        return number < len(self.rounds) and not self.rounds[number]["disturbed"]

    def put(self, number: int, record: CellRecord) -> None:
        """Take what ``record`` measured as round ``number``, which is the next one or was disturbed."""
        found = {key: plain(getattr(record, key)) for key in (*_PHASES, *_RESULTS, "disturbed")}
        self.rounds[number : number + 1] = [found]

    def medians(self, record: CellRecord) -> CellRecord:
        """``record`` with the medians of the undisturbed rounds; of all of them where each was disturbed."""
        disturbed = [one["disturbed"] for one in self.rounds]
        never = {phase: why for phase in dict.fromkeys(_PHASES.values()) if (why := _in_all(disturbed, phase))}
        times = {key: self._median(key, phase, phase in never) for key, phase in _PHASES.items()}
        timing = {
            "repeats": len(self.rounds),
            **{key: [one[key] for one in self.rounds] for key in _LISTED},
            "disturbed": disturbed,
            **{key: getattr(self, key) for key in _PLACE},
            "differs": self._differs(record),
        }
        total = None if times["pt_s"] is None or times["ct_s"] is None else times["pt_s"] + times["ct_s"]
        unknown = all(one is None for one in disturbed)
        return replace(record, **times, tt_s=total, disturbed=None if unknown else never, timing=timing)  # type: ignore[arg-type]

    def _median(self, key: str, phase: str, whatever: bool) -> float | None:
        kept = [one.get(key) for one in self.rounds if whatever or phase not in (one["disturbed"] or {})]
        known = [seconds for seconds in kept if seconds is not None]
        return median(known) if known else None

    def _differs(self, record: CellRecord) -> str | None:
        """Which repeat gave other results than the record, in words."""
        for number, one in enumerate(self.rounds, 1):
            for key in _RESULTS:
                if one[key] != (own := plain(getattr(record, key))):
                    elsewhere = "".join(f", {text}" for text in unlike(record.to_dict(), asdict(self)))
                    what = f"{key} {one[key]} and not {own}" if key != "kept_fields" else "other kept fields"
                    return f"repeat {number} gave {what}{elsewhere}"
        return None


def _in_all(disturbed: Sequence[Mapping[str, str] | None], phase: str) -> str:
    """How each round of a phase was disturbed, as the first one says; empty where one was not."""
    reasons = [(one or {}).get(phase, "") for one in disturbed]
    return reasons[0] if reasons and all(reasons) else ""


class RepeatStore:
    """``timings/*.json`` of a run folder, one file a cell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, cell: ResolvedCell) -> Repeats:
        """The repeats of ``cell`` that were made in the circumstances of now.

        Raises:
            StorageError: its file is damaged.
        """
        none, file = Repeats.beginning(cell.record()), self._file(cell)
        text = read_text(file)
        if text is None:
            return none
        try:
            found = Repeats(**json.loads(text))
            sound = all({*_PHASES, *_RESULTS, "disturbed"} <= one.keys() for one in found.rounds)
            apart = unlike(asdict(found), asdict(none))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            sound, apart = False, []
        if not sound:
            raise StorageError(f"{file} is damaged. Delete it and repeat the command; the cell is timed anew.")
        return none if apart else found

    def write(self, cell: ResolvedCell, repeats: Repeats) -> None:
        with write_atomically(self._file(cell)) as file:
            json.dump(asdict(repeats), file, indent=1)

    def _file(self, cell: ResolvedCell) -> Path:
        return self.folder / f"{cell.hash[:16]}.json"


def check(plan: Plan) -> None:
    """Refuse at once what a timing pass would refuse after the cells without a record are computed.

    Raises:
        BusyError: there is something to time, and the machine is busy or another process times this folder.
        StorageError: a file of the run folder is damaged.
    """
    use_threads(plan.config)
    session = Session(plan)
    if not any(to_do(session, [cell]) for cell in plan.cells()):
        return
    with Leases() as leases:
        if not leases.is_free(_place(session)):
            raise _at_it("")
    require_idle()


def to_do(session: Session, cells: Iterable[Cell]) -> int:
    """Repeats that a timing pass would make of ``cells``, those without a record included."""
    store, wanted, count = RepeatStore(session.folder.path / TIMINGS), session.plan.config.timing or 0, 0
    for cell in cells:
        resolved = session.cell(cell)
        record = session.folder.read(resolved.hash) if resolved.decided else None
        if record is None or record.status not in DONE or session.plan.config.rerun == "always":
            count += wanted
        elif record.status == "ok":
            repeats = store.read(resolved)
            count += sum(not repeats.is_done(number) for number in range(wanted))
    return count


def run(plan: Plan, reporter: Reporter) -> list[str]:
    """Time the cells of ``plan`` that have results, and return what went wrong.

    Raises:
        BusyError: the machine is busy, or another process times this folder.
        StorageError: a file of the run folder cannot be written, read or trusted.
    """
    session = Session(plan)
    with Leases() as leases:
        lease = leases.take(_place(session))
        if isinstance(lease, Owner):
            raise _at_it(f": {lease}")
        with lease:
            config = plan.config
            executor: Executor = choose_executor(one_at_a_time(config))(session)
            try:
                return _Pass(executor, reporter, lease).all(list(plan.cells()))
            except LeaseLost:
                raise _at_it("; it took over") from None


def one_at_a_time(config: RunConfig) -> str:
    """The executor of a timing pass: that of the run with one cell in flight, by default a process of its own."""
    return (config.executor or "process").partition(":")[0]


def _place(session: Session) -> Path:
    return session.folder.path / TIMINGS / _LEASE


def _at_it(who: str) -> BusyError:
    return BusyError(
        f"another process is timing the cells of this run folder{who}. Wait until it has ended, and repeat the command."
    )


def turns(cells: Sequence[Cell], number: int) -> list[Cell]:
    """The order of a group's cells in round ``number``: each round begins with the next one."""
    first = number % len(cells)
    return [*cells[first:], *cells[:first]]


class _Pass:
    """One pass over the cells, under the folder's lease."""

    def __init__(self, executor: Executor, reporter: Reporter, lease: Lease) -> None:
        self._executor, self._reporter, self._lease = executor, reporter, lease
        self._session = executor.session
        self._store = RepeatStore(self._session.folder.path / TIMINGS)
        self._wanted = self._session.plan.config.timing or 0
        self._repeats: dict[Cell, Repeats] = {}
        self._faults: dict[Cell, str] = {}
        self._total = self._done = 0

    def all(self, cells: Sequence[Cell]) -> list[str]:
        """Time the cells group by group; what went wrong."""
        groups: dict[tuple[str, str, int], list[Cell]] = {}
        for cell in cells:
            resolved = self._session.cell(cell)
            record = self._session.folder.read(resolved.hash)
            if record is not None and record.status == "ok":
                self._repeats[cell] = self._store.read(resolved)
                groups.setdefault((cell.dataset, cell.backbone, cell.seed), []).append(cell)
        self._total = sum(not one.is_done(n) for one in self._repeats.values() for n in range(self._wanted))
        if self._total:
            require_idle()
        for group in groups.values():
            for number in range(self._wanted):
                for cell in turns(group, number):
                    if cell not in self._faults and not self._repeats[cell].is_done(number):
                        self._time(cell, number)
            for cell in group:
                self._record(cell)
        return list(self._faults.values())

    def _time(self, cell: Cell, number: int) -> None:
        """Measure round ``number`` of ``cell``, again where other work disturbs it.

        Raises:
            BusyError: the machine stays busy.
        """
        repeats = self._repeats[cell]
        self._done += 1
        self._reporter.start(cell)
        for attempt in range(1, ATTEMPTS + 1):
            found = self._executor.submit(TimingTask(cell), self._watched())
            self._lease.check()
            if found.status != "ok":
                self._faults[cell] = f"{found.status}: {cell.title}: repeat {number + 1} of its timing: {found.reason}"
                return
            again = bool(found.disturbed) and attempt < ATTEMPTS
            self._tell(cell, number, found, again)
            if not again:
                break
            require_idle(WAITING_LOOKS)
        repeats.put(number, found)
        self._store.write(self._session.cell(cell), repeats)

    def _watched(self) -> Emit:
        def tell(event: dict[str, Any]) -> None:
            self._lease.check()
            self._reporter.event(event)

        return tell

    def _tell(self, cell: Cell, number: int, found: CellRecord, again: bool) -> None:
        times = f"PT {found.pt_s:.2f}s  CT {found.ct_s:.2f}s  IT {found.it_s:.3f}s"
        why = next(iter((found.disturbed or {}).values()), "")
        doubt = f"  disturbed ({why}){', made again when the machine is idle' if again else ''}" if why else ""
        where = f"timing [{self._done}/{self._total}] {cell.title}, repeat {number + 1} of {self._wanted}"
        self._reporter.event({"event": "timing", "cell": cell, "text": f"{where}: {times}{doubt}"})

    def _record(self, cell: Cell) -> None:
        """Write the medians into the record of ``cell``, where it has all its repeats."""
        resolved, folder = self._session.cell(cell), self._session.folder
        record, repeats = folder.read(resolved.hash), self._repeats[cell]
        if record is None or cell in self._faults or len(repeats.rounds) < self._wanted:
            return
        timed = repeats.medians(record)
        if timed.to_dict() != record.to_dict():
            self._lease.check()
            folder.write(timed)
