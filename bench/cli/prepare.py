"""``python -m bench prepare``: raw data -> an encoded data set."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bench.addresses import without_secrets
from bench.cli.making import Wanted, make_store, raw_at_hand, spread_raw
from bench.cli.meter import meter, teller
from bench.data.prepare.workers import Workers
from bench.datasets import resolve_dataset, with_split
from bench.errors import ConfigError, DataError
from bench.params import Spec, parse_spec

if TYPE_CHECKING:
    from bench.data.card.card import DatasetCard

PROG = "python -m bench prepare"


@dataclass(frozen=True)
class PrepareFlags:
    """Encode a data set: split its rows, fit the vocabularies on train, write the ids."""

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """Name of a data set, with parameters in brackets if need be, e.g. "criteo[min_count=2]"; or the path of a
    card of your own, my.toml."""
    raw: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """The raw data: text or Parquet, plain or as .gz, .bz2, .xz, .zst, .lz4, .zip, .tar, .tar.gz, or in a folder; given
    more than once, or as a pattern ('part-*.csv'), files that are the parts of one table, in that order; or an address,
    as https://… or s3://…"""
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
    workers: Annotated[str, tyro.conf.arg(metavar="N|ray|ray:N")] = "1"
    """Who reads the raw data, into the same bytes: 1, the threads of this process; N processes; ray, the tasks of a Ray
    cluster (ray:N: N at a time), whose nodes see the raw files at the same path"""
    address: str | None = None
    """With --workers ray: the cluster's address, e.g. auto or 10.0.0.1:6379; without it, that of RAY_ADDRESS, or one
    that is made here"""


def command(argv: Sequence[str]) -> int:
    """Prepare one data set."""
    flags = tyro.cli(
        PrepareFlags,
        args=spread_raw(argv),
        prog=PROG,
        config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff),
    )
    card, workers = _resolve(flags), Workers.read(flags.workers, flags.address)
    workers.check(card)
    if flags.device != "cpu" and not card.generator:
        raise ConfigError(f"--device {flags.device}: data set {card.name!r} is not generated; leave --device out.")
    if flags.raw_out is not None:
        return _write_raw(card, flags, flags.raw_out)
    if flags.raw and flags.download:
        raise ConfigError(
            f"--download and --raw {' '.join(map(without_secrets, flags.raw))} exclude each other; give one."
        )
    if flags.download and card.junk:
        raise ConfigError(f"--download: {card.spec!r} is made from the store of {card.plain.spec!r}; prepare that.")
    with raw_at_hand(card, flags.raw, flags.data_dir) as raw:
        make_store(Wanted(card, flags.data_dir, raw, flags.download, flags.force, flags.device, workers))
    return 0


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
    with meter() as show, settings.pool() as pool:
        tell = teller(show)
        rows = write_raw(
            card, path, pool, lambda n, of: tell(Progress("write", n, n / of if of else None)), flags.device
        )
    seconds = time.perf_counter() - started
    size = path.stat().st_size / 1e6
    sys.stdout.write(f"{path}: {rows:,} rows, {size:,.1f} MB; {seconds:.1f} s, {rows / seconds:,.0f} rows/s\n")
    return 0
