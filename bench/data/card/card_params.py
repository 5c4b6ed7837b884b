"""Parameters of a card: what ``name[parameter=value]`` may set, of which type and within which bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.data.card.toml_table import TomlFault, TomlTable
from bench.errors import ConfigError, suggest
from bench.params import Range, convert


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; its type is the default's."""

    name: str
    default: Any
    limits: Range = Range(None, None)  # noqa: RUF009 - frozen
    choices: tuple[str, ...] = ()

    def read(self, text: str, owner: str) -> Any:
        """The value that ``text`` stands for.

        Raises:
            ConfigError: of another type, or not allowed.
        """
        where = f"data set {owner!r}: {self.name}={text}"
        value = convert(text, type(self.default), where)
        return self.check(value, where)

    def check(self, value: Any, where: str) -> Any:
        """``value`` itself.

        Raises:
            ConfigError: not allowed.
        """
        if self.choices and value not in self.choices:
            raise ConfigError(f"{where} is not allowed; choose one of {', '.join(self.choices)}.")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value not in self.limits:
            raise ConfigError(f"{where} is out of range; allowed: {self.limits}.")
        return value


SAMPLING = ("rows", "sample")
"""Parameters that draw some of the rows of a raw table; named only where they do, as older stores do not know them."""
JUNK = ("junk", "share")
"""Parameters that put junk beside the fields of a table, in the same way."""
NO_JUNK = "none"
SHARES = "shares"
"""The parameter that splits a table otherwise than its card says, in the same way."""
_FEWEST_ROWS = 10


def declared(table: TomlTable, has_integers: bool, has_files: bool = True) -> tuple[Parameter, ...]:
    """The parameters of the card ``table``: those that every card has, then those under ``[params]``.

    Args:
        table: the card's top-level table, of which the keys of the parameters are taken.
        has_integers: whether the card has integer fields, whose buckets can then be chosen.
        has_files: whether its rows are read from files, and can be drawn from them.
    """
    found = [
        Parameter("min_count", table.take("min_count", int, 1), Range(1, 2**63 - 1)),
        Parameter("split_seed", table.take("split_seed", int, 0), Range(0, 2**63 - 1)),
        Parameter("split", "random", choices=("random", "temporal")),
    ]
    if has_integers:
        default = table.take("numeric_buckets", str, "apart")
        found.append(Parameter("numeric_buckets", default, choices=("apart", "merged")))
    if has_files:
        found += [Parameter("rows", 0, Range(0)), Parameter("sample", 1.0, Range(0, 1, open_low=True))]
        kinds = (NO_JUNK, "random", "corrupted", "twins")
        found += [Parameter("junk", NO_JUNK, choices=kinds), Parameter("share", 0.5, Range(0, 0.9, open_low=True))]
        found.append(Parameter(SHARES, ""))
    params = table.table("params")
    taken = [parameter.name for parameter in found]
    for name in params.names():
        if name in taken:
            raise params.fault(f"{name!r} is a parameter that every card has; choose another name.", name)
        found.append(_read(name, params.pop(name), params))
    for parameter in found:
        try:
            parameter.check(parameter.default, f"{table.where}: {parameter.name} = {parameter.default!r}")
        except ConfigError as error:
            place = (parameter.name,) if parameter.name in taken else ("params", parameter.name)
            raise TomlFault(str(error), (*table.path, *place)) from None
    return tuple(found)


def _read(name: str, value: Any, params: TomlTable) -> Parameter:
    if not isinstance(value, dict):
        value = {"default": value}
    entry = params.inner(value, f" {name}", name)
    if "default" not in entry:
        raise entry.fault("the key 'default' is missing.", "default", instead=1)
    default = entry.pop("default")
    if not isinstance(default, (bool, int, float, str)):
        raise entry.fault(f"default = {default!r} must be a number, a string or true/false.", "default", instead=1)
    low = entry.take("min", float) if "min" in entry else None
    high = entry.take("max", float) if "max" in entry else None
    choices = entry.take_list("choices", [])
    entry.done()
    return Parameter(name, default, Range(low, high), choices)


def resolve(
    owner: str, parameters: tuple[Parameter, ...], given: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All parameters' values, and those that differ from the default.

    Raises:
        ConfigError: an unknown parameter, or a value that is not allowed.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {parameter.name: parameter.default for parameter in parameters}
    for name, text in given.items():
        if name not in known:
            raise ConfigError(f"data set {owner!r} has no parameter {name!r} (value {text!r}).{suggest(name, known)}")
        values[name] = known[name].read(text, owner)
    changed = {name: values[name] for name in values if values[name] != known[name].default}
    idle = (*SAMPLING, *JUNK, SHARES) if "sample" in known else ()
    _check_sampling(owner, {name: changed[name] for name in SAMPLING if name in idle and name in changed})
    if "share" in idle and "share" in changed and "junk" not in changed:
        raise ConfigError(f"data set {owner!r}: share={changed['share']:g} is of junk; name its kind, as junk=random.")
    return {name: value for name, value in values.items() if name in changed or name not in idle}, changed


def _check_sampling(owner: str, given: Mapping[str, Any]) -> None:
    """Make sure that rows are drawn in one way, and enough of them to split.

    Raises:
        ConfigError: they are not.
    """
    if len(given) > 1:
        raise ConfigError(
            f"data set {owner!r}: rows={given['rows']} and sample={given['sample']:g} exclude each other."
        )
    if 0 < given.get("rows", 0) < _FEWEST_ROWS:
        raise ConfigError(
            f"data set {owner!r}: rows={given['rows']} are too few to split; take {_FEWEST_ROWS} or more."
        )
