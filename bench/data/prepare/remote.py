"""Raw data that lie elsewhere: copied to the data folder while they are read, and removed afterwards.

``http`` and ``https`` are read with the standard library; all else with fsspec, which is an extra. Addresses may hold
secrets (user, password, a signature behind ``?``): none is shown or kept.
"""

from __future__ import annotations

import base64
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from bench.addresses import WEB, without_secrets
from bench.data.prepare.workspace import Workspace
from bench.data.raw.names import is_junk, natural
from bench.errors import DataError, storage_error

_TIMEOUT_S = 30.0
_COPY_BYTES = 1 << 22
_EXTRA = "pip install 'ctr-field-bench[remote]'"


@contextmanager
def at_hand(addresses: Sequence[str], folder: Path, tell: Callable[[str], object]) -> Iterator[list[Path]]:
    """Copies of what the addresses name, below ``folder`` until the end: a folder, or files in their order.

    Args:
        addresses: files, folders or patterns.
        folder: where data sets lie.
        tell: takes a line on each address.

    Raises:
        DataError: one cannot be read, or takes more than half of what is free in ``folder``; the message shows no
            secret.
    """
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with Workspace(folder / "remote") as work:
            copier = _Copier(shutil.disk_usage(work.folder).free // 2)
            found: list[Path] = []
            for number, address in enumerate(addresses):
                tell(f"copying {without_secrets(address)} to {folder} while it is read")
                with _told(address):
                    found += copier.copy(address, work.folder / str(number))
            yield found
    finally:
        with suppress(OSError):  # those that now hold something stay
            for place in absent:
                place.rmdir()


class _Copier:
    """Copies files while there is room."""

    def __init__(self, room: int) -> None:
        self._room = room

    def copy(self, address: str, folder: Path) -> list[Path]:
        """What ``address`` names, below ``folder``: one folder, or files."""
        parts = urlsplit(address)
        if parts.scheme.lower() in WEB:
            target = folder / (_safe(unquote(parts.path)) or "data")
            with _web(address) as stream:
                self._write(stream, target, address)
            return [target]
        files, root = self._listed(address)
        whole = folder / _safe(root)
        targets = []
        for name, stream in files:
            targets.append(folder / _safe(name))
            with stream() as opened:
                self._write(opened, targets[-1], address)
        return [whole] if root and targets else targets

    def _listed(self, address: str) -> tuple[list[tuple[str, Callable[[], Any]]], str]:
        """Names and openers of the files, and the folder that ``address`` is; nothing where it is none."""
        fsspec = _fsspec(address)
        system, path = fsspec.core.url_to_fs(address)
        pattern = any(sign in path for sign in "*?[")
        is_folder = not pattern and system.isdir(path)
        names = system.glob(path) if pattern else [path]
        below = {file: len(name) for name in names for file in (system.find(name) if system.isdir(name) else [name])}
        wanted = sorted(
            (name for name, start in below.items() if not is_junk(name[start:] or name.rpartition("/")[2])), key=natural
        )
        if not wanted:
            raise FileNotFoundError
        return [(name, partial(system.open, name, "rb")) for name in wanted], path if is_folder else ""

    def _write(self, stream: IO[bytes], target: Path, address: str) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            while data := stream.read(_COPY_BYTES):
                self._room -= len(data)
                if self._room < 0:
                    raise DataError(
                        f"{without_secrets(address)}: a copy would take more than half of what is free where the data "
                        f"sets lie; choose another --data-dir, or fetch it and pass the file."
                    )
                try:
                    file.write(data)
                except OSError as error:
                    raise storage_error(error, target, "--data-dir") from error


def _fsspec(address: str) -> Any:
    try:
        import fsspec  # noqa: PLC0415 - an extra
    except ImportError:
        raise DataError(f"{without_secrets(address)}: reading it takes the package fsspec: {_EXTRA}") from None
    return fsspec


def _web(address: str) -> Any:
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(parts._replace(netloc=host, fragment="").geturl())
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return urllib.request.urlopen(request, timeout=_TIMEOUT_S)


@contextmanager
def _told(address: str) -> Iterator[None]:
    """What goes wrong in other libraries, without their words: these may hold the secrets of an address.

    Raises:
        DataError: something did.
    """
    what = without_secrets(address)
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{what}: there is no such file or folder; check the address.") from None
    except PermissionError:
        raise DataError(f"{what}: access is denied; check the credentials that its library finds.") from None
    except ImportError:
        raise DataError(
            f"{what}: fsspec needs another package for {what.partition(':')[0]}:// (s3fs for s3, gcsfs for gs, adlfs "
            f"for az); install that."
        ) from None
    except urllib.error.HTTPError as error:
        raise DataError(f"{what}: the server says {error.code}; check the address and who may read it.") from None
    except Exception as error:  # whatever a file system of another package raises
        if isinstance(error, ValueError) and "rotocol not known" in str(error):
            raise DataError(f"{what}: fsspec knows no {what.partition(':')[0]}://; check the address.") from None
        raise DataError(f"{what}: cannot be read ({type(error).__name__}); check the address, or fetch it.") from None


def _safe(name: str) -> str:
    """A path that stays where it is put."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))
