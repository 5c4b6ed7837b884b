"""What is dropped as one: single fields and the groups of the card, of which some are locked; and what they cost.

A set of fields is a set of units (``around.Set``). Where the card says nothing, unit u is field u, and each is 1 large.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bench.budget import Budget, Budgeted, Terms

__all__ = ["Size", "Units"]

Size = tuple[Fraction, int]
"""What is to be small, and the number of fields, which decides between equals."""
_OFFSET = 5.0


@dataclass(frozen=True)
class Units:
    """The units of a data set, in the order of their first fields."""

    fields: tuple[tuple[int, ...], ...]
    """Of each unit."""
    sizes: tuple[Fraction, ...]
    """What each takes of what is to be small."""
    locked: frozenset[int]
    """Units that are never dropped."""

    @classmethod
    def of(cls, by: Budgeted, terms: Terms, cardinalities: Sequence[int] | np.ndarray) -> Units:
        """The units of fields whose tables have ``cardinalities`` rows, [F]."""
        budget = Budget.of(by, 0.0, terms, cardinalities)
        return cls(budget.units, budget.sizes, budget.locked)

    @property
    def floor(self) -> int:
        """Units that the smallest set has: all that are locked, and one at least."""
        return max(1, len(self.locked))

    def of_fields(self, units: Iterable[int]) -> tuple[int, ...]:
        """The fields of ``units``, in their order."""
        return tuple(f for unit in units for f in self.fields[unit])

    def size(self, units: Iterable[int]) -> Size:
        """How large a set is."""
        here = tuple(units)
        return sum((self.sizes[unit] for unit in here), Fraction(0)), len(self.of_fields(here))

    def places(self, order: Sequence[int]) -> dict[int, int]:
        """Of each field, the place of its unit among all by an order of fields, from 1 on: that of its best field."""
        unit_of = {f: unit for unit, fields in enumerate(self.fields) for f in fields}
        found: dict[int, int] = {}
        for f in order:
            found.setdefault(unit_of[f], len(found) + 1)
        return {f: found[unit] for f, unit in unit_of.items()}

    def ordered(self, order: Sequence[int], twins: Mapping[int, Iterable[int]]) -> tuple[int, ...]:
        """Units in the order in which they are to stay.

        Locked ones come first. A unit whose fields all say what others before it say comes last; of single fields that
        are twins the smallest stays, at the place of the best of them, the best one of equals.

        Args:
            order: fields, best first.
            twins: by field, those that are one-to-one with it.
        """
        place = self.places(order)
        ranked = sorted(range(len(self.fields)), key=lambda unit: place[self.fields[unit][0]])
        found = (*sorted(self.locked), *self._cheapest_first(ranked, twins))
        last = self.needless(found, twins)
        return (*(unit for unit in found if unit not in last), *last)

    def needless(self, order: Sequence[int], twins: Mapping[int, Iterable[int]]) -> tuple[int, ...]:
        """The free units of an order whose fields all say what fields of others before them say."""
        said, found = set[int](), []
        for unit in order:
            if unit not in self.locked and all(said.intersection(twins.get(f, ())) for f in self.fields[unit]):
                found.append(unit)
            else:
                said.update(self.fields[unit])
        return tuple(found)

    def _cheapest_first(self, ranked: Sequence[int], twins: Mapping[int, Iterable[int]]) -> list[int]:
        """The free units, single twins changing places so that the smallest comes first."""
        free = [unit for unit in ranked if unit not in self.locked]
        alone = {self.fields[unit][0]: unit for unit in free if len(self.fields[unit]) == 1}
        found = list(free)
        done = set[int]()
        for unit in free:
            if unit in done or len(self.fields[unit]) > 1:
                continue
            same = {unit, *(alone[f] for f in twins.get(self.fields[unit][0], ()) if f in alone)}
            spots = [number for number, one in enumerate(free) if one in same]
            for spot, one in zip(spots, sorted(same, key=lambda one: (self.sizes[one], free.index(one))), strict=True):
                found[spot] = one
            done |= same
        return found

    def worth(self, cut: Sequence[int]) -> dict[int, float]:
        """How much each unit of an order tells for what it takes, as far as its place says.

        Nearest to a cut is what of the kept ones has least, and of the dropped ones most. Equal sizes leave the order.
        """
        found = {}
        for place, unit in enumerate(cut, 1):
            size = float(self.sizes[unit])
            found[unit] = 1 / (_OFFSET + place) / size if size else float("inf")
        return found
