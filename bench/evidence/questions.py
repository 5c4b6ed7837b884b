"""The questions of a results page, from the file that names them."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from bench.errors import ConfigError, suggest

__all__ = ["FILE", "Question", "read_questions"]

FILE = "questions.toml"
"""In the folder of the page; its head says what the keys mean."""


@dataclass(frozen=True)
class Question:
    """What is asked, and which numbers of which runs say something to it."""

    name: str
    """Of its figure, and in the list of numbers."""
    title: str
    table: str
    metric: str
    runs: tuple[str, ...] = ("*",)
    """Patterns of their names; what one with ``!`` before it fits is left out."""
    tau: float | None = None
    reference: float | Literal["lot"] | None = None
    above: str = ""
    below: str = ""
    open: str = ""
    better: Literal["higher", "lower"] = "higher"
    limit: str = ""

    def asks(self, run: str) -> bool:
        """Whether the run of this name is looked at."""
        left_out = [pattern.removeprefix("!") for pattern in self.runs if pattern.startswith("!")]
        return any(fnmatchcase(run, pattern) for pattern in self.runs if not pattern.startswith("!")) and not any(
            fnmatchcase(run, pattern) for pattern in left_out
        )


_KINDS: dict[str, tuple[type, ...]] = {"runs": (list,), "tau": (float, int), "reference": (float, int, str)}
"""Of the keys that are no text."""


def read_questions(file: Path) -> list[Question]:
    """All questions, in the order of the file.

    Raises:
        ConfigError: it is not there, or not of this form; the message names the question and the key.
    """
    if not file.is_file():
        raise ConfigError(
            f"{file} is not there: it holds the questions of a results page. Give the folder that has it beside "
            "reference/, such as results/ of a checkout."
        )
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} is not readable as the questions of a results page ({error}).") from None
    asked = told.get("question")
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise ConfigError(f"{file} asks nothing: give [[question]] with name, title, table and metric.")
    return [_question(file, one) for one in asked]


def _question(file: Path, told: dict[str, Any]) -> Question:
    where = f"{file}, question {told.get('name', '?')!r}"
    known = {item.name: item for item in fields(Question)}
    for key, value in told.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}.{suggest(key, known)}")
        if not isinstance(value, _KINDS.get(key, (str,))):
            raise ConfigError(f"{where}: {key}={value!r} is not of the kind that the head of the file says.")
    if lacking := [name for name, item in known.items() if item.default is MISSING and name not in told]:
        raise ConfigError(f"{where}: no {', '.join(lacking)}.")
    choices: dict[str, tuple[str, ...]] = {"better": ("higher", "lower")}
    if isinstance(told.get("reference"), str):
        choices["reference"] = ("lot",)
    for key, allowed in choices.items():
        if told.get(key, allowed[0]) not in allowed:
            raise ConfigError(f"{where}: {key}={told[key]!r}; give {' or '.join(allowed)}.")
    return Question(**{**told, "runs": tuple(told.get("runs", ("*",)))})
