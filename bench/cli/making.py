"""Making the store of one data set, as ``prepare`` and ``run --raw`` do."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.addresses import is_remote, without_secrets
from bench.cli.meter import meter, teller
from bench.data.prepare.workers import HERE, Workers
from bench.errors import DataError

if TYPE_CHECKING:
    from bench.data.card.card import DatasetCard

Raw = Path | list[Path] | None
"""A file, an archive or a folder; several files; or nothing."""


@dataclass(frozen=True)
class Wanted:
    """A store that is to be there."""

    card: DatasetCard
    data_dir: Path
    raw: Raw = None
    """What it is made from; None: what is downloaded or generated."""
    download: bool = False
    force: bool = False
    """Make it anew even if it is there."""
    device: str = "cpu"
    workers: Workers = HERE
    replacing: str = "--force"
    """What replaces a store that is there, for messages."""


def make_store(wanted: Wanted) -> None:
    """Make the store unless it is there.

    Raises:
        DataError: it is there, made from other raw data; or the raw data are missing or cannot be used.
    """
    from bench.data.store.store import store_folder, unprepared_message  # noqa: PLC0415 - loads pyarrow

    card, folder = wanted.card, store_folder(wanted.data_dir, wanted.card)
    if not wanted.force and _is_there(folder, wanted):
        return
    if wanted.raw is None and not wanted.download and not card.is_derived:
        raise DataError(unprepared_message(folder, card))
    from bench.data.prepare.workspace import reserved  # noqa: PLC0415

    before = _made_at(folder)
    with reserved(folder, lambda line: sys.stderr.write(f"{line}\n")):
        made_meanwhile = _made_at(folder) != before
        if wanted.force or not made_meanwhile or not _is_there(folder, wanted):
            _make(folder, wanted)


@contextmanager
def raw_at_hand(card: DatasetCard, given: Sequence[str], data_dir: Path) -> Iterator[Raw]:
    """What ``--raw`` names: one path, or several files; what lies elsewhere is copied to ``data_dir`` meanwhile.

    Raises:
        DataError: no such file, or raw data of a generated data set.
    """
    if not given:
        yield None
        return
    if card.generator:
        shown = " ".join(map(without_secrets, given))
        raise DataError(f"data set {card.name!r} is generated: leave out --raw {shown}.")
    if card.junk:
        shown = " ".join(map(without_secrets, given))
        made = f"data set {card.spec!r} is made from the store of {card.plain.spec!r}"
        raise DataError(f"{made}: prepare that, and leave out --raw {shown} here.")
    remote = [text for text in given if is_remote(text)]
    if not remote:
        paths = given_paths(given)
        yield paths[0] if len(paths) == 1 else paths
        return
    from bench.data.prepare.remote import at_hand  # noqa: PLC0415 - loads pyarrow

    if len(remote) < len(given):
        raise DataError("--raw: give files of this machine or remote ones, not both.")
    with at_hand(remote, data_dir, lambda line: sys.stderr.write(f"{line}\n")) as paths:
        yield paths[0] if len(paths) == 1 else paths


def given_paths(given: Sequence[str]) -> list[Path]:
    """The files and folders that ``--raw`` names, patterns among them; errors as of ``raw_at_hand``."""
    return [found for text in given for found in _matching(Path(text))]


def spread_raw(argv: Sequence[str]) -> list[str]:
    """The arguments with ``--raw`` before each of several files behind it, which is what shells make of a pattern.

    Only where the data set stands first; else a file could be meant for it.
    """
    spread: list[str] = []
    for text in argv:
        behind_a_file = len(spread) > 1 and spread[-2] == "--raw" and not argv[0].startswith("-")
        spread += ["--raw", text] if behind_a_file and not text.startswith("-") else [text]
    return spread


def _matching(path: Path) -> list[Path]:
    """The path, or the files that it is a pattern of and those of the folders: ``part-2`` before ``part-10``."""
    from bench.data.raw.names import is_junk, natural  # noqa: PLC0415 - loads pyarrow

    if path.exists():
        return [path]
    fixed = Path(*takewhile(lambda part: not any(sign in part for sign in "*?["), path.parts))
    given = fixed.glob(str(path.relative_to(fixed))) if fixed != path else []
    below = {file for one in given for file in (one.rglob("*") if one.is_dir() else (one,)) if file.is_file()}
    wanted = [file for file in below if not is_junk(file.relative_to(fixed).as_posix())]
    found = sorted(wanted, key=lambda file: natural(file.as_posix()))
    if not found:
        raise DataError(f"--raw {path}: there is no such file or folder; check the path.")
    return found


def _is_there(folder: Path, wanted: Wanted) -> bool:
    """Whether a sound store of this card lies in ``folder``; says so, or why one is replaced.

    Raises:
        DataError: it does, but made from other raw data than asked for; or it is unsound and nothing is given to make
            it anew.
    """
    card, raw = wanted.card, wanted.raw
    from bench.data.prepare.origin import download_differs, raw_differs  # noqa: PLC0415
    from bench.data.store.manifest import MANIFEST, verify_files  # noqa: PLC0415
    from bench.data.store.store import read_checked, remake_command  # noqa: PLC0415

    if not (folder / MANIFEST).exists():
        return False
    try:
        manifest = read_checked(folder, card)
        verify_files(folder, manifest, manifest["files"], remake_command(folder, card, manifest))
    except DataError as error:
        if raw is None and not wanted.download and not card.is_derived:
            raise
        sys.stderr.write(f"{str(error).partition(' Make ')[0]} It is replaced.\n")
        return False
    made_from = manifest["raw"]
    different = download_differs(card, wanted.data_dir, made_from) if wanted.download else ""
    if raw is not None:
        different = raw_differs(card, raw, made_from)
    if different:
        names = ", ".join(one["name"] for one in made_from)
        made = f"{folder} is there already, made from {names} ({manifest['n_rows']:,} rows)"
        raise DataError(f"{made}, {different}; {wanted.replacing} replaces it.")
    sys.stderr.write(f"{folder} is there already ({manifest['n_rows']:,} rows); {wanted.replacing} makes it anew.\n")
    return True


def _made_at(folder: Path) -> tuple[int, int] | None:
    """Tells the store in ``folder`` from one that replaces it; None where there is none."""
    from bench.data.store.manifest import MANIFEST  # noqa: PLC0415

    try:
        found = (folder / MANIFEST).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def _make(folder: Path, wanted: Wanted) -> None:
    card, raw = wanted.card, wanted.raw
    from bench.data.prepare.fetch import fetch_raw  # noqa: PLC0415
    from bench.data.prepare.prepare import Settings, prepare  # noqa: PLC0415
    from bench.data.store.manifest import read_manifest  # noqa: PLC0415

    started = time.perf_counter()
    with meter() as show:
        if wanted.download:
            raw = fetch_raw(card, wanted.data_dir, lambda done, total: show("fetch", done, total, "bytes"))
        tell = teller(show)
        prepare(card, raw, folder, progress=tell, settings=Settings(device=wanted.device, workers=wanted.workers))
    seconds = time.perf_counter() - started
    manifest = read_manifest(folder, "")
    n_rows, n_fields = manifest["n_rows"], len(manifest["fields"])
    values = sum(field["cardinality"] for field in manifest["fields"])
    splits = ", ".join(f"{name} {count:,}" for name, count in manifest["split_rows"].items())
    sys.stdout.write(
        f"{folder}: {n_rows:,} rows ({splits}), {manifest['positives'] / n_rows:.1%} positive, "
        f"{n_fields} fields, {values:,} ids; {seconds:.1f} s, {n_rows / seconds:,.0f} rows/s\n"
    )
    for note in manifest["notes"]:
        sys.stdout.write(f"note: {note}\n")
    if card.sample_rows is not None or card.sample_share is not None:
        sys.stdout.write(f"use these rows with: --datasets {shlex.quote(card.typed_spec)}\n")
