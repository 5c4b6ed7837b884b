"""What a command prints, where stdout may lead to a full disk or to a reader that has gone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bench.errors import storage_error

__all__ = ["Output", "discard"]


class Output:
    """A stream that raises ``StorageError`` with its own name where the system does not take what is written."""

    def __init__(self, stream: IO[str]) -> None:
        """Pass everything on to ``stream``."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, as a stream does."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._told(error) from error

    def flush(self) -> None:
        """Pass on what is in the buffer."""
        try:
            self._stream.flush()
        except OSError as error:
            raise self._told(error) from error

    def discard(self) -> None:
        """Forget what is in the buffer."""
        discard(self._stream)

    def _told(self, error: OSError) -> Exception:
        if isinstance(error, BrokenPipeError):
            return error
        self.discard()
        return storage_error(error, Path("standard output"), "place for it")


def discard(stream: IO[str]) -> None:
    """Let what is still in the buffer of ``stream`` go nowhere, so that Python says nothing of it at its shutdown."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
