"""The ``[split]`` table of a card: shares, test files, and a column whose every value has all its rows in one split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from bench.data.card.card_params import SHARES
from bench.data.card.layout import Layout
from bench.data.card.toml_table import TomlTable
from bench.errors import ConfigError, suggest

SPLITS = ("train", "valid", "test")

_KINDS = ("categorical", "integer", "ignore")
"""Of columns whose values tell groups apart; numbers and times are measured, and equal ones say little."""


def with_group(layouts: Sequence[Layout], group: str, where: str) -> tuple[Layout, ...]:
    """The layouts, all of which read the column ``group``, though no field be made of it.

    Raises:
        ConfigError: there is no such column, or its values are none that tell groups apart.
    """
    return tuple(_reads(layout, group, f"{where}: [split]") for layout in layouts) if group else tuple(layouts)


def _reads(layout: Layout, group: str, where: str) -> Layout:
    named = [column for column in layout.columns if column.name == group]
    if not named:
        names = [column.name for column in layout.columns]
        raise ConfigError(
            f"{where}: group = {group!r} is no column under [raw.columns].{suggest(group, names)} One that is to be no "
            f'field has the kind "ignore".'
        )
    column = named[0]
    if column.role not in _KINDS or column.multi:
        kind = f"{column.role} with multi = {column.multi!r}" if column.multi else column.role
        raise ConfigError(
            f"{where}: group = {group!r} is of the kind {kind}, whose values tell no groups apart; allowed: "
            f"{', '.join(_KINDS)}."
        )
    if column.role != "ignore":
        return layout
    read = replace(column, role="categorical", no_field=True)
    return replace(layout, columns=tuple(read if one is column else one for one in layout.columns))


def check_group(group: str, where: str, *, generated: bool, temporal: bool, test_files: bool) -> None:
    """Make sure that groups can be kept whole.

    Raises:
        ConfigError: rows of a generator, a split by time, or a test split of its own.
    """
    if not group:
        return
    head = f"{where}: [split] group = {group!r}"
    if generated:
        raise ConfigError(f"{head}: generated rows have no columns but their fields, and no groups; leave it out.")
    if temporal:
        raise ConfigError(
            f"{head}: split=temporal cuts between times, so that rows of one group come to lie on both sides; leave "
            f"one of them out."
        )
    if test_files:
        raise ConfigError(
            f"{head}: the test files say themselves which rows are for testing, whatever their groups; give [split] "
            f"test a share, or leave group out."
        )


def read_split(table: TomlTable) -> tuple[tuple[float, float, float], tuple[str, ...], str]:
    """The shares of the splits, the files of a test split of its own, and the column whose values are not cut.

    Raises:
        ConfigError: shares that are none.
    """
    split = table.table("split")
    group = split.take("group", str, "")
    if not split.holds_table("test"):
        return _read_shares(split), (), group
    train, valid = split.take("train", float, 0.8), split.take("valid", float, 0.1)
    test = split.table("test")
    files = test.take_list("files")
    test.done()
    split.done()
    if not files:
        raise test.fault("files = [] names no file; name the one that holds the test rows.", "files", instead=["x"])
    if not (math.isfinite(train) and math.isfinite(valid) and min(train, valid) > 0):
        raise split.fault(f"train = {train}, valid = {valid} must be above 0.", "train", whole=True)
    whole = Fraction(str(train)) + Fraction(str(valid))
    return (float(Fraction(str(train)) / whole), float(Fraction(str(valid)) / whole), 0.0), files, group


def shares_given(
    owner: str, params: Mapping[str, Any], card: tuple[float, float, float], test_files: tuple[str, ...]
) -> tuple[float, float, float]:
    """The shares of the splits that the parameters of a data set ask for, those of its ``card`` where they do not.

    Raises:
        ConfigError: a text that says none, or test rows that have files of their own.
    """
    text = params.get(SHARES, "")
    if not text:
        return card
    if test_files:
        raise ConfigError(f"data set {owner!r}: shares={text}, but the card's test rows have files of their own.")
    parts = text.split(":")
    if len(parts) != len(SPLITS) or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise ConfigError(f"data set {owner!r}: shares={text} must be train:valid:test in whole numbers, as 70:20:10.")
    whole = sum(map(int, parts))
    train, valid, test = (int(part) / whole for part in parts)
    return train, valid, test


def _read_shares(split: TomlTable) -> tuple[float, float, float]:
    train, valid, test = (split.take(name, float, share) for name, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True))
    split.done()
    finite = all(map(math.isfinite, (train, valid, test)))
    total = sum(Fraction(str(share)) for share in (train, valid, test)) if finite else math.nan
    if min(train, valid, test) <= 0 or total != 1:
        shares = f"train = {train}, valid = {valid}, test = {test}"
        raise split.fault(f"{shares} must be above 0 and sum to 1; the sum is {float(total):g}.", whole=True)
    return train, valid, test
