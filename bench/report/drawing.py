"""The files of all figures of a run, drawn by several processes where there are many.

Drawing is most of the time of a large report, and one process draws on one core. Children begin when a ``Drawing`` is
entered: they load Matplotlib while this process reads the records, and draw while it makes the tables; whoever is free
takes the next figure. The bytes do not depend on who drew them. What a child could not draw is drawn here. Records go
to the children as JSON, figures come back as the files they are: nothing that is read could run code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bench.errors import storage_error
from bench.tables.naming import file_name
from bench.tables.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Drawing"]

_WORTH_A_PROCESS = 300
"""Cells; their figures take several times as long as to start another process."""
_MAX_PROCESSES = 8
_RUN = "run.json"
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
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            for share in self._shares:
                self._children.append(_start(self._folder, share))
        except BaseException:
            self.__exit__(None, None, None)
            raise
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
            try:
                (self._folder / _RUN).write_text(_to_json(frame, titles), encoding="utf-8")
            except OSError as error:
                raise storage_error(error, self._folder, "place for temporary files (TMPDIR)") from error
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
                drawn |= _read(self._folder, share)
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
    frame, titles = _from_json((folder / _RUN).read_text(encoding="utf-8"))
    whole = plans(Run.of(frame, titles))
    drawn = draw(whole, _claimed(folder, len(whole)))
    for number, contents in drawn.items():
        for suffix, data in contents.items():
            (folder / f"{number}{suffix}").write_bytes(data)
    found = {number: list(contents) for number, contents in drawn.items()}
    (folder / f"{share}.json").write_text(json.dumps(found), encoding="utf-8")


def _read(folder: Path, share: int) -> dict[int, dict[str, bytes]]:
    """What the child ``share`` has drawn: contents by suffix, by number of the plan."""
    found: dict[str, list[str]] = json.loads((folder / f"{share}.json").read_text(encoding="utf-8"))
    return {
        int(number): {suffix: (folder / f"{number}{suffix}").read_bytes() for suffix in suffixes}
        for number, suffixes in found.items()
    }


def _to_json(frame: pd.DataFrame, titles: Titles) -> str:
    """The run as text. Figures need no more of the titles than names and order."""
    columns = {name: _values(column) for name, column in frame.items()}
    kinds = {name: str(column.dtype) for name, column in frame.items()}
    named = {"datasets": dict(titles.datasets), "backbones": dict(titles.backbones), "from_cards": titles.from_cards}
    return json.dumps({"columns": columns, "kinds": kinds, "titles": named})


def _values(column: pd.Series[Any]) -> list[Any]:
    """The values of a column, None where there is none."""
    return [None if gone else value for value, gone in zip(column.tolist(), column.isna(), strict=True)]


def _from_json(text: str) -> tuple[pd.DataFrame, Titles]:
    import pandas as pd  # noqa: PLC0415

    run = json.loads(text)
    columns = {name: pd.Series(values, dtype=run["kinds"][name]) for name, values in run["columns"].items()}
    return pd.DataFrame(columns), Titles(**run["titles"])


if __name__ == "__main__":
    _draw_as_child(Path(sys.argv[1]), int(sys.argv[2]))
