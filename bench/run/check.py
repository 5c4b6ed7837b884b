"""Settings of a run held to their ranges, before anything is read; files that they name are read here, once."""

from __future__ import annotations

import dataclasses
import math

from bench.errors import ConfigError, suggest
from bench.profiles import AUTO, PROFILES, OwnProfile
from bench.run.config import PREPARE_WORKERS, RunConfig
from bench.run.executors import ExecutorEntry, chosen, cores, count_of, options, refuse_strange
from bench.run.settings import bytes_of

__all__ = ["check"]


def check(config: RunConfig) -> RunConfig:
    """The settings, if their ranges hold; a profile of one's own and the files of plug-ins are read.

    Raises:
        ConfigError: a value out of range, an empty list, or a profile or plug-in that cannot be used.
    """
    for name in ("datasets", "methods", "backbones", "prune_ratio"):
        if not getattr(config, name):
            raise ConfigError(f"{name.replace('_', '-')} is empty: name at least one.")
    for name, low in (
        ("seeds", 1), ("trials", 2), ("rows", 10), ("epochs", 1), ("threads", 1), ("timing", 2), ("cpus_per_cell", 1),
        ("gpus_per_cell", 0), ("workers_per_cell", 1),
    ):  # fmt: skip
        value = getattr(config, name)
        if value is not None and value < low:
            raise ConfigError(f"{name.replace('_', '-')}={value} is out of range; allowed: [{low}, inf).")
    _check_grid(config.l2_grid)
    if config.memory is not None:
        bytes_of(config.memory)
    for tau in config.prune_ratio:
        if not 0 <= tau < 1:
            raise ConfigError(f"prune-ratio={tau:g} is out of range; allowed: [0, 1): the share of fields to prune.")
    executor = chosen(config.executor_name)
    _refuse_idle(config)
    _refuse_strangers(config, executor)
    _refuse_crowd(config, executor)
    if config.timeout_s is not None and not executor.stops:
        raise ConfigError(f"timeout-s={config.timeout_s:g} needs --isolate: only a child process can be stopped.")
    if config.timeout_s is not None and not config.timeout_s > 0:  # so that NaN is refused too
        raise ConfigError(f"timeout-s={config.timeout_s:g} is out of range; allowed: (0, inf).")
    return _with_profile(_with_plugins(config))


def _check_grid(grid: tuple[float, ...]) -> None:
    if grid and (len(set(grid)) < 2 or not all(math.isfinite(l2) and l2 >= 0 for l2 in grid)):
        shown = " ".join(f"{l2:g}" for l2 in grid)
        raise ConfigError(f"l2-grid={shown}: give two values or more, each at least 0; --set l2=… sets one.")


def _refuse_idle(config: RunConfig) -> None:
    """Refuse workers that would have no raw data to read.

    Raises:
        ConfigError: they have none, or they are none.
    """
    preparers = config.preparers
    if not preparers.are_here and not config.raw:
        raise ConfigError(
            f"{PREPARE_WORKERS} {preparers.shown}: they read what --raw names, and there is none; add --raw, or leave "
            f"{PREPARE_WORKERS} out."
        )


def _refuse_strangers(config: RunConfig, executor: ExecutorEntry) -> None:
    """Refuse settings that the executor does not heed; who prepares on a cluster heeds its address.

    Raises:
        ConfigError: there is one.
    """
    name, none = config.executor_name.partition(":")[0], RunConfig()
    others = ("address",) if config.preparers.on_ray else ()
    given = {option: getattr(config, option) for option in options() if option not in others}
    refuse_strange(executor, name, {key: value for key, value in given.items() if value != getattr(none, key)})
    if config.timing is not None and not executor.here:
        raise ConfigError(f"timing={config.timing}: a timing pass watches its own machine; add --executor process.")


def _refuse_crowd(config: RunConfig, executor: ExecutorEntry) -> None:
    """Refuse workers that would wait for each other, or cannot divide what they compute.

    Raises:
        ConfigError: there are too many, times of one process are asked for, or backbones are compiled.
    """
    workers, at_once = config.workers_per_cell, count_of(config.executor_name) or 1
    if workers == 1:
        return
    if executor.here and workers * at_once > (most := cores()):
        where = (f"with {at_once} cells at a time " if at_once > 1 else "") + f"on {most} core{'s' if most > 1 else ''}"
        raise ConfigError(
            f"workers-per-cell={workers}: {where} they would wait for each other; allowed: 1 to "
            f"{max(most // at_once, 1)}."
        )
    if config.timing is not None:
        raise ConfigError(
            f"timing={config.timing}: a timing pass measures cells of one process; leave "
            f"workers-per-cell={workers} out."
        )
    if config.profile_changes.get("compile"):
        raise ConfigError(
            f"workers-per-cell={workers} divides backbones, which --compile cannot; leave one of them out."
        )


def _with_plugins(config: RunConfig) -> RunConfig:
    """The settings with the plug-ins' files read, so that a later change of them changes nothing.

    Raises:
        ConfigError: a file cannot be read.
    """
    if not config.plugin or config.plugin_texts:
        return config
    files = config.plugin_files
    paths, contents = tuple(file.path for file in files), tuple(file.text for file in files)
    return dataclasses.replace(config, plugin=paths, plugin_texts=contents)


def _with_profile(config: RunConfig) -> RunConfig:
    """The settings with the profile's file read, so that a later change of it changes nothing.

    Raises:
        ConfigError: an unknown profile, or settings that cannot be.
    """
    config.profile_changes  # noqa: B018 - raises where they cannot be
    found = config.training
    if isinstance(found, OwnProfile):
        return config if found is config.own else dataclasses.replace(config, profile=found.name, own=found)
    if found not in (AUTO, *PROFILES):
        known = suggest(found, [AUTO, *PROFILES])
        raise ConfigError(f"profile={found!r} is unknown.{known} A profile of your own is a file that ends in .toml.")
    return config if config.own is None else dataclasses.replace(config, own=None)
