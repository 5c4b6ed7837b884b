"""What the rules judge by: the cells that were run of one method on one backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.budget import Terms
from bench.checks.watch import Seen
from bench.method import Method
from bench.run.grid import MethodChoice

__all__ = ["Evidence", "Rule"]


@dataclass
class Evidence:
    """The cells of one method and backbone."""

    choice: MethodChoice
    n_fields: int
    base: Seen
    again: Seen | None = None
    """The cell of ``base`` once more, under other global random states."""
    other_seed: Seen | None = None
    other_taus: list[Seen] = field(default_factory=list)
    on_terms: Seen | None = None
    """The cell of ``base`` by cost, on data whose card says ``terms`` of its fields."""
    terms: Terms = Terms()  # noqa: RUF009 - frozen
    cardinalities: tuple[int, ...] = ()
    other_backbone: Seen | None = None
    """The selection of ``base`` on another backbone; None where the method declares that the backbone matters."""
    own_rule: Seen | None = None
    """Of a choice with a field budget: the cell of ``base`` in the method's own, ``native``, registered or not."""
    other_numbers: Seen | None = None
    """The cell of ``base`` on rows whose numbers were dealt out anew; None where there are none, or no ranking."""
    other_ids: Seen | None = None
    """The same with the ids of all other fields; only where the numbers changed nothing."""
    alive: list[str] = field(default_factory=list)
    """What of ``base`` was still there after the cell."""

    def make(self) -> Method[Any]:
        """The method as the harness makes it, unwatched."""
        return self.choice.made_of(self.choice.entry.load())

    @property
    def cells(self) -> list[Seen]:
        named = [seen for seen in (self.base, self.again, self.other_seed) if seen is not None]
        return [*named, *self.other_taus, *([] if self.on_terms is None else [self.on_terms])]


Rule = Callable[[Evidence], Iterator[str]]
