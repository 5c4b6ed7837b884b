"""What a column seems to be for, by its values first and its name second.

The rules, in their order; the first that holds decides:

1. one value or none: constant, ignored;
2. it numbers the rows, or next to no value comes twice and it is no amount and no time: ignored;
3. all values are times (``iso``, ``YYMMDDHH``, whole numbers that are seconds of 2000 to 2040, or of 1980 to 2040 if
   the name says time): its parts become fields;
4. all are numbers: codes where the name says so (id, code, zip, …), where a value begins with 0, or where there are at
   most ``FEW`` whole ones; counts (``integer``) where whole numbers are small ones mostly and larger ones rarer;
   amounts (``numeric``) where there are fractions or the name says so (price, age, …); codes otherwise;
5. texts of several values, as ``a|b``, whose parts come again in other rows: ``multi``;
6. long texts that hardly come again: ignored;
7. else categories.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.look.columns import NUMBER_MARKERS, SOFT_MARKERS, Present, Values
from bench.data.raw.times import FORMATS

FEW = 12
"""Distinct whole numbers up to which each is a value of its own."""
SEPARATORS = ("|", ";", ",", " ")
"""What may stand between several values of a text, the likelier first."""
_LONG = 40
"""Mean letters of a value from which on it is free text, if it hardly comes again."""
_AGAIN = 0.5
"""Distinct values for each row below which a text comes again."""
_EPOCH = (946_684_800, 2_208_988_800)
"""2000-01-01 and 2040-01-01, in seconds since 1970."""
_EARLIEST = 315_532_800
"""1980-01-01, for columns whose name says time."""
_MANY = 100
_NUMBER = r"^ *[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)? *$"
_ID = re.compile(r"(^|_)(id|ids|uid|gid|code|codes|zip|zipcode|postal|postcode|hash|key|type|class|cat|category|no)$")
_AMOUNT = re.compile(
    r"(^|_)(price|amount|cost|revenue|value|fee|bid|budget|age|duration|length|size|width|height|weight|score|income|"
    r"salary|distance|lat|lon|latitude|longitude|rate|ratio|percent|balance|fare)(_|$)"
)
_TIME = re.compile(r"(^|_)(time|timestamp|ts|date|datetime|day|dt|at|when|hour|utc)(_|$)")


@dataclass
class Guess:
    """What a column seems to be."""

    values: Values
    present: Present
    kind: str
    """One of the card's kinds."""
    why: str = ""
    """Of an ignored column: the reason."""
    time_format: str = ""
    parts: tuple[str, ...] = ()
    multi: bool = False
    separator: str = ""
    notes: list[str] = field(default_factory=list)
    """What a person should look at."""
    seconds: np.ndarray | None = None
    """Of a time: int64 [V]."""

    @property
    def name(self) -> str:
        return self.values.name

    @property
    def makes_field(self) -> bool:
        return self.kind not in ("ignore", "label")


def guess(values: Values, markers: Sequence[str], decimal: str) -> Guess:
    """What the column ``values`` seems to be; texts of ``markers`` are missing values."""
    present = values.without(markers)
    if present.distinct <= 1:
        what = "no value at all" if not present.distinct else "one value"
        return Guess(values, present, "ignore", f"constant: {what} in the rows looked at")
    if values.items is not None:
        return Guess(values, present, "categorical", multi=True)
    soft = _without_soft(values, markers, decimal)
    timed = _timed(values, soft)
    if values.counts_up and (timed is None or not _TIME.search(words(values.name))):
        return Guess(values, present, "ignore", "it numbers the rows")
    return timed or _numbers(values, soft, decimal) or _texts(values, present)


def words(name: str) -> str:
    """``name`` in small letters, its words joined by underscores: ``userId`` is ``user_id``."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def _without_soft(values: Values, markers: Sequence[str], decimal: str) -> Present:
    """The values without soft markers, where all that is left then is of one kind; else with them."""
    present = values.without(markers)
    if present.texts is None or not pc.any(pc.is_in(present.texts, value_set=_SOFT), min_count=0).as_py():
        return present
    bare = values.without((*markers, *SOFT_MARKERS))
    fits = bare.distinct > 1 and (bare.numbers(decimal) is not None or _time_of(values.name, bare)[0] != "")
    return bare if fits else present


_SOFT = pa.array(SOFT_MARKERS, pa.large_string())


def _timed(values: Values, present: Present) -> Guess | None:
    form, seconds = _time_of(values.name, present)
    if not form:
        return None
    fields = _parts(seconds)
    guessed = Guess(values, present, "time", time_format=form, parts=fields, seconds=seconds)
    if not fields:
        guessed.notes.append("no part of it changes in the rows looked at; it can still order them in time")
    return guessed


def _time_of(name: str, present: Present) -> tuple[str, np.ndarray]:
    """The format in which all values are times and the seconds that they stand for; "" where there is none."""
    none = "", np.empty(0, dtype=np.int64)
    if present.texts is None:
        return none
    whole = present.whole(".")
    named = _TIME.search(words(name)) is not None
    if whole is None:
        found = FORMATS["iso"].read(present.texts)
        return ("iso", found.seconds) if found.valid.all() else none
    if named or present.distinct >= _MANY:
        lengths = np.unique(np.asarray(pc.utf8_length(present.texts)))
        if lengths.tolist() == [8]:
            for form, of in (("iso", present.texts), ("YYMMDDHH", pa.array(whole))):
                found = FORMATS[form].read(of)
                if found.valid.all() and _is_recent(found.seconds, named):
                    return form, found.seconds
        if _is_recent(whole, named):
            return "unix", whole
    return none


def _is_recent(seconds: np.ndarray, named: bool) -> bool:
    first = _EARLIEST if named else _EPOCH[0]
    return bool((seconds >= first).all() and (seconds < _EPOCH[1]).all())


def _parts(seconds: np.ndarray) -> tuple[str, ...]:
    """The hour and the weekday, those of them that have two values."""
    hours, days = seconds % 86_400 // 3600, seconds // 86_400
    return tuple(part for part, found in (("hour", hours), ("weekday", days % 7)) if len(np.unique(found)) > 1)


def _numbers(values: Values, present: Present, decimal: str) -> Guess | None:
    numbers = present.numbers(decimal)
    if numbers is None:
        return None
    whole, name = present.whole(decimal), words(values.name)
    amount = _AMOUNT.search(name) is not None
    if not np.isfinite(numbers).all():
        return Guess(values, present, "ignore", "it holds infinite numbers; mend them to use it as numeric")
    if whole is None and (present.texts is None or not _is_whole(numbers)):
        guessed = Guess(values, present, "numeric")
    elif _is_code(name, present):
        return _texts(values, present)
    elif (unit := _finer(numbers, name)) != "":
        return Guess(
            values, present, "ignore", f"it seems to be {unit} since 1970; divide to seconds to use it as a time"
        )
    elif whole is not None and _is_count(whole, present.counts) and not amount:
        guessed = Guess(values, present, "integer")
    elif amount:
        guessed = Guess(values, present, "numeric")
    else:
        return _texts(values, present)
    marker = _marker(numbers, present.counts)
    if marker is not None:
        share = present.counts[numbers == marker].sum() / present.n_rows
        guessed.notes.append(
            f'{marker} in {share:.1%} of the rows: if that stands for a missing value, add "{marker}" to missing'
        )
    return guessed


def _is_whole(numbers: np.ndarray) -> bool:
    return bool((numbers == np.floor(numbers)).all())


def _is_code(name: str, present: Present) -> bool:
    """Whether each number is a name, not a quantity."""
    if _ID.search(name) or present.distinct <= FEW or present.texts is None:
        return True
    padded = pc.match_substring_regex(present.texts, r"^0[0-9]")
    return bool(pc.any(padded, min_count=0).as_py())


def _is_count(whole: np.ndarray, counts: np.ndarray) -> bool:
    """Whether small numbers are frequent and larger ones rarer.

    The lower half of the rows lies in the lowest quarter of the range, which begins near 0 and has few gaps there.
    """
    marker = _marker(whole, counts)
    whole, counts = whole[whole != marker], counts[whole != marker]
    order = np.argsort(whole)
    numbers, rows = whole[order], counts[order]
    low, high = int(numbers[0]), int(numbers[-1])
    median = int(numbers[np.searchsorted(np.cumsum(rows), rows.sum() / 2)])
    dense = np.count_nonzero(numbers <= median) >= (median - low + 1) / 3
    return -100 <= low <= 2 and median - low <= (high - low) / 4 and bool(dense)


def _finer(numbers: np.ndarray, name: str) -> str:
    """Milliseconds and finer, where a name says time."""
    for factor, unit in ((1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds")):
        if _TIME.search(name) and _is_recent(numbers / factor, named=True):
            return unit
    return ""


def _marker(numbers: np.ndarray, counts: np.ndarray) -> int | None:
    """A number that may stand for a missing value: alone at its end of the range, and in 1 % of the rows."""
    for marker in NUMBER_MARKERS:
        held = numbers == marker
        others = numbers[~held]
        alone = marker < 0 <= others.min(initial=0) if marker < 0 else others.max(initial=0) < marker / 10
        if held.any() and alone and counts[held].sum() >= 0.01 * counts.sum():
            return marker
    return None


def _texts(values: Values, present: Present) -> Guess:
    """A column whose values are names."""
    if present.is_unique:
        return Guess(values, present, "ignore", "a value for every row: it tells rows apart and says nothing of others")
    separator = _separator(present)
    if separator:
        return Guess(values, present, "categorical", multi=True, separator=separator)
    guessed = Guess(values, present, "categorical")
    if present.texts is None:
        return guessed
    lengths = np.asarray(pc.utf8_length(present.texts))
    mean = float((lengths * present.counts).sum() / present.rows)
    if mean >= _LONG and present.distinct > _AGAIN * present.rows:
        return Guess(values, present, "ignore", f"free text: {mean:.0f} letters on average, and most come only once")
    if present.distinct > 0.9 * present.rows and present.rows >= _MANY:
        guessed.notes.append("nearly a value for every row")
    odd = _odd_texts(present.texts, present)
    if odd:
        guessed.notes.append(f"all numbers but for {odd}: mend them, or list them under missing, to read it as numbers")
    return guessed


def _odd_texts(texts: pa.Array, present: Present) -> str:
    """The texts among values that are nearly all numbers; nothing elsewhere."""
    is_number = np.asarray(pc.match_substring_regex(texts, _NUMBER))
    odd = np.flatnonzero(~is_number)
    if not len(odd) or len(odd) > 3 or present.counts[odd].sum() > 0.05 * present.rows or present.distinct <= FEW:
        return ""
    return ", ".join(repr(texts[int(place)].as_py()[:20]) for place in odd)


def _separator(present: Present) -> str:
    """What stands between several values, where their parts are few and come again; nothing elsewhere.

    A blank must stand in every second value, so that names of two words are none.
    """
    if present.texts is None or present.distinct < FEW:
        return ""
    for one in SEPARATORS:
        held = np.asarray(pc.count_substring(present.texts, one))
        share = float(present.counts[held > 0].sum() / present.rows)
        if share < (0.5 if one in " ," else 0.1) or held.max(initial=0) < 2:
            continue
        parts = pc.split_pattern(present.texts, one)
        items = parts.flatten()
        n_items = len(pc.unique(items))
        lengths = np.asarray(pc.utf8_length(items))
        few = n_items <= (present.distinct if one == "|" else present.distinct / 2)
        if few and (one == "|" or len(np.unique(held)) > 1) and lengths.mean() <= 20:
            return one
    return ""
