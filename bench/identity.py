"""The identity of a configuration: one text for equal ones, and its hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from bench.errors import ConfigError

__all__ = ["canonical_json", "config_hash"]

_EXACT_INT = 2**53


def canonical_json(config: Mapping[str, Any]) -> str:
    """One text for equal configurations: keys sorted, no blanks, 1.0 written as 1.

    Raises:
        ConfigError: a value that JSON cannot hold, or a number that is not finite.
    """
    return json.dumps(_canonical(config, ""), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _canonical(value: object, where: str) -> object:
    if isinstance(value, Mapping):
        return {_text_key(key, where): _canonical(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) <= _EXACT_INT else value
    raise ConfigError(
        f"{where.lstrip('.') or 'configuration'}={value!r} cannot be part of a cell's identity: "
        "use text, whole or finite numbers, true/false, lists and tables."
    )


def _text_key(key: object, where: str) -> str:
    if isinstance(key, str):
        return key
    raise ConfigError(f"{where.lstrip('.') or 'configuration'} has the key {key!r}: use text for keys.")


def config_hash(config: Mapping[str, Any]) -> str:
    """sha256 (64 hexadecimal digits) of the canonical JSON of ``config``."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()
