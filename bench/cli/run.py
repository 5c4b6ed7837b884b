"""``python -m bench run``: the grid of cells, then its tables and figures."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tyro

from bench.errors import ConfigError
from bench.plugins import check_layout
from bench.registry import SUM_SHOWN
from bench.run.check import check
from bench.run.config import SHORT, RunConfig, base_config, over
from bench.run.executors import count_of
from bench.run.grid import Cell

if TYPE_CHECKING:
    from bench.data.card.card import DatasetCard
    from bench.records import CellRecord
    from bench.run.session import Plan

PROG = "python -m bench run"
SET, PLUGIN, SLURM = "--set", "--plugin", "--slurm"
"""Flags of several values that may be repeated."""
TRIALS = "--trials"
TIMING, REPEATS = "--timing", "3"
"""A flag that may stand without its number, and the number that it then has."""


def parse(argv: Sequence[str]) -> RunConfig:
    """Flags over config file over experiment.

    Raises:
        ConfigError: an unknown experiment or key, or a value out of range.
    """
    shown = dataclasses.replace(base_config(None, None, True), datasets=())
    flags = _read_flags(argv, shown)
    base = base_config(flags.experiment, flags.config, bool(flags.datasets))
    _refuse_unasked(base.plugin, flags)
    settings = {name: getattr(flags, name) for name in ("set", *SHORT) if getattr(flags, name) != getattr(shown, name)}
    below = {item.name: getattr(base, item.name) for item in dataclasses.fields(base)}
    given = dataclasses.replace(RunConfig(), **over(below, settings))
    config = check(dataclasses.replace(_read_flags(argv, given), set=given.set))
    if config.tune != "optuna" and any(text.partition("=")[0] == TRIALS for text in argv):
        raise ConfigError(f"{TRIALS} has no part in --tune {config.tune}: leave it out, or add --tune optuna.")
    return config


def _refuse_unasked(named: Sequence[str], flags: RunConfig) -> None:
    """A run folder that somebody hands on runs no code, unless the user names it.

    Raises:
        ConfigError: the config file names a plug-in that no flag does.
    """
    unasked = [path for path in named if path not in flags.plugin]
    if unasked:
        raise ConfigError(
            f"{flags.config} names the plug-in {unasked[0]}, whose code would be run. Where you trust it, say so: "
            f"--plugin {shlex.quote(unasked[0])}"
        )


def _read_flags(argv: Sequence[str], default: RunConfig) -> RunConfig:
    markers = (tyro.conf.HelptextFromCommentsOff,)
    args = _timed(argv)
    for flag in (SET, PLUGIN, SLURM):
        args = _gathered(args, flag)
    return tyro.cli(RunConfig, args=args, prog=PROG, default=default, config=markers)


def _gathered(argv: Sequence[str], flag: str) -> list[str]:
    """The command line with all values of ``flag`` behind the last one, for whom it is natural to repeat it."""
    rest: list[str] = []
    values: list[str] = []
    inside = False
    for text in argv:
        if text == flag or text.startswith(f"{flag}="):
            inside = True
            values += [text.removeprefix(f"{flag}=")] if text != flag else []
        elif text.startswith("-"):
            inside = False
            rest.append(text)
        else:
            (values if inside else rest).append(text)
    return [*rest, flag, *values] if flag in argv or values else rest


def _timed(argv: Sequence[str]) -> list[str]:
    """The command line with a number behind ``--timing`` where none but another flag follows."""
    found: list[str] = []
    for text, following in zip(argv, [*argv[1:], "-"], strict=False):
        bare = following.startswith("-") and not following.lstrip("-").isdigit()
        found += [text, REPEATS] if text == TIMING and bare else [text]
    return found


def command(argv: Sequence[str]) -> int:
    """Run the grid; exit status 1 where a cell has failed."""
    config = parse(argv)
    check_layout()
    from bench.data.prepare.ready import make_ready  # noqa: PLC0415
    from bench.data.store.fields import read_fields  # noqa: PLC0415
    from bench.files import remove_leftovers  # noqa: PLC0415
    from bench.folders import baselines  # noqa: PLC0415
    from bench.records import load_frame  # noqa: PLC0415
    from bench.report.build import build_report  # noqa: PLC0415
    from bench.report.formats.terminal import run_text, written_line  # noqa: PLC0415
    from bench.run import growth, session, sweep, timing  # noqa: PLC0415 - loads torch
    from bench.run.progress import reporter  # noqa: PLC0415
    from bench.tables.titles import Titles  # noqa: PLC0415

    # what may hold secrets goes no further
    plan = session.resolve(dataclasses.replace(config, raw=(), prepare_workers="1"))
    if config.raw:
        _prepare(config, list(plan.cards.values()))
    for plugin in config.plugin_files:
        sys.stderr.write(f"plug-in {plugin.name}: {plugin.path}, version {plugin.sha256[:SUM_SHOWN]}\n")
    make_ready(plan.cards.values(), config.data_dir, lambda line: sys.stderr.write(f"{line}\n"))
    for text in growth.warnings(session.Session(plan)):
        sys.stderr.write(f"warning: {text}\n")
    if config.baselines:
        baselines.take(plan, lambda line: sys.stderr.write(f"{line}\n"), write=not config.plan)
    if config.plan:
        return _show_plan(plan)
    if config.show_script:
        return _show_script(plan)
    remove_leftovers(config.out)
    if config.timing is not None:
        timing.check(plan)
    with reporter() as progress:
        records = sweep.run(plan, progress)
        faults = [] if config.timing is None else timing.run(plan, progress)
    titles = Titles.of_run(config.out, config.sections)
    files = build_report(config.out, titles)
    text = run_text(load_frame(config.out), read_fields(config.out), titles, colour=sys.stdout.isatty())
    sys.stdout.write(f"\n{text}\n\n")
    sys.stdout.write(f"{written_line(config.out, len(files))}\n")
    sys.stderr.write("".join(f"{text}\n" for text in faults))
    return 1 if _list_failures(records) or faults else 0


def _prepare(config: RunConfig, cards: Sequence[DatasetCard]) -> None:
    """Make the store of the one table that ``--raw`` is meant for.

    Raises:
        ConfigError: there is none, or several.
        DataError: as ``prepare``.
    """
    from bench.cli.making import Wanted, make_store, raw_at_hand  # noqa: PLC0415 - loads pyarrow

    tables = [card for card in cards if not card.is_derived]
    if len(tables) != 1:
        names = ", ".join(card.spec for card in tables) or "none"
        raise ConfigError(
            f"--raw is for one data set made from files, and --datasets names {names}: prepare each by itself, with "
            f"`python -m bench prepare`, and leave --raw out."
        )
    card = tables[0]
    with raw_at_hand(card, config.raw, config.data_dir) as raw:
        replacing = f"`python -m bench prepare {shlex.quote(card.typed_spec)} --raw … --force`"
        make_store(Wanted(card, config.data_dir, raw, workers=config.preparers, replacing=replacing))


def _show_plan(plan: Plan) -> int:
    """Print what the run will take: memory first, which is at hand, then times, which take a while."""
    from bench.run import estimate as planning  # noqa: PLC0415
    from bench.run.forecast import forecasts  # noqa: PLC0415
    from bench.run.forecast_table import forecast_table  # noqa: PLC0415
    from bench.run.session import Session, use_threads  # noqa: PLC0415

    use_threads(plan.config)
    session = Session(plan)
    sizes = planning.sizes(session)
    sys.stdout.write(f"{planning.size_table(sizes)}\n\n")
    sys.stdout.flush()
    paces = [planning.pace(session, size) for size in sizes]
    sys.stdout.write(f"{forecast_table(forecasts(session, paces), count_of(plan.config.executor_name) or 1)}\n")
    return 0


def _show_script(plan: Plan) -> int:
    """Print what an array of the run's cells would be submitted with."""
    from bench.run.executors.slurm import script  # noqa: PLC0415 - loads submitit
    from bench.run.session import Session, use_threads  # noqa: PLC0415

    use_threads(plan.config)
    sys.stdout.write(f"{script(Session(plan)).rstrip()}\n")
    return 0


def _list_failures(records: Sequence[CellRecord]) -> int:
    bad = [record for record in records if record.status not in ("ok", "skipped")]
    for record in bad:
        where = Cell(record.dataset, record.backbone, record.label, record.tau, record.seed).title
        sys.stderr.write(f"{record.status}: {where}: {record.reason} (cells/{record.config_hash[:16]}.json)\n")
    return 1 if bad else 0
