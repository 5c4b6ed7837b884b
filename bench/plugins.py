"""The registries of methods and backbones: tables of the packages beside, installed entry points, and files."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import backbones as backbone_package
import methods as method_package
from bench.errors import ConfigError
from bench.plugin_files import PluginFile
from bench.registry import BackboneEntry, MethodEntry, Registry


@cache
def methods() -> Registry[MethodEntry]:
    """The registry of feature-selection methods."""
    return Registry("method", "bench.methods", method_package.TABLE, MethodEntry)


@cache
def backbones() -> Registry[BackboneEntry]:
    """The registry of CTR backbones."""
    return Registry("backbone", "bench.backbones", backbone_package.TABLE, BackboneEntry)


def add_files(files: Iterable[PluginFile]) -> None:
    """Run the files of plug-ins and register their entries, for the rest of this process.

    Raises:
        PluginError: the code of one cannot be used.
        ConfigError: a name is taken.
    """
    for file in files:
        entry = file.load()
        if isinstance(entry, MethodEntry):
            methods().add(file.name, entry, file.path, file.version)
        else:
            backbones().add(file.name, entry, file.path, file.version)


def check_layout() -> None:
    """Make sure that the packages beside this one are the project's own.

    Raises:
        ConfigError: a folder of the same name elsewhere on the path shadows one of them, or it is not there.
    """
    home = Path(__file__).resolve().parent.parent
    for package in ("methods", "backbones", "plots"):
        spec = importlib.util.find_spec(package)
        locations = [] if spec is None else [Path(p).resolve() for p in spec.submodule_search_locations or ()]
        if (home / package) not in locations:
            found = locations[0] if locations else "nothing"
            raise ConfigError(
                f"package {package!r} resolves to {found}, not to the one beside {home.name!r}: rename that folder, "
                f"or run the command from another one."
            )
