"""Which cell of a run is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import ConfigError, suggest
from bench.records import CellRecord, RunFolder
from bench.run.grid import Cell

SHORTEST = 4
"""Letters of a hash that name a cell, at least."""
_SHOWN = 12


@dataclass(frozen=True)
class Wanted:
    """A cell by the beginning of its hash, by data set and method, or as the best of several."""

    names: tuple[str, ...]
    backbone: str | None = None
    tau: float | None = None
    seed: int | None = None
    best: bool = False
    """The one of the highest validation AUC, so that the test rows choose nothing."""


def choose(run: RunFolder, wanted: Wanted) -> CellRecord:
    """The finished cell that ``wanted`` names.

    Raises:
        ConfigError: the folder is no run, or no cell or several are meant; the message says which there are.
        DataError: a record cannot be read.
    """
    records = run.require().records()
    if len(wanted.names) == 1 and not wanted.best:
        return _one(_by_hash(records, wanted.names[0]))
    if len(wanted.names) > 2 or not (wanted.names or wanted.best):
        raise ConfigError("name a cell: DATASET METHOD, the beginning of its hash, or --best.")
    done = [record for record in records if record.status == "ok"]
    if not done:
        raise ConfigError(f"{run.path} has no finished cell; see its report for the reasons.")
    asked = dict(zip(("dataset", "label"), wanted.names, strict=False))
    for name, value in {**asked, "backbone": wanted.backbone, "tau": wanted.tau, "seed": wanted.seed}.items():
        done = _narrow(done, name, value)
    if wanted.best:
        scored = [record for record in done if record.valid_auc is not None]
        if not scored:
            raise ConfigError("best: these cells were recorded without a validation AUC; name one by its hash.")
        return max(scored, key=lambda record: record.valid_auc or 0.0)
    return _one(done)


def _narrow(records: list[CellRecord], name: str, asked: str | float | None) -> list[CellRecord]:
    if asked is None:
        return records
    found = [record for record in records if getattr(record, name) == asked]
    if not found:
        known = sorted({str(getattr(record, name)) for record in records})
        shown = "method" if name == "label" else name
        raise ConfigError(f"{shown}={asked!r}: no finished cell has it.{suggest(str(asked), known)}")
    return found


def _by_hash(records: Sequence[CellRecord], prefix: str) -> list[CellRecord]:
    found = [record for record in records if record.config_hash.startswith(prefix)]
    if len(prefix) < SHORTEST or not found:
        known = {record.dataset for record in records}
        more = f" {prefix} is a data set: name the method too, or add --best." if prefix in known else ""
        raise ConfigError(
            f"cell={prefix!r} begins the hash of none (the names of the files in cells/, {SHORTEST} letters or more)."
            f"{more} Or name it as DATASET METHOD."
        )
    if len(found) == 1 and found[0].status != "ok":
        raise ConfigError(f"cell={prefix!r} has no model, it is {found[0].status}: {found[0].reason}.")
    return found


def _one(records: Sequence[CellRecord]) -> CellRecord:
    if len(records) == 1:
        return records[0]
    lines = [f"  {record.config_hash[:_SHOWN]}  {title(record)}" for record in records[:_SHOWN]]
    more = [f"  and {len(records) - _SHOWN} more"] if len(records) > _SHOWN else []
    raise ConfigError(
        "several cells are meant; name one by its hash, or add --backbone, --tau, --seed or --best:\n"
        + "\n".join(lines + more)
    )


def title(record: CellRecord) -> str:
    """A cell in words."""
    return Cell(record.dataset, record.backbone, record.label, record.tau, record.seed).title
