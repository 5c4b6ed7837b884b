"""Fields near the cut, one by one: what dropping a kept one costs, and what adding a dropped one gains.

A group of fields counts as one; what the card locks is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.advising.lab import Lab, Trained
from bench.advising.units import Units
from bench.run.session import VALID
from bench.stats.difference import Interval

__all__ = ["Probe", "Set", "near", "probe", "repaired"]


@dataclass(frozen=True)
class Set:
    """The units (fields or groups, ``units.Units``) that stay: the first ``k`` of an order of all."""

    order: tuple[int, ...]
    k: int

    @property
    def kept(self) -> tuple[int, ...]:
        return self.order[: self.k]

    def without(self, unit: int) -> Set:
        """``unit`` comes just behind the cut."""
        kept = tuple(one for one in self.kept if one != unit)
        return Set((*kept, unit, *self.order[self.k :]), self.k - 1)

    def adding(self, unit: int) -> Set:
        """``unit`` comes just before the cut."""
        rest = tuple(one for one in self.order[self.k :] if one != unit)
        return Set((*self.kept, unit, *rest), self.k + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Set) and set(self.kept) == set(other.kept)

    def __hash__(self) -> int:
        return hash(frozenset(self.kept))


@dataclass(frozen=True)
class Probe:
    """The chosen set with one unit more or less."""

    unit: int
    kept: bool
    """Whether the chosen set has it."""
    fields: Set
    trained: Trained
    valid: Interval
    """AUC with the unit less that without it, on validation rows."""
    test: Interval


def near(cut: Set, count: int, units: Units) -> Iterator[int]:
    """At most ``count`` units on each side of the cut, the nearest first, kept and dropped in turns.

    Nearest are, of the kept ones, those that tell least for what they take, of the dropped ones those that tell most.
    """
    worth = units.worth(cut.order)
    may_go = [unit for unit in reversed(cut.kept) if unit not in units.locked] if cut.k > units.floor else []
    kept = sorted(may_go, key=lambda unit: worth[unit])[:count]
    dropped = sorted(cut.order[cut.k :], key=lambda unit: -worth[unit])[:count]
    for number in range(count):
        yield from kept[number : number + 1]
        yield from dropped[number : number + 1]


def probe(lab: Lab, cut: Set, chosen: Trained, whole: Trained, unit: int) -> Probe | None:
    """Train the chosen set without ``unit``, or with it; None where there is no time for that."""
    kept = unit in cut.kept
    other = cut.without(unit) if kept else cut.adding(unit)
    name = f"{'without' if kept else 'with'}-{'+'.join(lab.schema.names[f] for f in lab.units.fields[unit])}"
    trained = whole if other.k == len(cut.order) else lab.keep(name, other.order, other.k)
    if trained is None:
        return None
    high, low = (chosen, trained) if kept else (trained, chosen)
    return Probe(unit, kept, other, trained, lab.interval(high, low, VALID), lab.interval(high, low))


def repaired(cut: Set, probes: Sequence[Probe], tolerance: float, units: Units) -> Set:
    """The set without the units that cost nothing alone, and with those that gain for certain, by validation rows."""
    free = [p.unit for p in probes if p.kept and (p.valid.mean <= 0 or p.valid.high < tolerance)]
    worth = [p.unit for p in probes if not p.kept and p.valid.low > 0]
    found = cut
    for unit in free:
        if found.k > units.floor:
            found = found.without(unit)
    for unit in worth:
        found = found.adding(unit)
    return found
