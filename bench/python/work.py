"""What every function of the Python side works with: a folder of its own, progress, settings of a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, suggest
from bench.run.check import check
from bench.run.config import RunConfig, from_json, to_json
from bench.run.progress import Reporter, Silence, reporter

__all__ = ["mark_of", "progress", "run_config", "setting", "several", "teller", "working_folder"]

_OWN = ("datasets", "methods", "backbones", "seeds", "data_dir", "out", "own", "plan", "raw", "config", "experiment")
"""Settings that the functions set themselves, or that have no meaning there."""


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="ctr-field-bench-")


def working_folder(name: str) -> Path:
    """A folder that lives as long as the process; the same for the same name."""
    return Path(_root().name) / name


@contextmanager
def progress(verbose: bool) -> Iterator[Reporter]:
    """What tells of cells: as the commands do, or nothing."""
    if not verbose:
        yield Silence()
        return
    with reporter() as found:
        yield found


def teller(verbose: bool) -> Callable[[str], None]:
    """Takes a line for the user."""

    def tell(line: str) -> None:
        if verbose:
            sys.stderr.write(f"{line}\n")

    return tell


def several(value: str | Sequence[str], name: str) -> tuple[str, ...]:
    """One name or several, as a tuple.

    Raises:
        ConfigError: none.
    """
    found = (value,) if isinstance(value, str) else tuple(value)
    if not found or not all(isinstance(one, str) for one in found):
        raise ConfigError(f"{name}={value!r}: name at least one, as text.")
    return found


def run_config(what: str, chosen: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """The settings of the cells of a call.

    Args:
        what: the function, after which the run folder is named where none is given.
        chosen: settings that the function's own parameters give, ``out`` among them.
        settings: further fields of ``RunConfig``.

    Raises:
        ConfigError: an unknown setting, or a value that cannot be.
    """
    known = [item.name for item in dataclasses.fields(RunConfig) if item.name not in _OWN]
    for name in settings:
        if name not in known:
            raise ConfigError(f"{what}({name}=…): there is no such setting.{suggest(name, known)}")
    values = {name: setting(name, value) for name, value in settings.items()}
    given = {name: value for name, value in chosen.items() if name != "out"}
    config = check(from_json(json.dumps({**given, **values}, default=str)))
    out = chosen.get("out")
    if out is None:
        out = working_folder(f"{what}-{mark_of(to_json(config), config.data_dir)}")
    return dataclasses.replace(config, out=Path(out))


def mark_of(text: str, data_dir: Path) -> str:
    """Tells run folders without a name apart: by their settings and where their data lie."""
    return hashlib.sha256(f"{data_dir.resolve()}\n{text}".encode()).hexdigest()[:8]


def setting(name: str, value: Any) -> Any:
    """A setting as ``RunConfig`` has it: ``set`` also as a dictionary, shares also as one number."""
    if name == "set":
        return (
            tuple(f"{key}={_text(one)}" for key, one in value.items()) if isinstance(value, Mapping) else tuple(value)
        )
    if name == "prune_ratio":
        return (float(value),) if isinstance(value, int | float) else tuple(value)
    return value


def _text(value: Any) -> str:
    """A value of the profile as ``--set`` takes it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
