"""What tests of whole cells and runs share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.records import CellRecord
from bench.run.grid import Cell

TINY = "planted[rows=1200,fields=8,main=4,interaction=2,redundant=1]"


class Watcher:
    """Notes what a run reports; raises KeyboardInterrupt in place of the n-th event."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self.planned = (0, 0)
        self.started: list[Cell] = []
        self.statuses: list[str] = []
        self.phases: list[str] = []
        self.trials: list[str] = []
        self.taken: list[Cell] = []
        self.waits: list[str] = []
        self.events, self.interrupt_at = 0, interrupt_at

    def plan(self, total: int, done: int) -> None:
        self.planned = (total, done)

    def start(self, cell: Cell) -> None:
        self.started.append(cell)

    def event(self, event: dict[str, Any]) -> None:
        self.events += 1
        if self.events == self.interrupt_at:
            raise KeyboardInterrupt
        if event["event"] == "trial":
            self.trials.append(event["text"])
        elif event["event"] == "waiting":
            self.waits.append(event["text"])
        else:
            self.phases.append(event.get("phase", event["event"]))

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        self.statuses.append(record.status)

    def found(self, cell: Cell, record: CellRecord) -> None:
        self.taken.append(cell)


def without_circumstances(record: CellRecord) -> dict[str, Any]:
    """A record without times, memory, resumption and command."""
    return _timeless(record.to_dict())


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Cells and trials of a run folder by file name, without times, memory, resumption and command."""
    files = [*(folder / "cells").glob("*.json"), *(folder / "trials").glob("*.json")]
    found = {f"{file.parent.name}/{file.name}": _timeless(json.loads(file.read_text())) for file in files}
    for stored in found.values():
        for trial in (stored.get("tuning") or {}).get("trials", []):
            del trial["seconds"]
    return found


def _timeless(stored: Mapping[str, Any]) -> dict[str, Any]:
    left_out = ("phases", "disturbed", "peak_mem_bytes", "resumed", "seconds", "command", "recorded")
    kept = {name: value for name, value in stored.items() if not name.endswith("_s") and name not in left_out}
    if kept.get("weights"):  # whose masks say what they took
        kept["weights"] = {name: value for name, value in kept["weights"].items() if not name.endswith("_s")}
    return kept
