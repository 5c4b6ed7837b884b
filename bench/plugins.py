"""The registries of methods and backbones: the tables of the packages beside this one, and installed entry points."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import backbones as backbone_package
import methods as method_package
from bench.errors import ConfigError
from bench.registry import BackboneEntry, MethodEntry, Registry


@cache
def methods() -> Registry[MethodEntry]:
    """The registry of feature-selection methods."""
    return Registry("method", "bench.methods", method_package.TABLE, MethodEntry)


@cache
def backbones() -> Registry[BackboneEntry]:
    """The registry of CTR backbones."""
    return Registry("backbone", "bench.backbones", backbone_package.TABLE, BackboneEntry)


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
