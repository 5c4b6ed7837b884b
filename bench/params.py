"""Parameters of plug-ins: a frozen dataclass, filled from ``name[param=value,...]`` with every value checked.

A field may carry its allowed range, the part of it that a search goes through, and the values of other fields under
which it has a part: ``lr: Annotated[float, Range(0, open_low=True), Search(0.01, 1), Only(variant=("a", "b"))] = 0.1``.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import math
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from bench.errors import ConfigError, suggest

P = TypeVar("P")


@dataclass(frozen=True)
class Range:
    """The allowed interval of a number; an open end excludes its bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        low_ok = self.low is None or value > self.low or (value == self.low and not self.open_low)
        high_ok = self.high is None or value < self.high or (value == self.high and not self.open_high)
        return low_ok and high_ok

    def __str__(self) -> str:
        left = "(" if self.open_low or self.low is None else "["
        right = ")" if self.open_high or self.high is None else "]"
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{left}{low}, {high}{right}"


class Only:
    """A parameter that has a part only where others are as said; elsewhere it must be left out.

    ``Only(variant=("a", "b"), soft=True)``: where ``variant`` is "a" or "b", and ``soft`` is true.
    """

    def __init__(self, **where: object) -> None:
        """Name the other parameters with the value they must have, or a tuple of such values."""
        self.where = {name: value if isinstance(value, tuple) else (value,) for name, value in where.items()}

    def __str__(self) -> str:
        return ", ".join(f"{name}={' or '.join(map(_spelled, values))}" for name, values in self.where.items())

    def holds(self, params: object) -> bool:
        """Whether the others are so in ``params``."""
        return all(getattr(params, name) in values for name, values in self.where.items())


@dataclass(frozen=True)
class Search:
    """The interval that ``--tune optuna`` searches of a number: on a logarithmic scale unless ``log`` is false.

    Where no paper gives a grid, ours are a factor of 10 each side of the default, as far as the number goes.
    """

    low: float
    high: float
    log: bool = True
    only: Only | None = field(default=None, compare=False)
    """Where the interval is that of the number, which elsewhere is not searched; None: always."""

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self}: low must be below high, and above 0 where the scale is logarithmic")

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Content:
    """A text file given as a parameter: what it holds decides the result, and is all that two of them differ in."""

    name: str = field(compare=False)
    """Of the file, without its folders."""
    text: str = field(compare=False, repr=False)
    sha256: str

    @classmethod
    def read(cls, path: str, where: str) -> Self:
        """The file as it is now; ``where`` opens the message of a ConfigError.

        Raises:
            ConfigError: it cannot be read, or is no text in UTF-8.
        """
        try:
            data = Path(path).read_bytes()
            return cls(Path(path).name, data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest())
        except UnicodeDecodeError:
            raise ConfigError(f"{where} is no text in UTF-8. Save it as such.") from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{where} cannot be read: {why}. Give the path of a text file.") from None

    def facts(self) -> dict[str, str]:
        """What a record says of it."""
        return {"file": self.name, "sha256": self.sha256}


def searched(params: Any) -> dict[str, Search]:
    """What may be searched, by name: parameters that have a part, and a ``Search``, beside the values of the others.

    Args:
        params: an instance of a plug-in's dataclass, or None.
    """
    hints = {} if params is None else typing.get_type_hints(type(params), include_extras=True)
    found = {}
    for name, hint in hints.items():
        extras = getattr(hint, "__metadata__", ())
        space = next((extra for extra in extras if isinstance(extra, Search)), None)
        only = [extra for extra in (*extras, space and space.only) if isinstance(extra, Only)]
        if space and all(one.holds(params) for one in only):
            found[name] = space
    return found


def unsearchable(params: type) -> Iterator[str]:
    """What is wrong with the ``Search`` of a dataclass's fields, in words."""
    hints = typing.get_type_hints(params, include_extras=True)
    for item in dataclasses.fields(params):
        extras = getattr(hints[item.name], "__metadata__", ())
        for space in (extra for extra in extras if isinstance(extra, Search)):
            own, where = item.default, f"the Search({space.low:g}, {space.high:g}) of {item.name!r}"
            if float not in (plain := get_args(hints[item.name])[0], *get_args(plain)):
                yield f"{where} is of no number with a fraction: it would be given one"
            if any(end not in limit for limit in extras if isinstance(limit, Range) for end in (space.low, space.high)):
                yield f"{where} goes beyond its Range"
            if isinstance(own, int | float) and own not in space:
                yield f"{where} lacks its default, {own:g}, which is tried first"


def docstrings(params: type) -> dict[str, str] | None:
    """What stands under each annotated name, those of parents included; None where there is no source to read."""
    found: dict[str, str] = {}
    for cls in reversed(params.__mro__[:-1]):
        try:
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        except (OSError, TypeError, SyntaxError):
            return None
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                text = after.value if isinstance(after, ast.Expr) else None
                found[node.target.id] = str(text.value) if isinstance(text, ast.Constant) else ""
    return found


def params_dict(params: Any, identity: bool = False) -> dict[str, Any]:
    """Resolved parameters as plain values.

    Args:
        params: an instance of a plug-in's dataclass, or None.
        identity: leave out what does not decide the result: how files are called.
    """
    if params is None:
        return {}
    found = dataclasses.asdict(params)
    for name in found:
        value = getattr(params, name)
        if isinstance(value, Content):
            found[name] = {"sha256": value.sha256} if identity else value.facts()
    return found


@dataclass(frozen=True)
class Spec:
    """A plug-in's name with the parameters given in brackets, as text."""

    name: str
    given: dict[str, str]

    @property
    def label(self) -> str:
        """The spec in its canonical spelling, e.g. ``name[a=1,b=x]``; tables show it."""
        if not self.given:
            return self.name
        return f"{self.name}[{','.join(f'{key}={value}' for key, value in sorted(self.given.items()))}]"


_PATH = re.compile(r"(.+\.toml)(\[.*)?")
"""A card's path, whose folders may have brackets in their names, and the parameters behind it."""


def parse_spec(text: str) -> Spec:
    """Split ``name[param=value,...]``; a name that is the path of a TOML file may itself hold brackets.

    A value may itself be of that form: what stands in its brackets belongs to it.

    Raises:
        ConfigError: unbalanced brackets, a part without ``=``, or a parameter given twice.
    """
    text = text.strip()
    path = _PATH.fullmatch(text)
    name, bracket, rest = text.partition("[") if path is None else (path[1], *(path[2] or "").partition("[")[1:])
    if not bracket:
        return Spec(name, {})
    if not rest.endswith("]") or not name:
        raise ConfigError(f"{text!r} is not of the form name[param=value,...]; quote it in the shell.")
    given: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in split_outside(rest[:-1], ","))):
        key, equals, value = (p.strip() for p in part.partition("="))
        if not equals or not key or not value:
            raise ConfigError(f"{part!r} in {text!r} is not of the form param=value.")
        if key in given:
            raise ConfigError(f"parameter {key!r} is given twice in {text!r}.")
        given[key] = value
    return Spec(name, given)


def split_outside(text: str, at: str) -> list[str]:
    """The parts of ``text`` between the characters ``at`` that stand in no brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "[") - (char == "]")
        if char == at and depth <= 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def fill(cls: type[P], given: Mapping[str, str], owner: str, base: P | None = None) -> P:
    """An instance of the dataclass ``cls`` with the parameters ``given`` set over ``base`` (or the defaults).

    Raises:
        ConfigError: an unknown parameter, a value of the wrong type or out of its range, or a parameter set where it
            has no part; the message names the owner, the parameter, the value and what is allowed.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            raise ConfigError(f"{owner} has no parameter {name!r} (value {text!r}).{suggest(name, known)}")
        values[name] = convert(text, hints[name], f"{owner}: {name}={text}")
    _refuse_missing(cls, values, owner, base)
    try:
        filled = dataclasses.replace(base, **values) if base is not None else cls(**values)  # type: ignore[type-var]
    except ValueError as error:
        raise ConfigError(f"{owner}: {error}") from None
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, text in given.items():
        if values[name] != defaults[name]:
            _refuse_idle(filled, name, text, hints[name], owner)
    return filled


def _refuse_missing(cls: type[P], values: Mapping[str, Any], owner: str, base: P | None) -> None:
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        owed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if owed and base is None and item.name not in values:
            raise ConfigError(f'{owner} needs {item.name}: write "{owner}[{item.name}=...]".')


def _refuse_idle(filled: object, name: str, text: str, hint: Any, owner: str) -> None:
    """Refuse a parameter that changes nothing beside the others' values: a label must not say what it does not do."""
    for only in (extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Only)):
        for other, allowed in only.where.items():
            value = getattr(filled, other, None)
            if value not in allowed:
                wanted = " or ".join(_spelled(choice) for choice in allowed)
                raise ConfigError(
                    f"{owner}: {name}={text} has no part in {other}={_spelled(value)}; "
                    f"leave it out, or set {other}={wanted}."
                )


def _spelled(value: object) -> str:
    """A value as the command line takes it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def convert(text: str, hint: Any, where: str) -> Any:
    """Read ``text`` as the annotated type ``hint``; ``where`` opens the message of a ConfigError."""
    limits: list[Range] = []
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        limits = [extra for extra in extras if isinstance(extra, Range)]
    value = Content.read(text, where) if hint is Content else _convert_plain(text, hint, where)
    for limit in limits:
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and number not in limit:
                raise ConfigError(f"{where} is out of range; allowed: {limit}.")
    return value


def _convert_any(text: str, hints: Sequence[Any], where: str) -> Any:
    """The first of ``hints`` that takes the text; what each of them says against it where none does."""
    refused: list[str] = []
    for hint in hints:
        try:
            return convert(text, hint, where)
        except ConfigError as error:
            refused.append(str(error))
    reasons = [refused[0].rstrip("."), *(reason.removeprefix(where).strip(" .") for reason in refused[1:])]
    raise ConfigError(f"{'; and it '.join(reasons)}.")


def _convert_plain(text: str, hint: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if type(None) in args and text.lower() == "none":
            return None
        return _convert_any(text, [arg for arg in args if arg is not type(None)], where)
    if origin is Literal:
        if text not in args:
            raise ConfigError(f"{where} is not allowed; choose one of {', '.join(map(str, args))}.")
        return text
    if origin is tuple:
        return tuple(convert(part, args[0], where) for part in text.split("-"))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{where} must be true or false.")
        return text.lower() == "true"
    try:
        value = hint(text)
    except ValueError:
        raise ConfigError(f"{where} is not of type {hint.__name__}.") from None
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{where} is not a finite number.")
    return value
