"""All that is wrong with a card, not only the first thing.

There is one set of rules: the card is read as ever, and where that ends at a fault, the key that the fault names is
taken out, or another value put there, and the card is read again.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.card.card import DatasetCard, read_card
from bench.data.card.toml_places import Place, key_places, place_of
from bench.data.card.toml_table import GONE, KeyPath, TomlFault, TomlTable, parse_toml, read_toml_text
from bench.errors import ConfigError

_MOST = 1000
"""Faults that are looked for."""
_SYNTAX = re.compile(r"at line (\d+), column (\d+)")


@dataclass(frozen=True)
class CardFault:
    """One thing that is wrong."""

    place: Place
    text: str


@dataclass(frozen=True)
class CheckedCard:
    """What reading a card has told."""

    card: DatasetCard | None
    """None where it has faults."""
    faults: tuple[CardFault, ...]
    """In the order of the file."""
    places: dict[KeyPath, Place]


def check_card(path: Path) -> CheckedCard:
    """Read the card at ``path`` and name all its faults.

    Raises:
        ConfigError: the file cannot be read.
    """
    text = read_toml_text(path)
    try:
        values = parse_toml(path, text)
    except ConfigError as error:
        found = _SYNTAX.search(str(error))
        place = Place(int(found[1]), int(found[2])) if found else Place()
        return CheckedCard(None, (CardFault(place, str(error).removeprefix(f"{path}: ")),), {})
    places = key_places(text)
    faults: list[CardFault] = []
    card = None
    while card is None and len(faults) < _MOST:
        table = TomlTable(copy.deepcopy(values), path.name)
        try:
            card = read_card(table)
        except ConfigError as error:
            fault = error if isinstance(error, TomlFault) else TomlFault(str(error), table.named_in(str(error)))
            one = CardFault(place_of(places, fault.at), str(error).removeprefix(f"{path.name}: "))
            if one in faults:  # what was put there did not mend it
                break
            faults.append(one)
            if not _mend(values, fault):
                break
    faults.sort(key=lambda fault: fault.place)
    return CheckedCard(None if faults else card, tuple(faults), places)


def _mend(values: dict[str, Any], fault: TomlFault) -> bool:
    """Put what stands in for the faulty value into ``values``; whether that could be done and changed anything."""
    if not fault.mend:
        return False
    holder: Any = values
    key, *rest = fault.mend
    for further in rest:
        inner = holder.get(key) if isinstance(holder, dict) else holder[key]
        if not isinstance(inner, dict | list):  # a column that is written as its kind alone
            break
        holder, key = inner, further
    old = holder.get(key) if isinstance(holder, dict) else holder[key]
    new = fault.mended(old)
    if new is GONE and not isinstance(holder, dict):
        return False  # the places of those behind it would be others
    if new is GONE:
        holder.pop(key, None)
    else:
        holder[key] = new
    return bool(old is not None if new is GONE else old != new)
