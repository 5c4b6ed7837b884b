from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from bench.records import CellRecord
from bench.run.grid import Cell
from bench.run.progress import Display, Lines, Tally, duration, outcome, reporter

CELL = Cell("planted[rows=5]", "dnn[mlp=8]", "light-fmp", 0.5, 1)
OK = CellRecord(
    dataset="d", backbone="b", method="m", label="m", seed=1, config_hash="0" * 64, status="ok",
    auc=0.71239, logloss=0.5, pt_s=1.25, ct_s=2.0, it_s=0.01,
)  # fmt: skip
OTHER = replace(CELL, seed=2)
FAILED = replace(OK, status="failed", reason="ValueError: fields [nan] and [/red] of [3]")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.4, "0s"), (12.4, "12s"), (59.7, "1m00s"), (185, "3m05s"), (3600, "1h00m"), (7325, "2h02m")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_left_is_the_mean_of_this_run_s_cells() -> None:
    tally = Tally()
    tally.plan(10, 4)
    assert (tally.left, tally.left_s) == (6, None)
    tally.add(CELL, OK, 3.0)
    tally.add(CELL, FAILED, 5.0)
    assert (tally.left, tally.left_s, tally.bad) == (4, 16.0, 1)
    tally.add(CELL, replace(OK, status="skipped"), 0.0)
    assert tally.bad == 1
    tally.add_found(CELL, FAILED)
    assert (tally.left, tally.left_s, tally.bad) == (2, 8.0 / 3 * 2, 2)


def test_outcomes_in_one_line() -> None:
    assert outcome(OK) == "AUC 0.7124  Logloss 0.5000  PT 1.2s  CT 2.0s  IT 0.010s"
    assert outcome(replace(OK, notes={"flags": ["LOW-AUC"]})).endswith("  LOW-AUC")
    tuned = replace(OK, notes={"flags": ["LOW-AUC"]}, tuning={"lr": 3e-4})
    assert outcome(tuned).endswith("  IT 0.010s  lr 0.0003  LOW-AUC")
    assert outcome(FAILED) == "failed: ValueError: fields [nan] and [/red] of [3]"


def feed(reporter: Any) -> None:
    reporter.plan(4, 1)
    for record in (OK, FAILED):
        reporter.start(CELL)
        reporter.event({"event": "trial", "text": f"[{record.status}] rate"})
        reporter.event({"event": "phase", "phase": "train"})
        reporter.event({"event": "epoch", "fit": "train", "epochs": 50, "epoch": 1.5, "valid_auc": 0.61})
        reporter.finish(CELL, record, 2.0)
    reporter.event({"event": "waiting", "text": "waiting for another process: [host], pid 7, 1 cell"})
    reporter.found(CELL, FAILED)


def test_plain_lines_name_the_cell_its_outcome_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    feed(Lines())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "4 cells, 1 done before, 3 to run",
        "trial: [ok] rate",
        f"[2/4] {CELL.title}: {outcome(OK)}  (4s left)",
        "trial: [failed] rate",
        f"[3/4] {CELL.title}: {outcome(FAILED)}  (2s left)",
        "waiting for another process: [host], pid 7, 1 cell",
        f"[4/4] {CELL.title}: {outcome(FAILED)}  (by another process)",
    ]


def test_the_display_shows_phase_epoch_auc_and_prints_brackets_as_they_are() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        display = Display(live)
        display.plan(3, 1)
        display.start(CELL)
        display.event({"event": "phase", "phase": "pretrain"})
        with console.capture() as capture:
            console.print(display._table())
        assert "cells  1 of 3 done, ? left" in capture.get()
        assert "pretrain" in capture.get()
        display.event({"event": "epoch", "fit": "train", "epochs": 50, "epoch": 1.5, "valid_auc": 0.61234})
        with console.capture() as capture:
            console.print(display._table())
        assert CELL.title in capture.get()
        assert "pretrain  epoch 1.5 of at most 50  valid AUC 0.6123" in capture.get()
        for _ in range(2):
            display.event({"event": "warning", "text": "no [room] on the device"})
        assert display.tally.running[CELL].phase == "pretrain"
        display.finish(CELL, OK, 2.0)
        display.start(CELL)
        display.finish(CELL, FAILED, 2.0)
        with console.capture() as capture:
            console.print(display._table())
        assert "3 of 3 done, 1 failed" in capture.get()
    assert f"{CELL.title}: {outcome(OK)}" in screen.getvalue()
    assert f"{CELL.title}: {outcome(FAILED)}" in screen.getvalue()
    assert screen.getvalue().count("warning: no [room] on the device") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_display_and_a_pipe_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, kind in ((Terminal(), Display), (io.StringIO(), Lines)):
        monkeypatch.setattr(sys, "stderr", stream)
        with reporter() as found:
            assert isinstance(found, kind)
            feed(found)
        assert "0.7124" in stream.getvalue()
        assert "waiting for another process: [host], pid 7, 1 cell" in stream.getvalue()
        assert "(by another process)" in stream.getvalue()
        assert "trial: [ok] rate" in stream.getvalue()


def side_by_side(told: Any) -> None:
    """Two cells begin, and each tells where it is."""
    told.plan(4, 0)
    for cell in (CELL, OTHER):
        told.start(cell)
    told.event({"event": "phase", "phase": "search", "cell": CELL})
    told.event({"event": "phase", "phase": "train", "cell": OTHER})


def test_the_display_tells_cells_that_run_side_by_side_apart() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        display = Display(live)
        side_by_side(display)
        assert [now.text for now in display.tally.running.values()] == ["search", "train"]
        with console.capture() as capture:
            console.print(display._table())
        assert "0 of 4 done, 2 running" in capture.get()
        assert capture.get().index(CELL.title) < capture.get().index("search") < capture.get().index(OTHER.title)
        for cell in (CELL, OTHER):
            display.finish(cell, OK, 2.0)
        assert display.tally.running == {}


def test_plain_lines_say_how_many_cells_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    side_by_side(lines)
    for cell in (OTHER, CELL):
        lines.finish(cell, OK, 2.0)
    ends = [line.rpartition("  ")[2] for line in capsys.readouterr().err.splitlines()[1:]]
    assert ends == ["(6s left, 1 running)", "(4s left)"]
