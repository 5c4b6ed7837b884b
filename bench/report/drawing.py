"""The files of all figures of a run, drawn by several processes where there are many.

Drawing is most of the time of a large report, and one process draws on one core. Children begin when a ``Drawing`` is
entered, and draw while this process makes the tables; whoever is free takes the next figure. The bytes do not depend on
who drew them. What a child could not draw is drawn here.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bench.report.figures import Run, draw, plans
from bench.report.naming import file_name
from bench.report.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Drawing"]

_WORTH_A_PROCESS = 16
"""Figures; to start another process takes as long as to draw two or three."""
_MAX_PROCESSES = 8


class Drawing:
    """All figures of a run, in the making."""

    def __init__(self, frame: pd.DataFrame, titles: Titles, processes: int | None = None) -> None:
        """Plan the figures; none is drawn before the drawing is entered.

        Args:
            frame: a run as ``bench.records.load_frame`` returns it.
            titles: names and order of data sets and backbones in print.
            processes: how many draw; by default as many as there are cores, if there is enough to do.
        """
        self._run, self._plans = (frame, titles), plans(Run.of(frame, titles))
        if processes is None:
            processes = min(os.cpu_count() or 1, len(self._plans) // _WORTH_A_PROCESS, _MAX_PROCESSES)
        self._shares = range(1, processes)
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start the children."""
        self._temporary = TemporaryDirectory(prefix="ctr-figures-")
        self._folder = Path(self._temporary.name)
        if self._shares:
            (self._folder / "run").write_bytes(pickle.dumps(self._run))
            self._children = [_start(self._folder, share) for share in self._shares]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs, and clear up."""
        for child in self._children:
            child.kill()
            child.wait()
        self._temporary.cleanup()

    def files(self) -> Iterator[tuple[str, str, bytes]]:
        """(file name, title, contents) of every figure in every format; the same records give the same bytes."""
        drawn = draw(self._plans, _claimed(self._folder, len(self._plans)))
        for share, child in zip(self._shares, self._children, strict=True):
            if child.wait() == 0:
                drawn |= pickle.loads((self._folder / str(share)).read_bytes())
        drawn |= draw(self._plans, [number for number in range(len(self._plans)) if number not in drawn])
        taken: list[str] = []
        for number, contents in sorted(drawn.items()):
            if contents:
                taken.append(file_name(self._plans[number].name, taken))
            for suffix, data in contents.items():
                yield f"{taken[-1]}{suffix}", self._plans[number].title, data


def _claimed(folder: Path, count: int) -> Iterator[int]:
    """Numbers below ``count`` that no other process has taken yet, each taken as it is given."""
    for number in range(count):
        try:
            (folder / f"taken-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        yield number


def _start(folder: Path, share: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, str(folder), str(share)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _draw_as_child(folder: Path, share: int) -> None:
    frame, titles = pickle.loads((folder / "run").read_bytes())
    whole = plans(Run.of(frame, titles))
    (folder / str(share)).write_bytes(pickle.dumps(draw(whole, _claimed(folder, len(whole)))))


if __name__ == "__main__":
    _draw_as_child(Path(sys.argv[1]), int(sys.argv[2]))
