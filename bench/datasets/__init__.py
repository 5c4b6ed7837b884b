"""The data sets: an ordered table of cards, read without pyarrow or torch."""

from __future__ import annotations

import importlib
import shlex
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.params import Spec, parse_spec
from bench.registry import Entry, Registry

if TYPE_CHECKING:
    from bench.data.card.card import DatasetCard


@dataclass(frozen=True)
class DatasetEntry(Entry):
    """A data set; ``target`` is a card beside this file, or the ``module:callable`` that returns a path."""

    access: str = "free"
    """``free``: the suite fetches or makes the data; ``terms``: a person accepts terms and fetches it."""


_HARPER = "Harper & Konstan, ACM TiiS 2015"

TABLE: dict[str, DatasetEntry] = {
    "criteo": DatasetEntry("criteo.toml", "Criteo", "Criteo Labs, Kaggle 2014", "terms"),
    "avazu": DatasetEntry("avazu.toml", "Avazu", "Avazu, Kaggle 2014", "terms"),
    "aliccp": DatasetEntry("aliccp.toml", "Ali-CCP", "Ma et al., SIGIR 2018", "terms"),
    "movielens": DatasetEntry("movielens.toml", "MovieLens-20M", _HARPER),
    "movielens-latest-small": DatasetEntry("movielens-latest-small.toml", "MovieLens latest-small", _HARPER),
    "movielens-1m": DatasetEntry("movielens-1m.toml", "MovieLens-1M", _HARPER),
    "movielens-100k": DatasetEntry("movielens-100k.toml", "MovieLens-100k", _HARPER),
    "planted": DatasetEntry("planted.toml", "Planted"),
    "criteo-like": DatasetEntry("criteo-like.toml", "Criteo-like"),
}


@cache
def datasets() -> Registry[DatasetEntry]:
    """The registry of data sets, installed entry points included."""
    return Registry("data set", "bench.datasets", TABLE, DatasetEntry)


def resolve_dataset(spec: str) -> DatasetCard:
    """The card of ``name[parameter=value,...]``, or of a user's own card ``path.toml[...]``.

    Raises:
        ConfigError: an unknown name or parameter, a value out of its range, or a card that cannot be read.
    """
    from bench.data.card.card import load_card  # noqa: PLC0415

    parsed = parse_spec(spec)
    if parsed.name.endswith(".toml"):
        card = load_card(Path(parsed.name), parsed.given)
        refuse_taken(card.name, parsed.name)
        return replace(card, typed=parsed.name)
    own = Path(f"{parsed.name.partition('.')[0]}.toml")
    if parsed.name not in datasets().names() and own.is_file():
        raise ConfigError(f"data set {parsed.name!r} is unknown. A table of your own is named by its card: {own}")
    if parsed.name not in datasets().names() and Path(parsed.name).is_file():
        raise ConfigError(_needs_card(Path(parsed.name)))
    return load_card(card_path(datasets().entry(parsed.name)), parsed.given)


def refuse_taken(name: str, card: str) -> None:
    """Make sure that a user's own card at the path ``card`` is not called as a registered data set.

    Raises:
        ConfigError: it is.
    """
    if name in datasets().names():
        raise ConfigError(f"{card}: name = {name!r} is the name of another data set; choose your own.")


def _needs_card(table: Path) -> str:
    from bench.data.card.starter import starter_card  # noqa: PLC0415

    card = f"{table.name.partition('.')[0]}.toml"
    return (
        f"{table} is a table, and a data set is named by its card, which says what each column is for. Save this as "
        f"{card}, mend it (bench/datasets/README.md has all keys), and run: python -m bench prepare "
        f"{shlex.quote(card)} --raw {shlex.quote(str(table))}\n\n{starter_card(table)}"
    )


def with_split(spec: str, split: str) -> str:
    """``spec`` with the split ``split``, unless it names its own or the default is asked for."""
    if split == "random":
        return spec
    parsed = parse_spec(spec)
    return Spec(parsed.name, {"split": split} | parsed.given).label


def card_path(entry: DatasetEntry) -> Path:
    """Where the card of ``entry`` lies.

    Raises:
        ConfigError: the plug-in that should say so fails.
    """
    if entry.target.endswith(".toml"):
        return Path(__file__).parent / entry.target
    module, _, attribute = entry.target.partition(":")
    try:
        return Path(getattr(importlib.import_module(module), attribute)())
    except Exception as error:  # a plug-in may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"data set plug-in {entry.target!r} gives no card: {reason}. Mend or remove it.") from error
