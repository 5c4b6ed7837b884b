"""``python -m bench prepare``: raw data -> an encoded data set."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from bench.datasets import resolve_dataset, with_split
from bench.errors import ConfigError, DataError
from bench.params import Spec, parse_spec

if TYPE_CHECKING:
    from bench.data.card.card import DatasetCard
    from bench.data.prepare.prepare import Progress

PROG = "python -m bench prepare"
PHASES = {"fetch": "fetching", "read": "reading", "count": "counting", "write": "writing"}
LINE_EVERY_S = 10.0
"""Seconds between two plain lines of progress."""
Raw = Path | list[Path] | None
"""A file, an archive or a folder; several files; or nothing."""


@dataclass(frozen=True)
class PrepareFlags:
    """Encode a data set: split its rows, fit the vocabularies on train, write the ids."""

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """Name of a data set, with parameters in brackets if need be, e.g. "criteo[min_count=2]"; or the path of a
    card of your own, my.toml."""
    raw: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """The raw data: text or Parquet, plain or as .gz, .bz2, .xz, .zst, .lz4, .zip, .tar, .tar.gz, or in a folder; given
    more than once, or as a pattern ('part-*.csv'), files that are the parts of one table, in that order."""
    data_dir: Path = Path("data")
    """Where encoded data sets lie."""
    download: bool = False
    """Fetch the raw data first, where that needs nobody's consent; it stays in <data-dir>/raw."""
    force: bool = False
    """Make the data set, or the file of --raw-out, anew even if it is there."""
    split: Literal["random", "temporal"] = "random"
    """temporal: train on the earliest rows, validate and test on later ones; short for DATASET[split=temporal]."""
    rows: int | None = None
    """Make a store of so many rows, drawn by a hash of their number (or so many generated ones); short for
    DATASET[rows=N], the name by which the store is used."""
    sample: float | None = None
    """Make a store of this share of the rows, drawn by a hash of their number, e.g. 0.05; short for
    DATASET[sample=0.05], the name by which the store is used."""
    raw_out: Path | None = None
    """Write the rows of a generated data set to this file as raw text, TAB between columns, and encode nothing."""
    device: str = "cpu"
    """Where the rows of a generated data set are made: cpu, cuda, cuda:N or auto; they are the same."""


def command(argv: Sequence[str]) -> int:
    """Prepare one data set."""
    flags = tyro.cli(
        PrepareFlags,
        args=_spread(argv),
        prog=PROG,
        config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff),
    )
    card = _resolve(flags)
    if flags.device != "cpu" and not card.generator:
        raise ConfigError(f"--device {flags.device}: data set {card.name!r} is not generated; leave --device out.")
    if flags.raw_out is not None:
        return _write_raw(card, flags, flags.raw_out)
    raw = _raw_paths(card, flags)
    from bench.data.store.store import store_folder, unprepared_message  # noqa: PLC0415 - loads pyarrow

    folder = store_folder(flags.data_dir, card)
    if not flags.force and _is_there(card, folder, flags, raw):
        return 0
    if raw is None and not flags.download and not card.generator:
        raise DataError(unprepared_message(folder, card))
    from bench.data.prepare.workspace import reserved  # noqa: PLC0415

    before = _made_at(folder)
    with reserved(folder, lambda line: sys.stderr.write(f"{line}\n")):
        made_meanwhile = _made_at(folder) != before
        if flags.force or not made_meanwhile or not _is_there(card, folder, flags, raw):
            _make(card, flags, folder, raw)
    return 0


def _spread(argv: Sequence[str]) -> list[str]:
    """The arguments with ``--raw`` before each of several files behind it, which is what shells make of a pattern.

    Only where the data set stands first; else a file could be meant for it.
    """
    spread: list[str] = []
    for text in argv:
        behind_a_file = len(spread) > 1 and spread[-2] == "--raw" and not argv[0].startswith("-")
        spread += ["--raw", text] if behind_a_file and not text.startswith("-") else [text]
    return spread


def _raw_paths(card: DatasetCard, flags: PrepareFlags) -> Raw:
    """What ``--raw`` names: one path, or several files.

    Raises:
        ConfigError: raw data and ``--download``.
        DataError: no such file, or raw data of a generated data set.
    """
    if not flags.raw:
        return None
    given = " ".join(map(str, flags.raw))
    if flags.download:
        raise ConfigError(f"--download and --raw {given} exclude each other; give one.")
    if card.generator:
        raise DataError(f"data set {card.name!r} is generated: leave out --raw {given}.")
    paths = [found for path in flags.raw for found in _matching(path)]
    return paths[0] if len(paths) == 1 else paths


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


def _resolve(flags: PrepareFlags) -> DatasetCard:
    """The card, with the rows asked for.

    Raises:
        ConfigError: the data set has no such parameter, or it is given twice.
    """
    spec = parse_spec(with_split(flags.dataset, flags.split))
    asked = {name: getattr(flags, name) for name in ("rows", "sample") if getattr(flags, name) is not None}
    for name, value in asked.items():
        if name in spec.given:
            raise ConfigError(f"--{name} {value} and {flags.dataset} exclude each other; give one.")
    return resolve_dataset(Spec(spec.name, spec.given | {name: str(value) for name, value in asked.items()}).label)


def _write_raw(card: DatasetCard, flags: PrepareFlags, path: Path) -> int:
    """Write raw text instead of a store."""
    from bench.data.prepare.prepare import Progress, Settings  # noqa: PLC0415
    from bench.data.prepare.raw_text import write_raw  # noqa: PLC0415

    if flags.raw or flags.download:
        raise ConfigError(f"--raw-out {path} writes generated rows; leave out --raw and --download.")
    if path.is_dir() or (path.exists() and not flags.force):
        raise DataError(f"--raw-out {path} is there already; name another file, or replace a file with --force.")
    started = time.perf_counter()
    settings = Settings(device=flags.device)
    with _meter() as show, settings.pool() as pool:
        tell = _teller(show)
        rows = write_raw(
            card, path, pool, lambda n, of: tell(Progress("write", n, n / of if of else None)), flags.device
        )
    seconds = time.perf_counter() - started
    size = path.stat().st_size / 1e6
    sys.stdout.write(f"{path}: {rows:,} rows, {size:,.1f} MB; {seconds:.1f} s, {rows / seconds:,.0f} rows/s\n")
    return 0


def _is_there(card: DatasetCard, folder: Path, flags: PrepareFlags, raw: Raw) -> bool:
    """Whether a sound store of this card lies in ``folder``; says so, or why one is replaced.

    Raises:
        DataError: it does, but made from other raw data than asked for; or it is unsound and nothing is given to make
            it anew.
    """
    from bench.data.prepare.origin import download_differs, raw_differs  # noqa: PLC0415
    from bench.data.store.manifest import MANIFEST, verify_files  # noqa: PLC0415
    from bench.data.store.store import read_checked, remake_command  # noqa: PLC0415

    if not (folder / MANIFEST).exists():
        return False
    try:
        manifest = read_checked(folder, card)
        verify_files(folder, manifest, manifest["files"], remake_command(folder, card, manifest))
    except DataError as error:
        if raw is None and not flags.download and not card.generator:
            raise
        sys.stderr.write(f"{str(error).partition(' Make ')[0]} It is replaced.\n")
        return False
    made_from = manifest["raw"]
    different = download_differs(card, flags.data_dir, made_from) if flags.download else ""
    if raw is not None:
        different = raw_differs(card, raw, made_from)
    if different:
        names = ", ".join(one["name"] for one in made_from)
        made = f"{folder} is there already, made from {names} ({manifest['n_rows']:,} rows)"
        raise DataError(f"{made}, {different}; --force replaces it.")
    sys.stderr.write(f"{folder} is there already ({manifest['n_rows']:,} rows); --force makes it anew.\n")
    return True


def _made_at(folder: Path) -> tuple[int, int] | None:
    """Tells the store in ``folder`` from one that replaces it; None where there is none."""
    from bench.data.store.manifest import MANIFEST  # noqa: PLC0415

    try:
        found = (folder / MANIFEST).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def _make(card: DatasetCard, flags: PrepareFlags, folder: Path, raw: Raw) -> None:
    from bench.data.prepare.fetch import fetch_raw  # noqa: PLC0415
    from bench.data.prepare.prepare import Settings, prepare  # noqa: PLC0415
    from bench.data.store.manifest import read_manifest  # noqa: PLC0415

    started = time.perf_counter()
    with _meter() as show:
        if flags.download:
            raw = fetch_raw(card, flags.data_dir, lambda done, total: show("fetch", done, total, "bytes"))
        tell = _teller(show)
        prepare(card, raw, folder, progress=tell, settings=Settings(device=flags.device))
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


Show = Callable[[str, int, int, str], None]
"""Takes phase, done, total (0: unknown) and unit."""


def _teller(show: Show) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        total = round(progress.rows / progress.share) if progress.share else 0
        show(progress.phase, progress.rows, total, "rows")

    return tell


@contextmanager
def _meter() -> Iterator[Show]:
    """A bar where stderr is a terminal, a plain line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        clock = _Clock()
        tasks: dict[str, Any] = {}

        def show(phase: str, done: int, total: int, unit: str) -> None:
            rate = clock.rate(phase, done, unit)
            if phase not in tasks:
                tasks[phase] = bars.add_task(PHASES[phase], total=None, unit=unit, rate=rate)
            bars.update(tasks[phase], completed=done, total=total or None, rate=rate)

        yield show


class _Clock:
    """Rates since a phase began, which is when the one before it was last heard of."""

    def __init__(self) -> None:
        """Start now."""
        self._phase = ""
        self._began = self._heard = time.perf_counter()

    def rate(self, phase: str, done: int, unit: str) -> str:
        """How fast ``phase`` has been so far."""
        if phase != self._phase:
            self._phase, self._began = phase, self._heard
        self._heard = time.perf_counter()
        return f"{done / max(self._heard - self._began, 1e-9):,.0f} {unit}/s"


class _Lines:
    """Plain lines: the start of each phase, then one every few seconds."""

    def __init__(self) -> None:
        """Write to stderr."""
        self._clock = _Clock()
        self._phase = ""
        self._said = 0.0

    def show(self, phase: str, done: int, total: int, unit: str) -> None:
        """Take in how far the work is."""
        now, rate = time.perf_counter(), self._clock.rate(phase, done, unit)
        if phase != self._phase:
            self._phase, self._said = phase, now
            sys.stderr.write(f"{PHASES[phase]}\n")
        elif now - self._said >= LINE_EVERY_S:
            self._said = now
            of = f" of about {total:,}" if total else ""
            sys.stderr.write(f"{PHASES[phase]}: {done:,}{of} {unit}, {rate}\n")
        sys.stderr.flush()
