"""Labels: which values of the label column count as 1 and which as 0.

No value counts as 0 because it is unknown. A card that says nothing has 0 and 1 in the column; a rule that compares
numbers decides about every number; a rule that compares texts, or a list of one class alone, knows the other class only
if the whole table has exactly one other value.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.data.card.toml_table import TomlFault, TomlTable
from bench.errors import ConfigError, DataError, quoted

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
NUMBER = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII)
"""How a finite number is written."""
_PLAIN = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1}
"""What a column holds of which the card says nothing: 0 and 1, also as pandas writes floats and truth values."""
_LIKELY = ("yes", "y", "true", "t", "positive", "pos", "click", "clicked", "buy", "good", "success")
"""What rather counts as 1, in small letters."""
_MOST = 1000
"""Distinct values that are counted."""
_SHOWN = 10
"""Values that a message lists."""


@dataclass(frozen=True)
class LabelRule:
    """How a row's label follows from the label column: 1 where ``value <symbol> <operand>`` holds, or by lists."""

    text: str = ""
    """As written in the card, e.g. ``>= 4``; empty without a rule."""
    symbol: str = ""
    operand: str = ""
    positive: tuple[str, ...] = ()
    """Values that count as 1; with ``negative`` empty as well and no rule, the column holds 0 and 1."""
    negative: tuple[str, ...] = ()
    """Values that count as 0."""

    @classmethod
    def parse(cls, text: str, where: str) -> LabelRule:
        """Read ``>= 4`` or ``== yes``.

        Raises:
            ConfigError: no known comparison, or an order of things that are no numbers.
        """
        if not text:
            return cls()
        symbol = next((s for s in _COMPARISONS if text.strip().startswith(s)), "")
        operand = text.strip().removeprefix(symbol).strip()
        if not symbol or not operand:
            raise ConfigError(f"{where}: label_rule = {text!r} is not of the form '>= 4' or '== yes'.")
        if _number(operand) is None and symbol not in ("==", "!="):
            raise ConfigError(f"{where}: label_rule = {text!r} compares with {operand!r}, which is no number.")
        return cls(text, symbol, operand)

    def label(self, value: str) -> int | None:
        """0 or 1; None where the value has no label.

        A value that is 0 or 1 only because another one is named has its label under the condition that
        ``check_labels`` holds the table to.
        """
        if self.positive or self.negative:
            if value in self.positive or value in self.negative:
                return int(value in self.positive)
            return None if self.positive and self.negative else int(not self.positive)
        if not self.symbol:
            return _PLAIN.get(value)
        right = _number(self.operand)
        if right is None:
            return int((value == self.operand) == (self.symbol == "=="))
        left = _number(value)
        return None if left is None else int(_COMPARISONS[self.symbol](left, right))

    @property
    def named(self) -> tuple[str, ...]:
        """The values of the one class that are named, where all others are the other class; else nothing."""
        if self.positive or self.negative:
            return () if self.positive and self.negative else self.positive or self.negative
        return (self.operand,) if self.symbol and not self.compares_numbers else ()

    @property
    def compares_numbers(self) -> bool:
        """Whether the label is decided by an order or equality of numbers."""
        return bool(self.symbol) and _number(self.operand) is not None

    @property
    def compares_texts(self) -> bool:
        """Whether values count letter by letter."""
        return bool(self.positive or self.negative or (self.symbol and not self.compares_numbers))

    @property
    def shown(self) -> str:
        """The rule, for messages."""
        lists = [f"{key} = {_toml(values)}" for key, values in self._lists.items() if values]
        return ", ".join(lists) or (f"label_rule = {self.text!r}" if self.symbol else "1 is 1 and 0 is 0")

    @property
    def wanted(self) -> str:
        """What the label column must hold, for messages."""
        if self.positive or self.negative:
            return f"one of {', '.join(map(quoted, (*self.positive, *self.negative)))}"
        if not self.symbol:
            return "0 or 1"
        return "a number" if self.compares_numbers else "a value"

    @property
    def mend(self) -> str:
        """What to do where a value has no label, or a wrong one."""
        if self.compares_numbers:
            return "mend label_rule under [raw] of the card"
        return 'say under [raw] of the card which values count as 1 and which as 0: positive = ["…"], negative = ["…"]'

    def mend_for(self, seen: Sequence[str]) -> str:
        """``mend``, with the words that would do for the values ``seen``, where that can be told."""
        if self.symbol or self.positive or self.negative or len(seen) < 2:
            return self.mend
        ranked = sorted(seen, key=lambda text: (is_likely(text), _number(text) or 0.0, text))
        numbers = [_number(text) is not None for text in seen]
        if len(seen) == 2 and (all(numbers) or not any(numbers)):
            lists = f"positive = {_toml(ranked[1:])}, negative = {_toml(ranked[:1])}"
            return (
                f"say under [raw] of the card which value counts as 1 and which as 0: {lists}, or the other way round"
            )
        if all(numbers):
            bound = ranked[(len(ranked) + 1) // 2].strip()
            return f'say under [raw] of the card which numbers count as 1, as label_rule = ">= {bound}"'
        return self.mend

    @property
    def _lists(self) -> dict[str, tuple[str, ...]]:
        return {"positive": self.positive, "negative": self.negative}


def is_likely(text: str) -> bool:
    """Whether ``text`` rather counts as 1 than as 0."""
    return text.strip().lower() in _LIKELY


def read_label_rule(table: TomlTable) -> LabelRule:
    """The keys ``label_rule``, ``positive`` and ``negative`` of a ``[raw]`` table.

    Raises:
        ConfigError: a rule beside lists, an empty list, or a value in both.
    """
    lists = {key: table.take_list(key, []) for key in ("positive", "negative") if key in table}
    text = table.take("label_rule", str, "")
    if text and lists:
        other = next(iter(lists))
        raise table.fault(f"label_rule = {text!r} and {other} exclude each other; give one.", "label_rule")
    for key, values in lists.items():
        if not values:
            raise table.fault(f"{key} = [] names no value of the label column; name one, or leave it out.", key)
    both = set(lists.get("positive", ())) & set(lists.get("negative", ()))
    if both:
        raise table.fault(f"the label {min(both)!r} is both positive and negative; leave it in one list.", "negative")
    if lists:
        return LabelRule(positive=lists.get("positive", ()), negative=lists.get("negative", ()))
    try:
        return LabelRule.parse(text, table.where)
    except ConfigError as error:
        raise TomlFault(str(error), (*table.path, "label_rule")) from None


def _number(text: str) -> float | None:
    value = float(text) if NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def _toml(values: Sequence[str]) -> str:
    quoted = [f'"{value}"' if "\\" not in value and '"' not in value else repr(value) for value in values]
    return f"[{', '.join(quoted)}]"


@dataclass
class LabelValues:
    """Distinct values of a label column and how many rows have each."""

    counts: dict[str, int] = field(default_factory=dict)
    """Of at most ``_MOST`` values."""
    more: bool = False
    """Whether there are further ones."""
    low: float = math.inf
    high: float = -math.inf
    """The smallest and the largest, where a rule compares numbers."""

    @classmethod
    def of(cls, texts: Sequence[str], counts: np.ndarray, rule: LabelRule) -> LabelValues:
        """Of one block: its distinct values and the rows of each, int64 [values]; all have a label by ``rule``."""
        most = np.argsort(-counts, kind="stable")[:_MOST].tolist()
        found = cls({texts[place]: int(counts[place]) for place in most if counts[place]}, len(texts) > _MOST)
        if rule.compares_numbers and texts:
            numbers = [float(text) for text in texts]
            found.low, found.high = min(numbers), max(numbers)
        return found

    def add(self, other: LabelValues) -> None:
        """Take in the values of further rows."""
        for text, count in other.counts.items():
            if text in self.counts or len(self.counts) < _MOST:
                self.counts[text] = self.counts.get(text, 0) + count
            else:
                self.more = True
        self.more |= other.more
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def range_text(self) -> str:
        """From where to where numbers reach, for messages; nothing where all values are listed."""
        return f", from {self.low:g} to {self.high:g}" if self.low <= self.high and len(self.counts) > _SHOWN else ""

    def listed(self, without: Sequence[str] = ()) -> str:
        """The most frequent values with their rows, for messages."""
        ranked = sorted((-count, text) for text, count in self.counts.items() if text not in without)
        shown = ", ".join(f"{quoted(text)} ({-count:,} row{'s' * (count < -1)})" for count, text in ranked[:_SHOWN])
        rest = len(ranked) - _SHOWN
        if self.more:
            return f"{shown} and over {max(rest, _MOST - _SHOWN):,} more"
        return f"{shown} and {rest:,} more" if rest > 0 else shown


def check_labels(values: LabelValues, labels: np.ndarray, rule: LabelRule, where: str) -> None:
    """Make sure that every value has its label by the card's word, and that both labels occur.

    Args:
        values: of the whole label column.
        labels: the label of every row, 0 or 1, [N].
        rule: gave the labels.
        where: the table and the column, for messages.

    Raises:
        DataError: more than one value that the rule does not name, or no row of one label.
    """
    others = [text for text in values.counts if text not in rule.named]
    blanks = [text for text in others if text.strip() in rule.named]
    if blanks:
        raise DataError(
            f"{where} holds {quoted(blanks[0])}, which is {quoted(blanks[0].strip())} but for blanks; take them off "
            f"with trim = true under [raw] of the card."
        )
    if rule.named and (len(others) > 1 or values.more):
        if rule.positive or rule.negative:
            missing, mend = ("negative", "0") if rule.positive else ("positive", "1")
            raise DataError(
                f"{where} holds values that {rule.shown} does not name: {values.listed(rule.named)}; list those that "
                f'count as {mend} under [raw] of the card: {missing} = ["…"].'
            )
        raise DataError(
            f"{where}: {rule.shown} tells two values apart, {rule.operand!r} and one other, and the column holds "
            f"{values.listed()}; replace the rule under [raw] of the card by lists of what counts as 1 and as 0: "
            f'positive = ["…", "…"], negative = ["…"].'
        )
    if labels.min() != labels.max():
        return
    raise DataError(
        f"{where}: none of the {len(labels):,} rows has the label {1 - labels[0]} ({rule.shown}); the column holds "
        f"{values.listed()}{values.range_text}. Pass a table with both labels, or {rule.mend}."
    )
