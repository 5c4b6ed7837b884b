"""Does a recorded cell come out again? It is trained anew, ranking included, and held to its record.

    identical   AUC, Logloss and kept fields are the record's to the last bit
    within      another processor, device or number of threads; the same fields; AUC no farther away than rounding was
                measured to move this method: by ``bench rounding`` on this run, else by the recorded table
    differs     all else, also a cell that fails

Rounding was measured for AUC alone, so that Logloss decides nothing but whether the cell is identical.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bench.errors import ConfigError, DataError
from bench.flags import ROUNDING
from bench.params import parse_spec
from bench.records import CellRecord, RunFolder
from bench.run.again import Again, repeat, unlike_code, unlike_here

__all__ = ["MEASURED", "WITHIN", "Rerun", "Tolerance", "draw", "rerun", "tolerance_of"]

MEASURED = Path(__file__).resolve().parents[2] / "results" / "reference" / "rounding.csv"
"""How far rounding moves AUC, by data set and method, in recorded runs of this project."""
WITHIN: Final = "within the measured cross-processor tolerance"
_RESTARTED = "another machine, or before and after a restart"
Verdict = Literal["identical", "within the measured cross-processor tolerance", "differs"]


@dataclass(frozen=True)
class Tolerance:
    """How far rounding was seen to move the AUC of a method."""

    auc: float
    """The largest difference of two repetitions of one seed."""
    source: str


@dataclass(frozen=True)
class Rerun:
    """A recorded cell and what it was this time."""

    record: CellRecord
    again: CellRecord
    circumstances: tuple[str, ...]
    """In what processor, device and threads differ; nothing where they are equal."""
    code: tuple[str, ...]
    """In what versions and commit differ."""
    tolerance: Tolerance | None
    """None where nobody has measured it."""

    @property
    def off(self) -> float | None:
        """Distance of the two AUCs; None where the cell failed."""
        return None if self.again.auc is None or self.record.auc is None else abs(self.again.auc - self.record.auc)

    @property
    def same_fields(self) -> bool:
        return self.again.kept_fields == self.record.kept_fields

    @property
    def verdict(self) -> Verdict:
        if self.off is None or not self.same_fields:
            return "differs"
        if self.off == 0 and self.again.logloss == self.record.logloss:
            return "identical"
        near = self.tolerance is not None and self.off <= self.tolerance.auc
        return WITHIN if near and self.circumstances else "differs"


def draw(run: RunFolder, count: int, seed: int) -> list[CellRecord]:
    """``count`` finished cells by lot, the same for the same seed and cells.

    Raises:
        ConfigError: the folder is no run, or has no finished cell.
        DataError: a record cannot be read.
    """
    done = [record for record in run.require().records() if record.status == "ok"]
    if not done:
        raise ConfigError(f"{run.path} has no finished cell; see its report for the reasons.")
    return random.Random(seed).sample(done, min(count, len(done)))


def rerun(again: Again, tell: Callable[[str], object]) -> Rerun:
    """Train the cell and compare; nothing is written into its run folder.

    Args:
        again: the cell with its data.
        tell: takes the warnings of the training, a line each.

    Raises:
        StorageError: its data cannot be read.
    """

    def emit(event: Mapping[str, object]) -> None:
        if event["event"] == "warning":
            tell(f"warning: {event['text']}")

    found, record = repeat(again, emit), again.record
    here = [text for text in unlike_here(record) if text != _RESTARTED]
    return Rerun(record, found, tuple(here), tuple(unlike_code(record)), tolerance_of(record))


def tolerance_of(record: CellRecord, table: Path = MEASURED) -> Tolerance | None:
    """How far rounding was seen to move the method of a cell: in its own run, else by the recorded table.

    There the rows of its data set count, or where it has none all of its method.

    Raises:
        DataError: the table cannot be read.
    """
    own = record.notes.get(ROUNDING, {}).get("largest")
    if own is not None:
        return Tolerance(float(own), "measured by `bench rounding` on this run")
    rows = [row for row in _rows(table) if row["method"] == record.label]
    here = [row for row in rows if row["dataset"] == parse_spec(record.dataset).name]
    found = [float(row["largest"]) for row in here or rows]
    where = " and ".join(dict.fromkeys(row["dataset"] for row in here or rows))
    return Tolerance(max(found), f"measured on {where}, results/reference/rounding.csv") if found else None


def _rows(table: Path) -> Sequence[Mapping[str, str]]:
    if not table.is_file():
        return ()
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            found = list(csv.DictReader(lines))
        return [{key: row[key] for key in ("dataset", "method", "largest")} for row in found]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{table} is not readable as a table of roundings ({error}).") from None
