"""Files that hold the state of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.files import write_atomically


def write(file: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers and texts, in lists, tuples and dictionaries; the file is whole or absent."""
    with write_atomically(file, "wb") as out:
        torch.save(state, out)


def read(file: Path, device: torch.device) -> dict[str, Any]:
    """What ``write`` has written, its tensors on ``device``."""
    state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    return state
