"""Names to plug-ins, lazily: listing reads ordered tables and imports no plug-in code.

The project's own plug-ins stand in the ``__init__.py`` of their packages; others announce themselves through the
entry-point groups ``bench.methods``, ``bench.backbones``, ``bench.datasets`` and ``bench.executors``, each naming an
Entry object (so that listing them stays light). A single file joins by ``add``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from bench.errors import ConfigError, suggest

Axis = Literal["tau", "backbone", "seed"]
Family = Literal["baseline", "control", "shallow", "gate", "sensitivity", "sparsity"]
Span = tuple[float, float]
"""(low, high)."""
SEARCH: dict[Family, Span] = {"baseline": (0, 0), "control": (0, 0), "shallow": (0, 0.5)}
"""``MethodEntry.search`` where it is not declared; of other families ``OTHER_SEARCH``."""
RETRAIN: dict[Family, Span] = {"baseline": (1, 1), "control": (0.55, 1.3), "shallow": (0.55, 1.15)}
"""``MethodEntry.retrain`` where it is not declared; of other families ``OTHER_RETRAIN``."""
OTHER_SEARCH: Span = (0.5, 3)
OTHER_RETRAIN: Span = (0.8, 1.5)


@dataclass(frozen=True)
class Entry:
    """One plug-in of a table: where it lives and what tables say of it."""

    target: str
    """``module:attribute`` of the plug-in."""
    title: str
    """Name in tables."""
    citation: str = ""
    """Authors, venue and year; empty for controls."""

    def load(self) -> Any:
        """Import the plug-in; an import error of the plug-in passes through."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class MethodEntry(Entry):
    """What the harness must know of a method before it imports it."""

    family: Family = "gate"
    granularity: Literal["none", "field", "value", "dimension", "weight"] = "field"
    scores: Literal["select", "train", "none"] = "select"
    """When field scores exist: after ``select``, only after ``train``, or never."""
    uses_tau: bool = True
    """Whether the prune ratio changes anything under the method's own rule; otherwise such a cell runs once and is
    shown under every τ. The budgets ``exact`` and ``field`` follow the ratio in any case."""
    reference: str = ""
    """Where the paper is found: ``doi:10.…`` or ``arXiv:2301.01234``."""
    per_sample: bool = False
    """Whether the method's own rule gates each row differently, so that no field can be removed: it then has the
    budgets ``native`` and ``field``. The contract checks hold entry and gate to what the model does."""
    free_count: bool = False
    """Whether a method that drops fields, or single weights, also has a rule of its own for how many stay: the budget
    ``native``. Else it has those that follow the prune ratio alone."""
    reads_numbers: bool = True
    """Whether the method looks at the values of numeric fields. One that reads ids alone would rank them last, whatever
    they tell: its cells are skipped on data with such fields. ``Rows.bucketed`` turns numbers into ids."""
    reads_pooled: bool = True
    """Whether the method sees all values of a row in pooled fields, as one does that looks at embeddings or at
    ``rows.pooled``. One that reads ``rows.ids`` alone sees the first: its cells on such data are skipped."""
    depends_on: frozenset[Axis] = frozenset({"tau", "backbone", "seed"})
    """Axes that change the scores; a ranking is computed once for all cells that agree on them."""
    takes_ranking: bool = False
    """Whether the method is given its ranking, as the file that its parameter ``path`` names and that has no default:
    "all" leaves it out, and advice trains on fields of its own choice with it."""
    paper: bool = False
    """Whether the method is a row of the paper's Table 2."""
    note: str = ""
    """What a reader must know of the method's row; said under every table that shows it."""
    search: Span | None = None
    """Lowest and highest PT, in trainings of the model with all fields, as far as known: what ``--plan`` reckons with
    before there are records. None: as others of the family. Those that are declared lie a quarter beyond the medians
    of recorded places, one half of the fields pruned (Criteo and Avazu samples, and the quick start)."""
    search_per_field: Span = (0, 0)
    """What every field of the data adds to that, for a method that trains once a field."""
    retrain: Span | None = None
    """Lowest and highest CT in the same unit."""
    scalar_bytes: float = 0.0
    """Bytes that trainings hold beside a model and its copies for every embedding scalar, such as masks and sums of
    gradients, at their peak on a CPU: what ``--plan`` says of memory."""

    @property
    def search_cost(self) -> Span:
        """PT in trainings of the model with all fields, without what every field adds."""
        return self.search or SEARCH.get(self.family, OTHER_SEARCH)

    def search_cost_of(self, n_fields: int) -> Span:
        """PT in trainings of the model with all of ``n_fields`` fields."""
        low, high = self.search_cost
        return low + n_fields * self.search_per_field[0], high + n_fields * self.search_per_field[1]

    @property
    def retrain_cost(self) -> Span:
        """CT in trainings of the model with all fields."""
        return self.retrain or RETRAIN.get(self.family, OTHER_RETRAIN)


@dataclass(frozen=True)
class BackboneEntry(Entry):
    """What the harness must know of a backbone before it imports it."""

    paper: bool = False
    """Whether the backbone is a row of the paper's Table 3."""


@dataclass(frozen=True)
class Broken:
    """A plug-in that could not be read; it is listed and breaks nothing else."""

    name: str
    origin: str
    reason: str
    """One line."""
    traceback: str


E = TypeVar("E", bound=Entry)
Version = dict[str, str]
"""Of a plug-in that comes from elsewhere: ``file`` and ``sha256``, or ``package`` and ``version``."""
FILE_SUM = "sha256"
"""Key of the checksum in a ``Version`` of a file; it is part of the identity of cells."""
SUM_SHOWN = 7
"""Digits of it that are shown."""


class Registry(Generic[E]):
    """An ordered table of one kind of plug-in, extended by an entry-point group."""

    def __init__(self, kind: str, group: str, table: Mapping[str, E], entry_type: type[E]) -> None:
        """Read ``table`` and the installed entry points of ``group``; a name taken twice is refused."""
        self.kind = kind
        self._entries: dict[str, E] = dict(table)
        self._origins = {name: entry.target for name, entry in table.items()}
        self._versions: dict[str, Version] = {}
        self.broken: list[Broken] = []
        for point in sorted(importlib.metadata.entry_points(group=group), key=lambda p: (p.name, p.value)):
            self._add(point, entry_type)

    def _add(self, point: importlib.metadata.EntryPoint, entry_type: type[E]) -> None:
        origin = f"entry point {point.value}"
        if point.name in self._entries:
            taken = self._origins[point.name]
            reason = f"the name is taken by {taken}; rename the entry point {point.value}"
            self.broken.append(Broken(point.name, origin, reason, ""))
            return
        try:
            entry = point.load()
        except Exception as error:  # a plug-in may fail in any way; it must not take the others down
            reason = f"{type(error).__name__}: {error}"
            self.broken.append(Broken(point.name, origin, reason, traceback.format_exc()))
            return
        if not isinstance(entry, entry_type):
            reason = f"{point.value} is a {type(entry).__name__}, not a {entry_type.__name__}"
            self.broken.append(Broken(point.name, origin, reason, ""))
            return
        self._entries[point.name] = entry
        self._origins[point.name] = origin
        if point.dist is not None:
            self._versions[point.name] = {"package": point.dist.name, "version": point.dist.version}

    def add(self, name: str, entry: E, origin: str, version: Version) -> None:
        """Register ``entry`` of a file, in the place of an earlier one that came by a file too.

        Raises:
            ConfigError: the name is taken.
        """
        taken = self._origins.get(name)
        if taken is not None and FILE_SUM not in self._versions.get(name, {}):
            raise ConfigError(f"{origin}: the {self.kind} {name!r} is there already ({taken}); rename the file.")
        self._entries[name] = entry
        self._origins[name] = origin
        self._versions[name] = version

    def version(self, name: str) -> Version:
        """What code stands behind ``name``; nothing of the project's own plug-ins, whose commit records hold."""
        return self._versions.get(name, {})

    def names(self) -> list[str]:
        """All names, in table order; entry points follow, sorted."""
        return list(self._entries)

    def entry(self, name: str) -> E:
        """The entry of ``name``.

        Raises:
            ConfigError: nobody has that name, or its plug-in is broken.
        """
        if name in self._entries:
            return self._entries[name]
        for broken in self.broken:
            if broken.name == name:
                raise ConfigError(f"{self.kind} {name!r} cannot be used: {broken.reason}.\n{broken.traceback}")
        raise ConfigError(f"{self.kind} {name!r} is unknown.{suggest(name, self.names())}")

    def order(self, name: str) -> int:
        """Position of ``name`` in every table."""
        return self.names().index(name)

    def load(self, name: str) -> Any:
        """Import the plug-in behind ``name``; an import error of the plug-in passes through."""
        return self.entry(name).load()

    def origin(self, name: str) -> str:
        """Where ``name`` comes from, e.g. ``methods.lasso:Lasso``."""
        self.entry(name)
        return self._origins[name]
