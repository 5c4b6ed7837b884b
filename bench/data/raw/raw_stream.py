"""The bytes of one file of raw data, and what is said where it is missing, damaged or cannot be read."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO

from bench.data.raw.compression import ExpansionError, first_bytes
from bench.data.raw.names import shown
from bench.data.raw.signatures import HEAD_BYTES
from bench.errors import DataError

_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)


class RawStream:
    """Decompressed bytes of one member; damage met while reading becomes a DataError."""

    def __init__(self, name: str, file: IO[bytes], packed: IO[bytes] | None = None) -> None:
        self.name, self._file, self._packed = shown(name), file, packed or file

    def __enter__(self) -> RawStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the member's file."""
        self._file.close()
        self._packed.close()

    @property
    def head(self) -> bytes:
        """The first bytes, before any were read.

        Raises:
            DataError: the member is cut short, damaged or cannot be read.
        """
        with readable(self.name):
            return first_bytes(self._file, HEAD_BYTES)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, or all for -1; nothing at the end.

        Raises:
            DataError: the member is cut short, damaged or cannot be read.
        """
        with readable(self.name):
            return self._file.read(size)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what goes wrong while the file ``name`` is read into a DataError."""
    try:
        yield
    except ExpansionError as error:
        raise DataError(f"{shown(name)}: {error}.") from None
    except _DAMAGE as error:
        raise _damaged(name, error) from None
    except FileNotFoundError:
        raise DataError(f"{shown(name)}: there is no such file; check the path given to --raw.") from None
    except OSError as error:
        if error.errno is None:  # the system's own errors have a number, those of decompressors have none
            raise _damaged(name, error) from None
        reason = error.strerror or str(error)
        raise DataError(f"{shown(name)}: cannot be read ({reason}); check the path and its permissions.") from None


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(f"{shown(name)}: the file is cut short or damaged ({error}); fetch it again.")
