"""Which column is the label, by its name and its values, and what the card has to say of these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.card.labels import LabelRule, LabelValues, is_likely
from bench.data.look.columns import Values
from bench.data.look.kinds import words
from bench.errors import ConfigError, quoted, suggest

_NAME = re.compile(
    r"(is_|has_|was_)?(label|target|y|click|clicks|clicked|isclick|conversion|conversions|converted|conv|purchase|"
    r"purchased|bought|buy|install|installed|response|responded|outcome|churn|churned|class)(_flag|_label)?"
)
_RATING = re.compile(r"(rating|stars|score)s?")
_MOST_RATINGS = 20
_TEXT_VALUES = 2


@dataclass(frozen=True)
class Label:
    """The label column, and how its values are told apart."""

    name: str
    key: str = ""
    """Of the card, under [raw]: positive or label_rule; nothing where the column holds 0 and 1."""
    value: str | tuple[str, ...] = ""
    why: str = ""
    """A comment for the card."""

    @property
    def rule(self) -> LabelRule:
        if self.key == "label_rule":
            return LabelRule.parse(str(self.value), "")
        return LabelRule(positive=self.value) if isinstance(self.value, tuple) else LabelRule()

    def of_rows(self, values: Values, markers: Sequence[str]) -> np.ndarray:
        """0 or 1 of every row looked at, uint8 [n]; a value without a label counts as 0."""
        texts = values.texts.to_pylist() if values.texts is not None else [str(one) for one in values.floats or ()]
        labels = [self.rule.label(text) or 0 for text in texts]
        found: np.ndarray = np.array([0, *labels], dtype=np.uint8)[values.codes + 1]
        return found


def find_label(columns: Sequence[Values], markers: Sequence[str], asked: str, header: bool) -> Label:
    """The label column.

    Args:
        columns: all that can be read.
        markers: texts that stand for a missing value.
        asked: the column that the user names, or nothing.
        header: whether the columns have names of their own.

    Raises:
        ConfigError: no column or several could be the label, or the one asked for cannot.
    """
    if asked:
        named = {column.name: column for column in columns}
        if asked not in named:
            raise ConfigError(f"--label {asked}: the table has no such column.{suggest(asked, named)}")
        found = _label(named[asked], markers)
        if isinstance(found, str):
            raise ConfigError(f"--label {asked}: {found}.")
        return found
    binary = [column for column in columns if _is_binary(column, markers)]
    called = [column for column in columns if _NAME.fullmatch(words(column.name))]
    likely = [column for column in called if column in binary]
    likely = likely or [column for column in columns if _is_rating(column, markers)]
    if not likely and not called and len(binary) == 1:
        likely = binary
    if not likely and not header and _plain(columns[0]):
        likely = [columns[0]]
    if len(likely) == 1 and not isinstance(label := _label(likely[0], markers), str):
        return label
    raise ConfigError(_which(likely or [*called, *binary], columns))


def _which(candidates: Sequence[Values], columns: Sequence[Values]) -> str:
    names = ", ".join(quoted(column.name) for column in candidates[:10])
    more = f" and {len(candidates) - 10} more" if len(candidates) > 10 else ""
    if not candidates:
        first = ", ".join(quoted(column.name) for column in columns[:10])
        return (
            f"which column is the label? None is called so or holds two values; name it with --label COLUMN "
            f"(the columns: {first}{', …' * (len(columns) > 10)})."
        )
    what = "these columns" if len(candidates) > 1 else "this column"
    return f"which column is the label? Perhaps {what}: {names}{more}; name it, as with --label {candidates[0].name}."


def _texts(column: Values, markers: Sequence[str]) -> list[str] | None:
    """The distinct values where they are few and none is missing; else None."""
    present = column.without(markers)
    if present.texts is None or column.items is not None or present.distinct > _MOST_RATINGS or present.missing > 0:
        return None
    return [str(text) for text in present.texts.to_pylist()]


def _is_binary(column: Values, markers: Sequence[str]) -> bool:
    texts = _texts(column, markers)
    return texts is not None and len(texts) == _TEXT_VALUES


def _plain(column: Values) -> bool:
    """Whether a column holds what needs no word: 0 and 1."""
    texts = _texts(column, ()) or []
    return len(texts) == _TEXT_VALUES and {LabelRule().label(text) for text in texts} == {0, 1}


def _is_rating(column: Values, markers: Sequence[str]) -> bool:
    texts = _texts(column, markers) or []
    return len(texts) > _TEXT_VALUES and _numbers(texts) is not None and bool(_RATING.fullmatch(words(column.name)))


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        return sorted(float(text) for text in texts)
    except ValueError:
        return None


def _label(column: Values, markers: Sequence[str]) -> Label | str:
    """The label that a column makes, or why it makes none."""
    present = column.without(markers)
    if present.missing > 0:
        return (
            f"{present.missing:.1%} of its values are missing in the rows looked at, and a row without a label is none"
        )
    if present.distinct < _TEXT_VALUES:
        return "it has one value in all rows looked at"
    texts = present.texts.to_pylist() if present.texts is not None else [f"{one:g}" for one in present.floats or ()]
    if len(texts) == _TEXT_VALUES:
        return _two(column.name, texts, present.counts)
    numbers = _numbers(texts)
    if numbers is None:
        values = LabelValues(dict(zip(texts, present.counts.tolist(), strict=True)))
        return (
            f"it holds {len(texts):,} texts ({values.listed()}), and a label has two values; join them in the table, "
            f'or write the card by hand with positive = ["…"] and negative = ["…"] under [raw]'
        )
    scope = f"its numbers go from {numbers[0]:g} to {numbers[-1]:g}; choose another bound if that is not a click"
    return Label(column.name, "label_rule", _bound(column.name, numbers), scope)


def _two(name: str, texts: Sequence[str], counts: np.ndarray) -> Label:
    """The label of a column with two values: of texts, the likelier name of a click counts as 1, or the rarer text."""
    if {LabelRule().label(text) for text in texts} == {0, 1}:
        return Label(name)
    numbers = _numbers(texts)
    if numbers is not None:
        return Label(name, "label_rule", f">= {numbers[1]:g}", f"the other value is {numbers[0]:g}")
    rows = dict(zip(texts, counts.tolist(), strict=True))
    ordered = sorted(texts, key=lambda text: (not is_likely(text), rows[text], text))
    sure = "" if is_likely(ordered[0]) else "a guess, the rarer one: "
    return Label(name, "positive", (ordered[0],), f"{sure}the other value, {ordered[1]!r}, counts as 0")


def _bound(name: str, numbers: Sequence[float]) -> str:
    """What counts as 1: four fifths of the largest rating and more; of other numbers that begin at 0, all above."""
    if numbers[0] == 0 and not _RATING.fullmatch(words(name)):
        return "> 0"
    enough = [number for number in numbers if number >= 0.8 * numbers[-1]]
    return f">= {(enough or [numbers[-1]])[0]:g}"
