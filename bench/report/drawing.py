"""The files of all figures of a run, drawn by several processes where there are many.

Drawing is most of the time of a large report, and one process draws on one core. Children begin when a ``Drawing`` is
entered: they load Matplotlib while this process reads the records, and draw while it makes the tables; whoever is free
takes the next figure. The bytes do not depend on who drew them. What a child could not draw is drawn here.
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

from bench.tables.naming import file_name
from bench.tables.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Drawing"]

_WORTH_A_PROCESS = 300
"""Cells; their figures take several times as long as to start another process."""
_MAX_PROCESSES = 8
_RUN = "run"
"""File with what is to be drawn; it is there when a child's input ends."""


class Drawing:
    """All figures of a run, in the making."""

    def __init__(self, n_cells: int, processes: int | None = None) -> None:
        """Nothing is started before the drawing is entered.

        Args:
            n_cells: how many cells the run has.
            processes: how many draw; by default as many as there are cores, if there is enough to do.
        """
        if processes is None:
            processes = min(os.cpu_count() or 1, n_cells // _WORTH_A_PROCESS, _MAX_PROCESSES)
        self._shares = range(1, processes)

    def __enter__(self) -> Self:
        """Start the children."""
        self._temporary = TemporaryDirectory(prefix="ctr-figures-")
        self._folder = Path(self._temporary.name)
        self._children = [_start(self._folder, share) for share in self._shares]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs, and clear up."""
        for child in self._children:
            child.kill()
            child.communicate()
        self._temporary.cleanup()

    def begin(self, frame: pd.DataFrame, titles: Titles) -> None:
        """Let the children draw.

        Args:
            frame: the run as ``bench.records.load_frame`` returns it.
            titles: names and order of data sets and backbones in print.
        """
        self._run = (frame, titles)
        if self._children:
            (self._folder / _RUN).write_bytes(pickle.dumps(self._run))
        for child in self._children:
            if child.stdin is not None:
                child.stdin.close()

    def files(self) -> Iterator[tuple[str, str, bytes]]:
        """(file name, title, contents) of every figure in every format; the same records give the same bytes."""
        from bench.report.figures import Run, draw, plans  # noqa: PLC0415 - Matplotlib is slow to import

        whole = plans(Run.of(*self._run))
        drawn = draw(whole, _claimed(self._folder, len(whole)))
        for share, child in zip(self._shares, self._children, strict=True):
            if child.wait() == 0:
                drawn |= pickle.loads((self._folder / str(share)).read_bytes())
        drawn |= draw(whole, [number for number in range(len(whole)) if number not in drawn])
        taken: list[str] = []
        for number, contents in sorted(drawn.items()):
            if contents:
                taken.append(file_name(whole[number].name, taken))
            for suffix, data in contents.items():
                yield f"{taken[-1]}{suffix}", whole[number].title, data


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
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _draw_as_child(folder: Path, share: int) -> None:
    from bench.report.figures import Run, draw, plans  # noqa: PLC0415

    sys.stdin.read()
    frame, titles = pickle.loads((folder / _RUN).read_bytes())
    whole = plans(Run.of(frame, titles))
    (folder / str(share)).write_bytes(pickle.dumps(draw(whole, _claimed(folder, len(whole)))))


if __name__ == "__main__":
    _draw_as_child(Path(sys.argv[1]), int(sys.argv[2]))
