"""Cells that are held to the embedding bytes of another one: ``budget=match:LABEL``.

The other one is the cell of the row LABEL with the same data set, backbone, prune ratio and seed. What counts are
embedding scalars, 4 bytes each, that its evaluated model kept: rows of its table times D, or what a mask left of them.
Linear weights do not count, which no weight-level method drops, and neither does what says where kept scalars are (CSR,
bit mask), which depends on how a table is stored and not on what was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from bench.records import CellRecord

__all__ = ["Match", "kept_scalars", "lacking"]


@dataclass(frozen=True)
class Match:
    """What a cell is held to, as far as the other one has it."""

    label: str
    """Row of the other cell."""
    config_hash: str
    """Its identity; it decides what is kept, and so is part of the identity of the cell that is held to it."""
    scalars: int | None = None
    """Embedding scalars that it kept; None: it has no result."""
    of: int = 0
    """V·D, the scalars of a table of all fields."""
    lacks: str | None = None
    """Why there is nothing to be held to."""
    decided: bool = True
    """Whether the trials that its settings are chosen by are done, so that ``config_hash`` is its last."""

    @classmethod
    def with_cell(cls, label: str, config_hash: str, record: CellRecord | None, decided: bool, linear: bool) -> Self:
        """The budget that the cell with the identity ``config_hash`` sets.

        Args:
            label: its row.
            config_hash: its identity.
            record: what came of it; None: nothing yet.
            decided: as above.
            linear: whether its backbone has a linear weight a row, which stands in the same table.
        """
        if record is None or record.status != "ok":
            why = "has not run" if record is None else f"is {record.status}: {record.reason}"
            return cls(label, config_hash, lacks=lacking(label, why), decided=decided)
        scalars, dim = kept_scalars(record, linear)
        if dim == 0:
            why = f"it is held to the embedding bytes of {label}, and this backbone has linear weights only"
            return cls(label, config_hash, lacks=why, decided=decided)
        return cls(label, config_hash, scalars, (record.vocabulary_rows or 0) * dim, decided=decided)

    @classmethod
    def read(cls, recorded: dict[str, Any]) -> Self:
        """The match whose ``recorded`` this is."""
        return cls(**recorded)

    def recorded(self) -> dict[str, Any]:
        """What the record of the cell that is held to it says."""
        return {"label": self.label, "config_hash": self.config_hash, "scalars": self.scalars, "of": self.of}

    @property
    def share(self) -> Fraction:
        """Of all embedding scalars, those that may stay; 0 where nothing is known."""
        return Fraction(self.scalars or 0, self.of or 1)

    def set(self, record: CellRecord) -> bool:
        """Whether ``record``, of a cell with this match, was made under these numbers."""
        return record.match is not None and record.match.get("scalars") == self.scalars


def lacking(label: str, why: str) -> str:
    """That there is nothing to be held to, since the cell of the row ``label`` is as ``why`` says."""
    return f"it is held to the bytes of {label}, and that cell {why}"


def kept_scalars(record: CellRecord, linear: bool) -> tuple[int, int]:
    """Embedding scalars that the model of a finished cell kept, and D; ``linear``: a row has a linear weight too."""
    rows = record.embedding_rows or 0
    dim = (record.embedding_params or 0) // rows - int(linear) if rows else 0
    masked = (record.selection or {}).get("kept_scalars")
    return (rows * dim if masked is None else int(masked)), dim
