"""Fetch a raw file that anyone may download: mirrors in order, retries, and the published checksum.

The bytes go to a temporary file beside the target, which is renamed once its checksum is right. A transfer
that fails leaves nothing behind, neither a part of the file nor a folder made for it.
"""

from __future__ import annotations

import http.client
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, DataError

Report = Callable[[int, int], None]
"""Called with the bytes done and the bytes to come in all (0: the server did not say)."""

ATTEMPTS = 3
"""Tries per mirror where the fault may pass: connection lost or refused, server error."""
WAIT_S = 1.0
"""Pause before the second try; it doubles with every try."""
TIMEOUT_S = 30.0
"""Longest silence of a server."""
CHUNK_BYTES = 1 << 18
DIGEST_LENGTHS = {"md5": 32, "sha256": 64}


def download(
    urls: Sequence[str],
    target: Path,
    *,
    checksum: str | None = None,
    checksum_url: str | None = None,
    progress: Report | None = None,
) -> Path:
    """Bring the file to ``target``, or leave a file alone that is already there and has the right checksum.

    Args:
        urls: the same file at each of them; tried in order.
        target: where the file goes; its folder is made. A file of another checksum is replaced.
        checksum: ``sha256:<hex>`` or ``md5:<hex>``.
        checksum_url: a published text that holds the checksum; read only where ``checksum`` is None.
        progress: hears of the bytes as they come.

    Raises:
        ConfigError: no URL, or a checksum that is none.
        DataError: no mirror gave the file; the message lists what was expected and got from each.
    """
    if not urls:
        raise ConfigError(f"no URL to download {target.name} from; give at least one.")
    if checksum is None and checksum_url is not None:
        checksum = published_checksum(checksum_url, target.name)
    expected = _parsed(checksum)
    faults = []
    with _folder(target.parent):
        for url in urls:
            fault = _try_mirror(url, target, expected, progress)
            if fault is None:
                return target
            faults.append(f"{url}: {fault}")
        raise DataError(
            f"{target.name} could not be downloaded.\n  "
            + "\n  ".join(faults)
            + "\nTry again later, or fetch the file in another way and name it as the raw file."
        )


def published_checksum(url: str, filename: str) -> str:
    """Read ``<algorithm>:<hex>`` for ``filename`` from a published text.

    Bare digests, ``<digest>  <name>`` and ``MD5 (<name>) = <digest>`` are understood; where the text holds
    several digests, that of the line with the file's name counts.

    Raises:
        DataError: the text cannot be had, or holds no digest or no unique one.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checksum"
        fault = _try_mirror(url, path, None, None)
        if fault is not None:
            raise DataError(f"the checksum of {filename} could not be downloaded.\n  {url}: {fault}\nTry again later.")
        text = path.read_bytes()[:65_536].decode(errors="replace")
    digests = _digests(text)
    if len(digests) > 1:
        digests = _digests("\n".join(line for line in text.splitlines() if filename in line))
    if len(digests) != 1:
        raise DataError(
            f"{url}: expected one md5 or sha256 checksum of {filename}, got {len(digests)} in {text[:80]!r}; "
            "look at the page, and give the checksum itself."
        )
    return digests.pop()


def _digests(text: str) -> set[str]:
    found = re.findall(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{32})(?![0-9a-fA-F])", text)
    algorithms = {length: name for name, length in DIGEST_LENGTHS.items()}
    return {f"{algorithms[len(digest)]}:{digest.lower()}" for digest in found}


def _parsed(checksum: str | None) -> str | None:
    if checksum is None:
        return None
    algorithm, _, digest = checksum.lower().partition(":")
    length = DIGEST_LENGTHS.get(algorithm)
    if length is None or not re.fullmatch(rf"[0-9a-f]{{{length}}}", digest):
        raise ConfigError(f"checksum={checksum!r} is none; write 'sha256:' and 64 or 'md5:' and 32 hexadecimal digits.")
    return f"{algorithm}:{digest}"


def _try_mirror(url: str, target: Path, checksum: str | None, progress: Report | None) -> str | None:
    """Fetch from one URL; None, or what went wrong."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT_S * 2 ** (attempt - 1))
        try:
            _fetch(url, target, checksum, progress)
        except ValueError as error:  # the checksum is wrong, or the URL is none
            return str(error).partition(". Deleted")[0]
        except OSError as error:  # of which all the network's other errors are a kind
            fault, passing = _explained(error)
            if not passing:
                return fault
        else:
            return None
    return f"{fault} ({ATTEMPTS} attempts)"


def _fetch(url: str, target: Path, checksum: str | None, progress: Report | None) -> None:
    import pooch  # noqa: PLC0415

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(
        progressbar=_Meter(progress) if progress else False,
        chunk_size=CHUNK_BYTES,
        timeout=TIMEOUT_S,
        # The bytes of the file itself: a checksum belongs to them, not to what a server may unpack.
        headers={"Accept-Encoding": "identity"},
    )
    pooch.retrieve(url, checksum, fname=target.name, path=target.parent, downloader=downloader)


def _explained(error: OSError) -> tuple[str, bool]:
    """What went wrong in words, and whether another try may help."""
    response = getattr(error, "response", None)
    if response is not None:
        status = int(response.status_code)
        response.close()
        return f"expected the file, got HTTP status {status} ({response.reason})", status >= 500
    cause = _root(error)
    if isinstance(cause, http.client.IncompleteRead):
        partial: Any = cause.partial  # the bytes, or in urllib3 their number
        got = partial if isinstance(partial, int) else len(partial)
        return f"the transfer broke: expected {got + (cause.expected or 0)} bytes, got {got}", True
    if error.errno is not None:  # of this machine: the network's wrappers carry none
        return f"{error.strerror}: {error.filename}", False
    return f"no answer ({type(cause).__name__}: {cause})", True


def _root(error: BaseException) -> BaseException:
    """The innermost exception: wrappers carry it as an argument, a reason, a cause or a context."""
    inner = [arg for arg in error.args if isinstance(arg, BaseException)]
    inner += [e for e in (getattr(error, "reason", None), error.__cause__, error.__context__) if e]
    nested = [e for e in inner if isinstance(e, BaseException)]
    return _root(nested[0]) if nested else error


class _Meter:
    """The four members of a progress bar that pooch drives, passed on as bytes done and in all."""

    def __init__(self, report: Report) -> None:
        self.total = 0
        self._report = report
        self._done = 0

    def update(self, n: int) -> None:
        # pooch counts whole chunks, of which the last is shorter
        self._done = min(self._done + n, self.total) if self.total else self._done + n
        self._report(self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make the folder and take back, if the body fails, whatever of it was not there before."""
    made = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        made.append(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be made ({error.strerror}); choose another folder.") from None
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise
