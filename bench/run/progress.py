"""What a run says while it runs: a live display on a terminal, plain lines anywhere else. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench.run.tuning import chosen, values_text

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from bench.records import CellRecord
    from bench.run.grid import Cell


_SHOWN = 8
"""Running cells that the display shows; a window has few lines."""


class Reporter(Protocol):
    """Receives what happens in a run."""

    def plan(self, total: int, done: int) -> None:
        """``total`` cells in the run, ``done`` of them finished by earlier runs."""

    def start(self, cell: Cell) -> None: ...

    def event(self, event: dict[str, Any]) -> None:
        """A phase or a validation inside a running cell, a trial, ranking or repeat that ended, a wait, or a warning.

        What a running cell tells has it under ``cell``; without, it is of the one that started last.
        """

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        """``cell`` took ``seconds`` of the run, which cells that run side by side share."""

    def found(self, cell: Cell, record: CellRecord) -> None:
        """Another process has finished ``cell`` while this one was running."""


@dataclass
class Now:
    """Where a running cell is."""

    began: float
    phase: str = ""
    epoch: dict[str, Any] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "epoch":
            self.epoch = dict(event)
        else:
            self.phase, self.epoch = event["phase"], {}

    @property
    def text(self) -> str:
        if not self.epoch:
            return self.phase
        at = self.epoch
        return f"{self.phase}  epoch {at['epoch']:g} of at most {at['epochs']}  valid AUC {at['valid_auc']:.4f}"


class Tally:
    """Counts shared by both displays, and the time left guessed from the cells done so far."""

    def __init__(self) -> None:
        """Start with nothing planned."""
        self.total = self.earlier = self.done = self.bad = 0
        self.seconds = 0.0
        self.running: dict[Cell, Now] = {}
        """Cells that were begun and have not ended, in their order."""
        self._warned: set[str] = set()

    def plan(self, total: int, done: int) -> None:
        self.total, self.earlier = total, done
        self.done, self.seconds = 0, 0.0  # of the part that begins, where a command has several

    def is_new(self, warning: str) -> bool:
        """Whether ``warning`` is heard for the first time."""
        new = warning not in self._warned
        self._warned.add(warning)
        return new

    def start(self, cell: Cell) -> None:
        self.running.setdefault(cell, Now(time.perf_counter()))

    def add(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        self.running.pop(cell, None)
        self.done += 1
        self.seconds += seconds
        self.bad += record.status not in ("ok", "skipped")

    def add_found(self, cell: Cell, record: CellRecord) -> None:
        """Count a cell of another process, which says nothing on how long a cell takes here."""
        self.running.pop(cell, None)
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
    values = [] if record.tuning is None else [values_text(chosen(record.tuning))]
    more = "".join(f"  {text}" for text in (*values, *record.notes.get("flags", [])))
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
        self.tally.start(cell)

    def event(self, event: dict[str, Any]) -> None:
        if event["event"] == "warning" and self.tally.is_new(event["text"]):
            self._say(f"warning: {event['text']}")
        elif event["event"] == "trial":
            self._say(f"trial: {event['text']}")
        elif event["event"] in ("waiting", "timing", "ranking", "step"):
            if "cell" in event:
                self.tally.running.pop(event["cell"], None)
            self._say(event["text"])

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        self.tally.add(cell, record, seconds)
        others = f", {len(self.tally.running)} running" if self.tally.running else ""
        left = f"  ({duration(self.tally.left_s)} left{others})" if self.tally.left else ""
        self._tell(cell, f"{outcome(record)}{left}")

    def found(self, cell: Cell, record: CellRecord) -> None:
        self.tally.add_found(cell, record)
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
    """A live panel: cells done and left, phase, epoch and validation AUC of the running ones, time left."""

    def __init__(self, live: Live) -> None:
        """Draw into ``live``."""
        self.live = live
        self.tally = Tally()

    def plan(self, total: int, done: int) -> None:
        self.tally.plan(total, done)
        self._draw()

    def start(self, cell: Cell) -> None:
        self.tally.start(cell)
        self._draw()

    def event(self, event: dict[str, Any]) -> None:
        running = self.tally.running
        if event["event"] == "warning":
            self._warn(event["text"])
        elif event["event"] == "trial":
            self._tell(f"trial: {event['text']}", "dim")
        elif event["event"] in ("timing", "ranking"):
            running.pop(event["cell"], None)
            self._tell(event["text"], "dim")
        elif event["event"] in ("waiting", "step"):
            self._tell(event["text"], "dim")
        elif (cell := event.get("cell", next(reversed(running), None))) in running:
            running[cell].take(event)
        self._draw()

    def _warn(self, text: str) -> None:
        if self.tally.is_new(text):
            self._tell(f"warning: {text}", "yellow")

    def _tell(self, text: str, style: str) -> None:
        from rich.text import Text  # noqa: PLC0415

        self.live.console.print(Text(text, style))

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        self.tally.add(cell, record, seconds)
        self._end(record, f"{cell.title}: {outcome(record)}")

    def found(self, cell: Cell, record: CellRecord) -> None:
        self.tally.add_found(cell, record)
        self._end(record, f"{cell.title}: {outcome(record)}  (by another process)")

    def _end(self, record: CellRecord, text: str) -> None:
        self._tell(text, "" if record.status in ("ok", "skipped") else "red")
        self._draw()

    def _draw(self) -> None:
        self.live.update(self._table())

    def _table(self) -> Table:
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        tally, grid = self.tally, Table.grid(padding=(0, 2))
        done = tally.earlier + tally.done
        bad = f", {tally.bad} failed" if tally.bad else ""
        running = f", {len(tally.running)} running" if len(tally.running) > 1 else ""
        grid.add_row("cells", Text(f"{done} of {tally.total} done{bad}{running}, {duration(tally.left_s)} left"))
        for cell, now in list(tally.running.items())[:_SHOWN]:
            grid.add_row("now", Text(f"{cell.title}  ({duration(time.perf_counter() - now.began)})"))
            grid.add_row("phase", Text(now.text))
        return grid


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
