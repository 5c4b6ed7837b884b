"""Sets of rows by what a method selects: whole fields, values, coordinates, single weights, or fields of each row."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, get_args

from bench.errors import ConfigError

__all__ = ["HEADINGS", "Sections", "level_rank", "sections_of", "wants_sections"]

Sections = Literal["auto", "on", "off"]
HEADINGS = {
    "none": "",
    "field": "Fields",
    "value": "Values of fields",
    "dimension": "Dimensions of embeddings",
    "weight": "Single weights",
    "row": "Fields of each row",
    "": "Of unknown level",
}
"""Heading of a set by level, in the order of tables; the rows that keep everything stand above all headings."""


def level_rank(level: str) -> int:
    return list(HEADINGS).index(level)


def wants_sections(levels: Collection[str], asked: Sections) -> bool:
    """Whether rows of these levels are set apart: ``auto`` does so where single weights stand beside something else."""
    found = set(levels) - {"none"}
    return asked == "on" or (asked == "auto" and "weight" in found and len(found) > 1)


def sections_of(config: Path) -> Sections:
    """What a run.toml says of ``sections``; ``auto`` where it says nothing, or is not there.

    Raises:
        ConfigError: it says something else, or cannot be read.
    """
    try:
        said = tomllib.loads(config.read_text(encoding="utf-8")).get("sections", "auto")
    except FileNotFoundError:
        return "auto"
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config} cannot be read: {error}. Mend it, or name --sections.") from None
    allowed: Sequence[Sections] = get_args(Sections)
    for one in allowed:
        if said == one:
            return one
    raise ConfigError(f"{config}: sections = {said!r} is not allowed; choose one of {', '.join(allowed)}.")
