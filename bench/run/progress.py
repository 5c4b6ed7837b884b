"""What a run says while it runs: a live display on a terminal, plain lines anywhere else. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from bench.records import CellRecord
    from bench.run.grid import Cell


class Reporter(Protocol):
    """Receives what happens in a run."""

    def plan(self, total: int, done: int) -> None:
        """``total`` cells in the run, ``done`` of them finished by earlier runs."""

    def start(self, cell: Cell) -> None: ...

    def event(self, event: dict[str, Any]) -> None:
        """A phase or a validation inside the running cell, a trial or repeat that ended, a wait, or a warning."""

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None: ...

    def found(self, cell: Cell, record: CellRecord) -> None:
        """Another process has finished ``cell`` while this one was running."""


class Tally:
    """Counts shared by both displays, and the time left guessed from the cells done so far."""

    def __init__(self) -> None:
        """Start with nothing planned."""
        self.total = self.earlier = self.done = self.bad = 0
        self.seconds = 0.0
        self._warned: set[str] = set()

    def plan(self, total: int, done: int) -> None:
        self.total, self.earlier = total, done
        self.done, self.seconds = 0, 0.0  # of the part that begins, where a command has several

    def is_new(self, warning: str) -> bool:
        """Whether ``warning`` is heard for the first time."""
        new = warning not in self._warned
        self._warned.add(warning)
        return new

    def add(self, record: CellRecord, seconds: float) -> None:
        self.done += 1
        self.seconds += seconds
        self.bad += record.status not in ("ok", "skipped")

    def add_found(self, record: CellRecord) -> None:
        """Count a cell of another process, which says nothing on how long a cell takes here."""
        self.earlier += 1
        self.bad += record.status not in ("ok", "skipped")

    @property
    def left(self) -> int:
        return self.total - self.earlier - self.done

    @property
    def left_s(self) -> float | None:
        return self.seconds / self.done * self.left if self.done else None


def outcome(record: CellRecord) -> str:
    """One line on a finished cell."""
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    lr = [] if record.tuning is None else [f"lr {record.tuning['lr']:g}"]
    more = "".join(f"  {text}" for text in (*lr, *record.notes.get("flags", [])))
    return (
        f"AUC {record.auc:.4f}  Logloss {record.logloss:.4f}  PT {record.pt_s:.1f}s  CT {record.ct_s:.1f}s"
        f"  IT {record.it_s:.3f}s{more}"
    )


def duration(seconds: float | None) -> str:
    """Seconds as 1h02m, 3m05s or 12s; "?" where unknown."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Lines:
    """One plain line when a cell ends, and one for a warning."""

    def __init__(self) -> None:
        """Write to stderr."""
        self.tally = Tally()

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def plan(self, total: int, done: int) -> None:
        self.tally.plan(total, done)
        self._say(f"{total} cell{'' if total == 1 else 's'}, {done} done before, {total - done} to run")

    def start(self, cell: Cell) -> None:
        pass

    def event(self, event: dict[str, Any]) -> None:
        if event["event"] == "warning" and self.tally.is_new(event["text"]):
            self._say(f"warning: {event['text']}")
        elif event["event"] == "trial":
            self._say(f"trial: {event['text']}")
        elif event["event"] in ("waiting", "timing", "step"):
            self._say(event["text"])

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        self.tally.add(record, seconds)
        left = f"  ({duration(self.tally.left_s)} left)" if self.tally.left else ""
        self._tell(cell, f"{outcome(record)}{left}")

    def found(self, cell: Cell, record: CellRecord) -> None:
        self.tally.add_found(record)
        self._tell(cell, f"{outcome(record)}  (by another process)")

    def _tell(self, cell: Cell, text: str) -> None:
        self._say(f"[{self.tally.earlier + self.tally.done}/{self.tally.total}] {cell.title}: {text}")


class Silence:
    """Nothing at all, for callers who ask for that."""

    def plan(self, total: int, done: int) -> None: ...

    def start(self, cell: Cell) -> None: ...

    def event(self, event: dict[str, Any]) -> None: ...

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None: ...

    def found(self, cell: Cell, record: CellRecord) -> None: ...


class Display:
    """A live panel: cells done and left, the running cell's phase, epoch and validation AUC, time left."""

    def __init__(self, live: Live) -> None:
        """Draw into ``live``."""
        self.live = live
        self.tally = Tally()
        self.cell: Cell | None = None
        self.phase = ""
        self.epoch: dict[str, Any] = {}
        self.started = 0.0

    def plan(self, total: int, done: int) -> None:
        self.tally.plan(total, done)
        self._draw()

    def start(self, cell: Cell) -> None:
        self.cell, self.phase, self.epoch, self.started = cell, "", {}, time.perf_counter()
        self._draw()

    def event(self, event: dict[str, Any]) -> None:
        if event["event"] == "warning":
            self._warn(event["text"])
        elif event["event"] == "trial":
            self._tell(f"trial: {event['text']}", "dim")
        elif event["event"] in ("waiting", "timing", "step"):
            self._tell(event["text"], "dim")
        elif event["event"] == "epoch":
            self.epoch = event
        else:
            self.phase, self.epoch = event["phase"], {}
        self._draw()

    def _warn(self, text: str) -> None:
        if self.tally.is_new(text):
            self._tell(f"warning: {text}", "yellow")

    def _tell(self, text: str, style: str) -> None:
        from rich.text import Text  # noqa: PLC0415

        self.live.console.print(Text(text, style))

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        self.tally.add(record, seconds)
        self._end(record, f"{cell.title}: {outcome(record)}")

    def found(self, cell: Cell, record: CellRecord) -> None:
        self.tally.add_found(record)
        self._end(record, f"{cell.title}: {outcome(record)}  (by another process)")

    def _end(self, record: CellRecord, text: str) -> None:
        self._tell(text, "" if record.status in ("ok", "skipped") else "red")
        self.cell = None
        self._draw()

    def _draw(self) -> None:
        self.live.update(self._table())

    def _table(self) -> Table:
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        tally, grid = self.tally, Table.grid(padding=(0, 2))
        done = tally.earlier + tally.done
        bad = f", {tally.bad} failed" if tally.bad else ""
        grid.add_row("cells", Text(f"{done} of {tally.total} done{bad}, {duration(tally.left_s)} left"))
        if self.cell is not None:
            grid.add_row("now", Text(f"{self.cell.title}  ({duration(time.perf_counter() - self.started)})"))
            grid.add_row("phase", Text(self._where()))
        return grid

    def _where(self) -> str:
        if not self.epoch:
            return self.phase
        at = self.epoch
        return f"{self.phase}  epoch {at['epoch']:g} of at most {at['epochs']}  valid AUC {at['valid_auc']:.4f}"


@contextmanager
def reporter() -> Iterator[Reporter]:
    """A live display where stderr is a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield Display(live)
