"""The files of all figures of a run, drawn by several processes where there are many.

Drawing is most of the time of a large report, and one process draws on one core. A child draws its share as this
process does its own; the bytes do not depend on who drew them. What a child could not draw is drawn here.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.report.figures import Run, draw_share, plans
from bench.report.naming import file_name
from bench.report.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["figure_files"]

_WORTH_A_PROCESS = 16
"""Figures; to start another process takes as long as to draw two or three."""
_MAX_PROCESSES = 8


def figure_files(frame: pd.DataFrame, titles: Titles, processes: int | None = None) -> Iterator[tuple[str, str, bytes]]:
    """(file name, title, contents) of every figure in every format; the same records give the same bytes.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        titles: names and order of data sets and backbones in print.
        processes: how many draw; by default as many as there are cores, if there is enough to do.
    """
    whole = plans(Run.of(frame, titles))
    if processes is None:
        processes = max(1, min(os.cpu_count() or 1, len(whole) // _WORTH_A_PROCESS, _MAX_PROCESSES))
    drawn = _with_children(frame, titles, processes) if processes > 1 else draw_share(frame, titles, 0, 1)
    taken: list[str] = []
    for number in sorted(drawn):
        taken.append(file_name(whole[number].name, taken))
        for suffix, data in drawn[number].items():
            yield f"{taken[-1]}{suffix}", whole[number].title, data


def _with_children(frame: pd.DataFrame, titles: Titles, processes: int) -> dict[int, dict[str, bytes]]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").write_bytes(pickle.dumps((frame, titles)))
        children = [_start(folder, share, processes) for share in range(1, processes)]
        drawn = draw_share(frame, titles, 0, processes)
        for share, child in enumerate(children, start=1):
            if child.wait() == 0:
                drawn |= pickle.loads((folder / str(share)).read_bytes())
            else:
                drawn |= draw_share(frame, titles, share, processes)
    return drawn


def _start(folder: Path, share: int, processes: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, str(folder), str(share), str(processes)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _draw_as_child(folder: Path, share: int, processes: int) -> None:
    frame, titles = pickle.loads((folder / "run").read_bytes())
    (folder / str(share)).write_bytes(pickle.dumps(draw_share(frame, titles, share, processes)))


if __name__ == "__main__":
    _draw_as_child(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
