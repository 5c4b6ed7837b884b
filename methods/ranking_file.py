"""Ranking File: any ranking of the fields from outside, a person's, a vendor's or a language model's, as a row.

There is no paper. The file names every field of the data set once, in one of these forms:

    text, CSV    one name a line, best first; or name,score in any order, higher is better. A first line that names
                 no field is a heading.
    JSON         a list of names, best first; or an object of scores by name

What the file holds decides the result and is part of a cell's identity; where it lies is not.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from bench.api import ConfigError, Content, Context, Method, Rows, Schema, Selection

_SHOWN = 5
"""Names that a message lists."""


@dataclass(frozen=True)
class RankingFileParams:
    """Parameters of a ranking from outside."""

    path: Content
    """The file: text, CSV or JSON."""


class RankingFile(Method[RankingFileParams]):
    """Scores fields as a file says."""

    Params = RankingFileParams

    def check_fields(self, schema: Schema) -> None:
        self._scores(schema.names)

    def select(self, ctx: Context[RankingFileParams], train: Rows, selection_rows: Rows) -> Selection:
        return Selection(scores=self._scores(ctx.schema.names), hint="so the file says", rows_seen=0)

    def _scores(self, names: Sequence[str]) -> np.ndarray:
        """Scores of the fields ``names``, float64 [F].

        Raises:
            ConfigError: the file cannot be understood, or does not name each field once.
        """
        file = self.params.path
        scores = _read(file, set(names))
        unknown = [name for name in scores if name not in names]
        if unknown:
            near = get_close_matches(unknown[0], names, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The data have {_listed(names)}."
            raise ConfigError(f"{file.name}: the field {unknown[0]!r} is unknown. {hint}")
        missing = [name for name in names if name not in scores]
        if missing:
            raise ConfigError(
                f"{file.name} does not name {len(missing)} of the {len(names)} fields: {_listed(missing)}. "
                "Add them; those that are worth nothing come last."
            )
        return np.array([scores[name] for name in names], dtype=np.float64)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _read(file: Content, names: set[str]) -> dict[str, float]:
    """Scores by name, whatever the names are.

    Raises:
        ConfigError: the file is of no known form, names something twice or has a score that is no finite number.
    """
    if file.name.lower().endswith(".json"):
        pairs = _of_json(file)
    else:
        lines = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(file.text))]
        pairs = _of_lines(file.name, [line for line in lines if any(line)], names)
    if not pairs:
        raise ConfigError(f"{file.name} names no field. Write one name a line, best first.")
    name, count = Counter(name for name, _ in pairs).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{file.name} names the field {name!r} {count} times; leave one of them.")
    return {name: _number(score, f"{file.name}: {name}") for name, score in pairs}


def _of_lines(file: str, lines: list[list[str]], names: set[str]) -> list[tuple[str, object]]:
    if lines and lines[0][0] not in names and not _is_number(lines[0][-1]) and len(lines) > len(names):
        lines = lines[1:]
    if all(len(line) == 1 for line in lines):
        return _best_first([line[0] for line in lines])
    for line in lines:
        if len(line) != 2:
            shown = ",".join(line)
            raise ConfigError(f"{file}: the line {shown!r} has {len(line)} values; write name, or name,score.")
    return [(name, score) for name, score in lines]


def _of_json(file: Content) -> list[tuple[str, object]]:
    try:
        found = json.loads(file.text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file.name} is no JSON ({error}). Give a list of names, or an object of scores.") from None
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return _best_first(found)
    if isinstance(found, list) and all(isinstance(item, tuple) for item in found):
        return [(str(name), score) for name, score in found]
    raise ConfigError(f"{file.name} is neither a list of names, best first, nor an object of scores by name.")


def _best_first(names: Sequence[str]) -> list[tuple[str, object]]:
    return [(name, len(names) - place) for place, name in enumerate(names)]


def _number(score: object, where: str) -> float:
    """A score.

    Raises:
        ConfigError: it is no finite number.
    """
    if isinstance(score, bool) or not (
        isinstance(score, int | float) or (isinstance(score, str) and _is_number(score))
    ):
        raise ConfigError(f"{where}: the score {score!r} is no number.")
    number = float(str(score))
    if not math.isfinite(number):
        raise ConfigError(f"{where}: the score {score!r} is not finite; give a number, higher for better fields.")
    return number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
