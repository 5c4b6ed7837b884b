"""Fields near the cut, one by one: what dropping a kept one costs, and what adding a dropped one gains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.advising.lab import Lab, Trained
from bench.run.session import VALID
from bench.stats.difference import Interval

__all__ = ["Probe", "Set", "near", "probe", "repaired"]


@dataclass(frozen=True)
class Set:
    """The fields that stay: the first ``k`` of an order of all fields."""

    order: tuple[int, ...]
    k: int

    @property
    def kept(self) -> tuple[int, ...]:
        return self.order[: self.k]

    def without(self, field: int) -> Set:
        """``field`` comes just behind the cut."""
        kept = tuple(f for f in self.kept if f != field)
        return Set((*kept, field, *self.order[self.k :]), self.k - 1)

    def adding(self, field: int) -> Set:
        """``field`` comes just before the cut."""
        rest = tuple(f for f in self.order[self.k :] if f != field)
        return Set((*self.kept, field, *rest), self.k + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Set) and set(self.kept) == set(other.kept)

    def __hash__(self) -> int:
        return hash(frozenset(self.kept))


@dataclass(frozen=True)
class Probe:
    """The chosen set with one field more or less."""

    field: int
    kept: bool
    """Whether the chosen set has it."""
    fields: Set
    trained: Trained
    valid: Interval
    """AUC with the field less that without it, on validation rows."""
    test: Interval


def near(cut: Set, count: int) -> Iterator[int]:
    """At most ``count`` fields on each side of the cut, the nearest first, kept and dropped in turns."""
    kept = list(reversed(cut.kept))[:count] if cut.k > 1 else []
    dropped = list(cut.order[cut.k :])[:count]
    for number in range(count):
        yield from kept[number : number + 1]
        yield from dropped[number : number + 1]


def probe(lab: Lab, cut: Set, chosen: Trained, whole: Trained, field: int) -> Probe | None:
    """Train the chosen set without ``field``, or with it; None where there is no time for that."""
    kept = field in cut.kept
    other = cut.without(field) if kept else cut.adding(field)
    name = f"{'without' if kept else 'with'}-{lab.schema.names[field]}"
    trained = whole if other.k == len(cut.order) else lab.keep(name, other.order, other.k)
    if trained is None:
        return None
    high, low = (chosen, trained) if kept else (trained, chosen)
    return Probe(field, kept, other, trained, lab.interval(high, low, VALID), lab.interval(high, low))


def repaired(cut: Set, probes: Sequence[Probe], tolerance: float) -> Set:
    """The set without the fields that cost nothing alone, and with those that gain for certain, by validation rows."""
    free = [p.field for p in probes if p.kept and (p.valid.mean <= 0 or p.valid.high < tolerance)]
    worth = [p.field for p in probes if not p.kept and p.valid.low > 0]
    found = cut
    for field in free:
        if found.k > 1:
            found = found.without(field)
    for field in worth:
        found = found.adding(field)
    return found
