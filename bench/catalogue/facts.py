"""What the catalogue says of one method, as words."""

from __future__ import annotations

import sys
import traceback
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Literal

from bench import plugins
from bench.catalogue.departures import departures, has_no_paper
from bench.method import Method
from bench.params import Content, Range, Search, docstrings
from bench.registry import MethodEntry, Span
from bench.run.grid import budgets_of

__all__ = ["Facts", "Parameter", "facts", "link"]

_AXES = {"tau": "prune ratio", "backbone": "backbone", "seed": "seed"}
_SITES = {"doi": "https://doi.org/", "arxiv": "https://arxiv.org/abs/"}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, in words."""

    name: str
    default: str
    choices: tuple[str, ...]
    """Its values where they are few; two of them make two variants of the method."""
    span: str
    """The allowed interval of a number; empty where there is none."""
    searched: str
    """The interval that ``--tune optuna`` goes through; empty where it does not."""
    meaning: str


@dataclass(frozen=True)
class Facts:
    """One method."""

    name: str
    entry: MethodEntry
    origin: str
    stages: str = ""
    parameters: tuple[Parameter, ...] = ()
    departs: tuple[str, ...] = ()
    no_paper: bool = False
    broken: str = ""
    """Why the method cannot be imported, in one line."""

    @property
    def level(self) -> str:
        """What is selected."""
        entry = self.entry
        word = "none: all fields stay" if entry.granularity == "none" else entry.granularity
        return f"{word}, row by row" if entry.per_sample else word

    @property
    def scores(self) -> str:
        """When there are scores of fields, and what changes them."""
        entry = self.entry
        if entry.scores == "none":
            return "none"
        when = "after selection" if entry.scores == "select" else "after training"
        axes = [word for axis, word in _AXES.items() if axis in entry.depends_on]
        return f"{when}; by {_listed(axes)}" if axes else f"{when}; by the data alone"

    @property
    def cost(self) -> str:
        """PT and CT as ``run --plan`` reckons with them."""
        entry = self.entry
        own = "declared" if entry.search is not None else f"as of the family {entry.family}"
        more = f" and {_span(entry.search_per_field)} for every field" if entry.search_per_field[1] else ""
        search = f"{_span(entry.search_cost)}{more}"
        return f"PT {search}, CT {_span(entry.retrain_cost)} trainings of the whole model ({own})"

    @property
    def budgets(self) -> tuple[str, ...]:
        return budgets_of(self.entry)

    @property
    def variants(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.choices)

    @property
    def searched(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.searched)

    @property
    def numbers(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if not parameter.choices)


def facts() -> list[Facts]:
    """Every registered method, in the order of tables; plug-ins are imported."""
    known = plugins.methods()
    return [_facts(name, known.entry(name), known.origin(name)) for name in known.names()]


def link(reference: str) -> str:
    """The address of ``doi:…`` or ``arXiv:…``; nothing of anything else."""
    kind, _, number = reference.partition(":")
    site = _SITES.get(kind.lower(), "")
    return f"{site}{number}" if site and number else ""


def _facts(name: str, entry: MethodEntry, origin: str) -> Facts:
    try:
        cls = entry.load()
        doc = sys.modules[cls.__module__].__doc__ or ""
        parameters = tuple(_parameters(cls.Params))
        return Facts(name, entry, origin, _stages(cls, entry), parameters, tuple(departures(doc)), has_no_paper(doc))
    except Exception:  # a plug-in may fail in any way; the others are told all the same
        return Facts(name, entry, origin, broken=traceback.format_exc().strip().splitlines()[-1])


def _stages(cls: type[Method[Any]], entry: MethodEntry) -> str:
    if entry.granularity == "none":
        return "train"
    if entry.scores == "train":
        return "train, selecting on the way"
    last = "train on what is kept" if cls.train is Method.train else "train in its own way"
    return f"select, then {last}"


def _parameters(params: type) -> Iterator[Parameter]:
    told, hints = docstrings(params) or {}, typing.get_type_hints(params, include_extras=True)
    for item in fields(params):
        hint = hints[item.name]
        extras = getattr(hint, "__metadata__", ())
        span = next((str(part) for part in extras if isinstance(part, Range)), "")
        searched = next((_interval(part) for part in extras if isinstance(part, Search)), "")
        meaning = " ".join(told.get(item.name, "").split())
        yield Parameter(item.name, _default(item, hint), tuple(_choices(hint)), span, searched, meaning)


def _interval(space: Search) -> str:
    return f"{space.low:g} to {space.high:g}{f' ({space.only})' if space.only else ''}"


def _default(item: Field[Any], hint: Any) -> str:
    if item.default is MISSING:
        return "a file" if hint is Content else "…"
    if item.default is None or isinstance(item.default, bool):
        return str(item.default).lower()
    return f"{item.default:g}" if isinstance(item.default, float) else str(item.default)


def _choices(hint: Any) -> Sequence[str]:
    if typing.get_origin(hint) is Annotated:
        return _choices(typing.get_args(hint)[0])
    if hint is bool:
        return "false", "true"
    return tuple(map(str, typing.get_args(hint))) if typing.get_origin(hint) is Literal else ()


def _span(span: Span) -> str:
    low, high = span
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
