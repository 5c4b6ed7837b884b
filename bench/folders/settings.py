"""The settings of several run folders as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.folders.source import Source
from bench.profiles import OwnProfile
from bench.run.config import RunConfig, base_config, to_toml
from bench.run.settings import spelled

__all__ = ["settings_of", "united_settings"]

_JOINED = ("datasets", "methods", "backbones", "prune_ratio", "plugin", "baselines")
"""What a grid is made of, and what it is made with."""
_EQUAL = (
    *("rows", "split", "profile", "own", "set", "tune", "l2_grid"),
    *("epochs", "precision", "optimizer", "compile", "budget_by"),
)
"""What decides results. All else, such as threads and device, is that of the folder which is named first."""


def settings_of(source: Source) -> RunConfig | None:
    """What the run.toml of a folder says; None where it has none.

    Raises:
        ConfigError: it cannot be read.
    """
    file = source.folder.config_file
    return base_config(None, file, has_datasets=True) if file.is_file() else None


def united_settings(sources: Sequence[Source], to: Path) -> str | None:
    """The run.toml of the grid that holds those of all ``sources``, which repeats in the folder ``to``.

    Raises:
        ConfigError: two of them differ in what decides results.
    """
    known = [(source, config) for source in sources if (config := settings_of(source)) is not None]
    if not known:
        return None
    first, whole = known[0]
    for source, config in known[1:]:
        for name in _EQUAL:
            here, there = getattr(whole, name), getattr(config, name)
            if here != there:
                raise ConfigError(
                    f"{name.replace('_', '-')}: {_said(here)} in {first.name}, {_said(there)} in {source.name}, by "
                    "run.toml. One folder has one setting; `report` with both folders shows them in one table, apart."
                )
        joined: dict[str, Any] = {name: _union(getattr(whole, name), getattr(config, name)) for name in _JOINED}
        whole = replace(whole, **joined, seeds=max(whole.seeds, config.seeds))
    whole = replace(whole, prune_ratio=tuple(sorted(whole.prune_ratio)), out=to, rerun="missing", config=None)
    return to_toml(whole, f"Merged from {', '.join(_plain(source) for source in sources)}")


def _union(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _plain(source: Source) -> str:
    return source.path.name if source.path.is_absolute() else source.name


def _said(value: Any) -> str:
    if isinstance(value, OwnProfile):
        return f"{value.name}, with {', '.join(f'{key}={spelled(one)}' for key, one in value.values.items())},"
    return spelled(value)
