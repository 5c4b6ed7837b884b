"""Methods whose package is an extra: tests over all methods leave them out where it is not installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import pytest

PACKAGES = {"catboost": "catboost"}
"""What a method imports, by its name."""


def where_installed(specs: Iterable[str]) -> list[Any]:
    """The methods ``specs`` as parameters of a test; those of a missing package are skipped with the reason."""
    return [pytest.param(spec, marks=needs(spec), id=spec) for spec in specs]


def needs(spec: str) -> list[pytest.MarkDecorator]:
    """The mark that skips a test of ``spec`` where its package is missing, if it is."""
    package = PACKAGES.get(spec.partition("[")[0])
    if package is None or find_spec(package) is not None:
        return []
    return [pytest.mark.skip(reason=f"{package} is not installed: it is an extra")]
