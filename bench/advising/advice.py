"""The answer: what ``advise`` returns and writes, and what reports read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.errors import DataError
from bench.files import read_text, write_atomically
from bench.records import plain
from bench.stats.difference import Interval

__all__ = ["Advice", "FieldAdvice", "Look", "Saving", "Verdict", "read_advice", "write_advice"]

Verdict = Literal["drop", "none", "small", "noise", "open"]
"""drop: fields can go · none: none can · small: the data are too small to tell · noise: with all fields the model is no
better than chance · open: time ended before there was an answer."""
FieldVerdict = Literal["keep", "drop", "unsure"]
FILE = Path("advice") / "advice.json"
_VERSION = 1


@dataclass(frozen=True)
class Look:
    """A set of fields that was trained, against all fields."""

    k: int
    fields: tuple[str, ...]
    """Kept ones, in the order of the data."""
    valid: Interval
    """Of the difference in AUC to all fields on validation rows, by which K is chosen."""
    test: Interval
    """On test rows, which no choice has seen."""
    auc: float
    """On test rows, mean over seeds."""
    embedding_bytes: float
    inference_s: float | None
    """Of a pass over the test rows; None where other work disturbed all seeds."""
    training_s: float | None
    cells: tuple[str, ...]
    """Hashes of the cells, seed by seed."""
    cost: float | None = None
    """What the kept fields cost, as the card says; None where it names no costs."""
    ranked: bool = True
    """Whether it is a cut of the consensus; otherwise single fields were dropped or added near one."""


@dataclass(frozen=True)
class Saving:
    """One cost with all fields and with those that stay."""

    name: str
    before: float | None
    after: float | None
    reason: str = ""
    """Why one of them is not known."""

    @property
    def share(self) -> float | None:
        """Change as a share of what it was with all fields; negative is saved."""
        if self.before is None or self.after is None or not self.before:
            return None
        return self.after / self.before - 1


@dataclass(frozen=True)
class FieldAdvice:
    """What is said of one field."""

    name: str
    verdict: FieldVerdict
    place: int
    """In the consensus, from 1 on; of a group that of its best field."""
    best: float
    """Best rank over rankers and seeds; ties share their mean."""
    worst: float
    embedding_bytes: int
    kept: bool
    """Whether it is among the fields that stay."""
    cost: Interval | None = None
    """AUC with this field less that without it, all else of the chosen set alike, on test rows; of a group with all of
    it; None: not trained."""
    twin: str = ""
    """Fields that say the same."""
    locked: bool = False
    """Whether the card keeps it."""
    group: str = ""
    """With whose fields it is kept or dropped."""
    price: float | None = None
    """What it costs by the card, in its unit; None where that names no costs."""
    leak: float | None = None
    """AUC of the field alone, where it is so high that it may say the label."""


@dataclass(frozen=True)
class Advice:
    """Which fields can be dropped, and what that costs and saves."""

    verdict: Verdict
    sentence: str
    details: tuple[str, ...]
    """Further sentences: how sure it is, what more rows or seeds would bring, what there was no time for."""
    dataset: str
    backbone: str
    tolerance: float
    seeds: int
    n_fields: int
    split_rows: dict[str, int]
    whole_auc: float
    """AUC of all fields on test rows, mean over seeds."""
    above_chance: Interval
    """How far that is above 0.5."""
    fields: tuple[FieldAdvice, ...] = ()
    """Best first; empty where nothing was ranked."""
    looks: tuple[Look, ...] = ()
    """By K, decreasing; single fields near the cut last."""
    choice: Look | None = None
    """The chosen set; of too small data the smallest one that looks no worse than the tolerance."""
    best: Look | None = None
    """The set of the highest validation AUC, where it is another."""
    savings: tuple[Saving, ...] = ()
    whole: Mapping[str, float | None] = field(default_factory=dict)
    """Costs of all fields: ``embedding_bytes``, ``inference_s``, ``training_s``."""
    rankers: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """What there was no time for."""
    budget_by: str = "count"
    """What was to be small of what is kept."""

    @property
    def kept(self) -> list[str]:
        """Names of the fields that stay."""
        return [one.name for one in self.fields if one.kept]

    @property
    def dropped(self) -> list[str]:
        """Names of the fields that go."""
        return [one.name for one in self.fields if not one.kept]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a field, best first: what a frame can be made of."""
        return [_row(one) for one in self.fields]


def _row(one: FieldAdvice) -> dict[str, Any]:
    cost = one.cost
    return {
        "field": one.name,
        "verdict": one.verdict,
        "kept": one.kept,
        "place": one.place,
        "best_rank": one.best,
        "worst_rank": one.worst,
        "cost": None if cost is None else cost.mean,
        "cost_low": None if cost is None else cost.low,
        "cost_high": None if cost is None else cost.high,
        "embedding_bytes": one.embedding_bytes,
        "twin_of": one.twin,
        "locked": one.locked,
        "group": one.group,
        "price": one.price,
        "leak_auc": one.leak,
    }


def write_advice(folder: Path, advice: Advice) -> Path:
    """Write the answer into a run folder.

    Raises:
        StorageError: it cannot be written.
    """
    file = folder / FILE
    with write_atomically(file) as out:
        json.dump({"version": _VERSION, **plain(asdict(advice))}, out, indent=1, ensure_ascii=False)
        out.write("\n")
    return file


def read_advice(folder: Path) -> Advice | None:
    """The answer in a run folder; None where there is none.

    Raises:
        DataError: its file is not readable.
    """
    file = folder / FILE
    text = read_text(file)
    if text is None:
        return None
    try:
        stored = json.loads(text)
        if stored.pop("version") != _VERSION:
            raise ValueError("another version")
        return _Reader.advice(stored)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file} is no readable advice ({error}). Delete it and run `python -m bench advise` again."
        ) from None


class _Reader:
    """Dataclasses from JSON values."""

    @classmethod
    def advice(cls, stored: dict[str, Any]) -> Advice:
        values = dict(stored)
        for name in ("details", "rankers", "left_out"):
            values[name] = tuple(values[name])
        values["above_chance"] = cls.interval(values["above_chance"])
        values["fields"] = tuple(FieldAdvice(**{**one, "cost": cls.interval(one["cost"])}) for one in values["fields"])
        values["looks"] = tuple(cls.look(one) for one in values["looks"])
        values["choice"], values["best"] = (cls.look(values[name]) for name in ("choice", "best"))
        values["savings"] = tuple(Saving(**one) for one in values["savings"])
        return Advice(**values)

    @classmethod
    def look(cls, stored: dict[str, Any] | None) -> Any:
        if stored is None:
            return None
        named = {"fields": tuple(stored["fields"]), "cells": tuple(stored["cells"])}
        ends = {name: cls.interval(stored[name]) for name in ("valid", "test")}
        return Look(**{**stored, **named, **ends})

    @staticmethod
    def interval(stored: dict[str, Any] | None) -> Any:
        """JSON has no infinity: unknown degrees of freedom are those of rows alone."""
        if stored is None:
            return None
        return Interval(**{**stored, "dof": math.inf if stored["dof"] is None else stored["dof"]})
