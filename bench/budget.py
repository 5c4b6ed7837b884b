"""From a prune ratio and field scores to the fields that stay. The harness alone makes this choice.

A budget is over units: single fields, and groups of fields that are kept or dropped as one. Units that are never
dropped come first; then each unit, from the highest score down, is kept if it still fits, and passed over if not.
Scores of methods are no more than an order: they are log odds, penalties, ranks, some of them negative. So nothing here
adds or divides them, and any increasing function of the scores gives the same choice. Of all sets that fit, the one
that this rule finds holds the best unit, then the next best that fits beside it, and so on: no unit ever goes for the
sake of lower ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BUDGETED", "MATCH", "Budget", "Budgeted", "Kept", "Terms", "keep_top", "n_keep", "tied_fields"]

Budgeted = Literal["count", "bytes", "cost", "groups"]
"""What a field budget counts: fields; rows of their embedding tables, all of which have equally many bytes; what the
card says that they cost; or groups, of which a field without one is one."""
BUDGETED: tuple[Budgeted, ...] = get_args(Budgeted)
MATCH = "match:"
"""Begins a budget that names another row, whose cells' bytes are then the budget."""
_NAMES = 3
"""Names that a message lists at most."""


def n_keep(tau: float, n: int) -> int:
    """Units that stay of ``n`` at prune ratio ``tau``: n - floor(tau · n), computed exactly in decimals."""
    return n - math.floor(_exact(tau) * n)


def _exact(number: float) -> Fraction:
    """The number as it is written in decimals."""
    return Fraction(repr(float(number)))


@dataclass(frozen=True)
class Terms:
    """On what terms fields may be dropped, by index; nothing is said of fields that are not named."""

    locked: tuple[int, ...] = ()
    """Fields that are never dropped, increasing: with one field of a group all of it."""
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Fields that are kept or dropped as one, by the group's name."""
    costs: Mapping[int, float] = field(default_factory=dict)
    """What keeping a field costs, at least 0; 1 where nothing is said."""

    @property
    def bind(self) -> bool:
        """Whether they change what may be dropped, whatever is budgeted."""
        return bool(self.locked or self.groups)

    def units(self, n: int) -> list[tuple[int, ...]]:
        """All of ``n`` fields, group by group, in the order of their first fields."""
        grouped = {place: fields for fields in self.groups.values() for place in fields}
        return list(dict.fromkeys(grouped.get(place, (place,)) for place in range(n)))

    def complete(self, kept: Iterable[int]) -> tuple[int, ...]:
        """``kept`` with the locked fields, and with all of every group that has a field among them; increasing."""
        found = {*kept, *self.locked}
        for fields in self.groups.values():
            if found.intersection(fields):
                found.update(fields)
        return tuple(sorted(found))

    def among(self, n: int) -> Self:
        """What is said of the first ``n`` fields."""
        groups = {group: tuple(place for place in fields if place < n) for group, fields in self.groups.items()}
        return type(self)(
            tuple(place for place in self.locked if place < n),
            {group: fields for group, fields in groups.items() if fields},
            {place: cost for place, cost in self.costs.items() if place < n},
        )

    def described(self, names: Sequence[str]) -> dict[str, Any]:
        """By names of fields, for records; keys that say nothing are left out."""
        found: dict[str, Any] = {
            "locked": [names[place] for place in self.locked],
            "groups": {group: [names[place] for place in fields] for group, fields in self.groups.items()},
            "costs": {names[place]: cost for place, cost in self.costs.items()},
        }
        return {key: value for key, value in found.items() if value}

    @classmethod
    def read(cls, described: Mapping[str, Any], names: Sequence[str]) -> Self:
        """The terms whose ``described`` this is."""
        places = {name: place for place, name in enumerate(names)}
        return cls(
            tuple(places[name] for name in described.get("locked", ())),
            {group: tuple(places[name] for name in found) for group, found in described.get("groups", {}).items()},
            {places[name]: cost for name, cost in described.get("costs", {}).items()},
        )


@dataclass(frozen=True)
class Kept:
    """The kept fields."""

    fields: tuple[int, ...]
    """Increasing indices."""
    ties: int
    """Fields that share the score at the cut, where the cut falls among them; else 0."""


@dataclass(frozen=True)
class Budget:
    """What the kept fields may take together, and which of them go together."""

    by: Budgeted
    tau: float
    units: tuple[tuple[int, ...], ...]
    """Fields of each unit."""
    sizes: tuple[Fraction, ...]
    """What each unit takes."""
    limit: Fraction
    """What all kept ones may take."""
    locked: frozenset[int] = frozenset()
    """Units that are never dropped."""
    whose: str | None = None
    """The row whose bytes the limit is; None: it comes of the prune ratio."""

    @classmethod
    def of(cls, by: Budgeted, tau: float, terms: Terms, cardinalities: Sequence[int] | np.ndarray) -> Self:
        """The budget at prune ratio ``tau`` over fields whose tables have ``cardinalities`` rows [F].

        Of F fields K = F - floor(tau · F) stay by count, and as many of the groups by groups; by bytes and cost what is
        kept takes at most 1 - tau of the whole.
        """
        n = len(cardinalities)
        units = terms.units(n)
        if by == "bytes":
            weights = [Fraction(int(rows)) for rows in cardinalities]
        elif by == "cost":
            weights = [_exact(terms.costs.get(place, 1.0)) for place in range(n)]
        else:
            weights = [Fraction(1)] * n
        sizes = [Fraction(1) if by == "groups" else sum((weights[f] for f in unit), Fraction(0)) for unit in units]
        whole = sum(sizes, Fraction(0))
        limit = Fraction(n_keep(tau, int(whole))) if by in ("count", "groups") else (1 - _exact(tau)) * whole
        fixed = frozenset(place for place, unit in enumerate(units) if set(unit) & set(terms.locked))
        return cls(by, tau, tuple(units), tuple(sizes), limit, fixed)

    @classmethod
    def within(
        cls, share: Fraction, whose: str, tau: float, terms: Terms, cardinalities: Sequence[int] | np.ndarray
    ) -> Self:
        """The budget of the ``share`` of all bytes that the row ``whose`` keeps; other arguments as above."""
        found = cls.of("bytes", tau, terms, cardinalities)
        return replace(found, limit=share * found.size(range(len(found.units))), whose=whose)

    @property
    def plain(self) -> bool:
        """Whether it is K fields and nothing else."""
        return self.by == "count" and not self.locked and all(len(unit) == 1 for unit in self.units)

    @property
    def free_fields(self) -> int:
        """How many fields may be dropped."""
        return sum(len(unit) for place, unit in enumerate(self.units) if place not in self.locked)

    def size(self, units: Iterable[int]) -> Fraction:
        """What the units at these places take together."""
        return sum((self.sizes[place] for place in units), Fraction(0))

    def choose(self, scores: Sequence[float] | np.ndarray) -> Kept:
        """The units that stay by their scores [F]; ties go to the unit with the lower first field.

        Raises:
            ValueError: a score that is not finite.
        """
        numbers = [float(score) for score in scores]
        if bad := [place for place, number in enumerate(numbers) if not math.isfinite(number)]:
            raise ValueError(f"field scores must be finite; fields {bad} have {[numbers[place] for place in bad]}")
        ranks = _unit_scores(self.units, numbers)
        free = [place for place in range(len(self.units)) if place not in self.locked]
        kept, left = [], self.limit - self.size(self.locked)
        for place in sorted(free, key=lambda place: -ranks[place]):
            if self.sizes[place] <= left:
                kept.append(place)
                left -= self.sizes[place]
        stays = set(kept)
        ties = _tied(
            [self.units[place] for place in free],
            [ranks[place] for place in free],
            (number for number, place in enumerate(free) if place in stays),
        )
        fields = tuple(sorted(f for place in (*self.locked, *kept) for f in self.units[place]))
        return Kept(fields, sum(map(len, ties.values())))

    def impossible(self, names: Sequence[str]) -> str | None:
        """Why no choice can keep within it, with the mend; None where one can. ``names`` are those of the fields."""
        whole = self.size(range(len(self.units)))
        total = f"{_number(whole)} {_THINGS[self.by]}"
        who = f"prune ratio {self.tau:g} leaves" if self.whose is None else f"{self.whose} keeps"
        room = f"{who} {_number(self.limit)} of {total}"
        if not whole:
            return "all fields cost 0, and there is nothing to give up: give some a cost, or leave out --budget-by cost"
        if self.size(self.locked) > self.limit:
            fields = [names[f] for place in sorted(self.locked) for f in self.units[place]]
            return (
                f"{room}, and the fields that the card keeps ({_listed(fields)}) take "
                f"{_number(self.size(self.locked))}: lower the prune ratio, or take keep = true off some"
            )
        smallest = min(range(len(self.units)), key=lambda place: self.sizes[place])
        if not self.locked and self.sizes[smallest] > self.limit:
            fields = [names[f] for f in self.units[smallest]]
            return (
                f"{room}, and none of the fields and groups fits: the smallest ({_listed(fields)}) takes "
                f"{_number(self.sizes[smallest])}: lower the prune ratio, or make groups smaller"
            )
        return None


def _unit_scores(units: Sequence[tuple[int, ...]], scores: Sequence[float]) -> list[float]:
    """A unit's score is its best field's: dropping the unit would lose that at least."""
    return [max(scores[f] for f in unit) for unit in units]


def _tied(units: Sequence[tuple[int, ...]], ranks: Sequence[float], kept: Iterable[int]) -> dict[float, list[int]]:
    """Fields of units of one score of which some are kept (by place) and some are not, by score."""
    stays = set(kept)
    here, gone = ({rank for i, rank in enumerate(ranks) if (i in stays) is kind} for kind in (True, False))
    cut = sorted(here & gone, reverse=True)
    return {score: sorted(f for i, unit in enumerate(units) if ranks[i] == score for f in unit) for score in cut}


def tied_fields(scores: Sequence[float], kept: Iterable[int], terms: Terms) -> dict[float, list[int]]:
    """Fields that are told apart by their order alone, by the score that they share; locked ones never are."""
    fields = set(kept)
    units = [unit for unit in terms.units(len(scores)) if not set(unit) & set(terms.locked)]
    stays = [place for place, unit in enumerate(units) if fields.issuperset(unit)]
    return _tied(units, _unit_scores(units, scores), stays)


_THINGS: Mapping[str, str] = {
    "count": "fields",
    "bytes": "rows of embeddings",
    "cost": "units of cost",
    "groups": "groups",
}


def _number(value: Fraction) -> str:
    return f"{int(value):,}" if value.denominator == 1 else f"{float(value):,.6g}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def keep_top(scores: Sequence[float] | np.ndarray, k: int) -> Kept:
    """The ``k`` fields with the highest scores [F]; ties go to the lower index.

    Raises:
        ValueError: a score that is not finite.
    """
    n = len(scores)
    units = tuple((place,) for place in range(n))
    return Budget("count", 0.0, units, (Fraction(1),) * n, Fraction(k)).choose(scores)
