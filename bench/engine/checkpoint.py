"""Files that hold the state of something: numbers and texts alone, so that reading one runs no code."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch

from bench.errors import StorageError, storage_error
from bench.files import write_atomically


def write(file: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers and texts, in lists, tuples and dictionaries; the file is whole or absent.

    Raises:
        StorageError: the disk is full, or the file cannot be written for another reason.
    """
    with write_atomically(file, "wb") as out:
        try:
            torch.save(state, out)
        except RuntimeError as error:  # with which torch's writer covers the system's reason
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


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
        StorageError: the file holds anything else, e.g. code that reading would run, or is damaged.
    """
    try:
        with file.open("rb") as opened:
            if not is_zipfile(opened):  # as a bare pickle is not, nor a file that was cut off
                raise _refused(file, "it is no archive of torch's, or not a whole one")
        state = torch.load(file, map_location=device, weights_only=True)
    except (torch.OutOfMemoryError, MemoryError, StorageError):
        raise
    except OSError as error:
        raise storage_error(error, file) from error
    except Exception:  # of whatever a file that is not ours may hold; the texts advise to load it nevertheless
        raise _refused(file, "not all in it is numbers and texts") from None
    if not isinstance(state, dict) or state.keys() != set(parts):
        raise _refused(file, "it holds other parts than were kept")
    return state


def _refused(file: Path, reason: str) -> StorageError:
    return StorageError(
        f"{file}: is no checkpoint of this version of the suite, or is damaged: {reason}. It was not loaded; delete "
        "it, and what it kept is made anew. If the folder comes from somebody else, delete all its checkpoints."
    )
