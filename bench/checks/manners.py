"""Rules of the contract about what a method declares and documents, and about what it leaves as it was."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from bench.checks.evidence import Evidence
from bench.params import Content, Range, docstrings, unsearchable

__all__ = [
    "declares_what_scores_depend_on",
    "documents_its_parameters",
    "leaves_settings_alone",
    "prints_nothing",
]


def documents_its_parameters(evidence: Evidence) -> Iterator[str]:
    """A frozen dataclass; each parameter has a docstring and a default within its own range and what is searched."""
    params = evidence.choice.entry.load().Params
    yield from undocumented(params)


def undocumented(params: type) -> Iterator[str]:
    """What a dataclass of parameters lacks."""
    if not params.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield f"{params.__name__} is not frozen: write @dataclass(frozen=True)"
    told = docstrings(params)
    hints = typing.get_type_hints(params, include_extras=True)
    for item in fields(params):
        if told is not None and not told.get(item.name):
            yield f"the parameter {item.name!r} of {params.__name__} has no docstring"
        a_file = hints[item.name] is Content  # there is none that would serve everybody
        if item.default is MISSING and item.default_factory is MISSING and not a_file:
            yield f"the parameter {item.name!r} of {params.__name__} has no default"
        for limit in getattr(hints[item.name], "__metadata__", ()):
            if isinstance(limit, Range) and isinstance(item.default, int | float) and item.default not in limit:
                yield f"the default of {item.name!r}, {item.default}, is outside of its range {limit}"
    yield from unsearchable(params)


def declares_what_scores_depend_on(evidence: Evidence) -> Iterator[str]:
    """One ranking serves all cells that agree on the axes which the method declares; so it must be the same there."""
    base = evidence.base
    if evidence.choice.entry.scores != "select" or base.selection is None or base.selection["scores"] is None:
        return
    declared = evidence.make().axes()
    others = {
        "tau": next((seen for seen in evidence.other_taus if seen.tau), None),
        "backbone": evidence.other_backbone,
        "seed": evidence.other_seed,
    }
    for axis, other in others.items():
        if axis in declared or other is None or other.selection is None:
            continue
        if not _same(base.selection["scores"], other.selection["scores"]):
            yield f"the scores change with the {_AXES[axis]}, and depends_on of the entry lacks {axis!r}"


_AXES = {"tau": "prune ratio", "backbone": "backbone", "seed": "seed"}


def _same(a: Any, b: Any) -> bool:
    return b is not None and bool(np.array_equal(a, b, equal_nan=True))


def leaves_settings_alone(evidence: Evidence) -> Iterator[str]:
    """Random states and settings of the process belong to all cells of a run."""
    first, *later = evidence.cells  # in the first one libraries are imported, which do such things
    yield from dict.fromkeys(change for seen in later or [first] for change in seen.disturbs)


def prints_nothing(evidence: Evidence) -> Iterator[str]:
    """What a command prints is its result, and progress lines are the harness's."""
    yield from dict.fromkeys(text for seen in evidence.cells for text in seen.prints)
