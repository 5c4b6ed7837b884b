"""What the settings of a run may not be, though each of its names can be resolved by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from bench.budget import Budgeted
from bench.data.card.card import DatasetCard
from bench.errors import ConfigError, suggest
from bench.params import unsearchable
from bench.run.config import RunConfig
from bench.run.grid import MethodChoice

__all__ = [
    "refuse_aliases",
    "refuse_namesakes",
    "refuse_strangers",
    "refuse_unsaid",
    "refuse_unsearchable",
    "require_sampler",
]


def refuse_aliases(methods: Sequence[MethodChoice]) -> None:
    """Two spellings of one configuration would share a record and show under one label.

    Raises:
        ConfigError: two specs resolve to the same settings, or two settings go by one label.
    """
    seen: dict[tuple[object, ...], str] = {}
    shown: dict[str, tuple[object, ...]] = {}
    for method in methods:
        key = (method.name, method.params, method.budget, method.sel_split, method.matches)
        other = seen.setdefault(key, method.label)
        if other != method.label:
            raise ConfigError(f"methods={other!r} and {method.label!r} have the same settings; name one of them.")
        if shown.setdefault(method.label, key) != key:
            raise ConfigError(f"two methods are both shown as {method.label!r}; give one of their files another name.")


def refuse_strangers(methods: Sequence[MethodChoice]) -> None:
    """Cells can be held to those of the same run only.

    Raises:
        ConfigError: a method names a row that is not among ``methods``.
    """
    labels = [method.label for method in methods]
    there = [method.label for method in methods if method.matches is None]
    for method in methods:
        if method.matches is not None and method.matches not in labels:
            others = f", or name one that is.{suggest(method.matches, there)}" if there else "."
            raise ConfigError(
                f"{method.label}: the row {method.matches!r}, whose bytes it is held to, is not part of this run; add "
                f"it to --methods{others}"
            )


def require_sampler() -> None:
    """Make sure that there is what draws trials.

    Raises:
        ConfigError: there is not.
    """
    if find_spec("optuna") is None:
        raise ConfigError("--tune optuna takes the package optuna: pip install 'ctr-field-bench[hpo]'")


def refuse_unsearchable(config: RunConfig, methods: Iterable[MethodChoice]) -> None:
    """A search must stay within what a method allows, and begin at its defaults; unless all is chosen it takes Optuna.

    Raises:
        ConfigError: a method declares another one, or there is no Optuna.
    """
    if config.tune != "optuna":
        return
    if config.tuned is None:
        require_sampler()
    for method in methods:
        for fault in () if method.params is None else unsearchable(type(method.params)):
            raise ConfigError(f"{method.name} cannot be searched: {fault}. Mend its parameters, or leave --tune out.")


def refuse_namesakes(cards: Iterable[DatasetCard]) -> None:
    """Two cards of one name would share a store and their cells.

    Raises:
        ConfigError: two files call their data set the same.
    """
    seen: dict[str, str] = {}
    for card in cards:
        other = seen.setdefault(card.name, card.typed)
        if card.typed and Path(other).resolve() != Path(card.typed).resolve():
            raise ConfigError(
                f"the cards {other} and {card.typed} both have name = {card.name!r}, and would share a store and "
                f"their results; give one of them another name, and prepare it under that."
            )


def refuse_unsaid(cards: Iterable[DatasetCard], by: Budgeted) -> None:
    """By costs or groups that no card names, a budget would be that by count under another name.

    Raises:
        ConfigError: a card that names none.
    """
    said = {"cost": "cost", "groups": "group"}.get(by)
    for card in cards:
        if said and all(getattr(term, said) is None for term in card.field_terms.values()):
            raise ConfigError(
                f"--budget-by {by}: the card of {card.name!r} gives no field a {said}; add e.g. NAME = {{ {said} = "
                f"{'2.5' if said == 'cost' else chr(34) + 'geo' + chr(34)} }} under [fields], or leave it out."
            )
