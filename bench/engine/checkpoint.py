"""Files that hold the state of something: numbers and texts alone, so that reading one runs no code."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch

from bench.errors import DataError
from bench.files import write_atomically

_NOT_OURS = (UnpicklingError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)
"""What torch's reader of plain values raises where a file holds others, or none that make sense."""


def write(file: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers and texts, in lists, tuples and dictionaries; the file is whole or absent."""
    with write_atomically(file, "wb") as out:
        torch.save(state, out)


def is_plain(value: object) -> bool:
    """Whether ``value`` can be written and read back without running code."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)


def read(file: Path, device: torch.device | None, parts: Collection[str]) -> dict[str, Any]:
    """What ``write`` has written, by the names ``parts``; its tensors on ``device``, or where they were.

    Raises:
        DataError: the file holds anything else, e.g. code that reading would run, or is damaged.
    """
    if not is_zipfile(file):  # as a bare pickle is not, nor a file that was cut off
        raise _refused(file, "it is no archive of torch's, or not a whole one")
    try:
        state = torch.load(file, map_location=device, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except _NOT_OURS:  # whose texts advise to load it nevertheless
        raise _refused(file, "not all in it is numbers and texts") from None
    if not isinstance(state, dict) or state.keys() != set(parts):
        raise _refused(file, "it holds other parts than were kept")
    return state


def _refused(file: Path, reason: str) -> DataError:
    return DataError(
        f"{file}: is no checkpoint of this version of the suite, or is damaged: {reason}. It was not loaded; delete "
        "it, and what it kept is made anew. If the folder comes from somebody else, delete all its checkpoints."
    )
