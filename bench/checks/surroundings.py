"""What a hook of a method does to the process around it: random states, settings of libraries, what it prints."""

from __future__ import annotations

import io
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch

__all__ = ["heard", "left_alone"]

_SHOWN = 40


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


_RANDOM: dict[str, Callable[[], Any]] = {
    "random": random.getstate,
    "NumPy": lambda: repr(np.random.get_state()),
    "torch": lambda: torch.get_rng_state().tolist(),
}
"""Global random states, which the cell as a whole puts back."""
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "whether torch keeps gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "NumPy's handling of errors": (np.geterr, lambda old: np.seterr(**old)),
    "the working folder": (os.getcwd, os.chdir),
    "environment variables": (lambda: dict(os.environ), _set_environment),
}


@contextmanager
def left_alone(hook: str, changes: list[str]) -> Iterator[None]:
    """Note what is another than before, also when the hook fails, and put settings back."""
    states = {name: read() for name, read in _RANDOM.items()}
    before = {name: read() for name, (read, _) in _SETTINGS.items()}
    try:
        yield
    finally:
        for name, read in _RANDOM.items():
            if read() != states[name]:
                changes.append(f"{hook} moves the global random state of {name}")
        for name, (read, write) in _SETTINGS.items():
            if read() != before[name]:
                changes.append(f"{hook} changes {name}")
                write(before[name])


@contextmanager
def heard(hook: str, prints: list[str]) -> Iterator[None]:
    """Note what the hook prints, warnings apart."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        warnings.showwarning = lambda *args, **more: None
        try:
            yield
        finally:
            for stream, text in (("stdout", out.getvalue()), ("stderr", err.getvalue())):
                if text.strip():
                    first = text.strip().splitlines()[0]
                    prints.append(f"{hook} prints to {stream}: {first[:_SHOWN]!r}")
