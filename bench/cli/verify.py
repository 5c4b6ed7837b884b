"""``python -m bench verify RUN``: the numbers of a run once more, from the predictions that it kept; or by training."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.checks.rerun import Rerun
    from bench.checks.verify import Verdict
    from bench.records import CellRecord, RunFolder

PROG = "python -m bench verify"
_TITLES = {"auc": "AUC", "logloss": "Logloss", "pcoc": "PCOC", "ece": "ECE"}
_MOST_DRAWN = 999
"""Cells that can be drawn; the beginning of a hash has four letters at least."""


@dataclass(frozen=True)
class VerifyConfig:
    """Compute AUC, Logloss, calibration and intervals of a run anew, from kept predictions, and compare.

    By scikit-learn, SciPy and NumPy, without the suite's own code for them. With --rerun-cell cells are also trained
    again and held to their records. Exit status 1 where a number does not agree, predictions were changed, or a cell
    comes out otherwise.
    """

    run: tyro.conf.Positional[Path]
    """Folder that `python -m bench run --out FOLDER` has written, or a bundle of `submit`."""
    rerun_cell: Annotated[str | None, tyro.conf.arg(metavar="N|HASH")] = None
    """Train cells again: so many of the finished ones by lot, or the one whose hash begins so (its file in cells/).
    The run folder stays as it is."""
    draw: int = 0
    """Number of the lot: another number, other cells."""
    card: str | None = None
    """With --rerun-cell: the data set's card, if it is no longer where the run's settings name it."""
    data_dir: Path | None = None
    """With --rerun-cell: folder of the encoded data sets; by default the run's."""
    plugin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """With --rerun-cell: Python file of a plug-in that the run was made with; may be repeated."""


def command(argv: Sequence[str]) -> int:
    """Compare, and print what agrees and what does not; exit status 1 where something does not.

    Raises:
        ConfigError: the folder is no run, it has kept no predictions and no cell is to be trained, or no cell is meant.
        DataError: a record or its data cannot be read, or a cell cannot be trained again.
    """
    config = tyro.cli(VerifyConfig, args=list(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    _check(config)
    from bench.folders.bundle import opened  # noqa: PLC0415
    from bench.records import RunFolder  # noqa: PLC0415

    with opened(config.run) as folder:
        return _verified(config, RunFolder(folder))


def _verified(config: VerifyConfig, run: RunFolder) -> int:
    from bench.checks.verify import verify  # noqa: PLC0415 - --help needs neither NumPy nor scikit-learn

    found, cells = verify(run), _cells(config, run)
    if not found.cells and not cells:
        raise ConfigError(
            f"{config.run} has no predictions to verify its numbers by. Compute its cells again with "
            "`python -m bench run ... --keep-predictions always --rerun always`, or train some: --rerun-cell 1."
        )
    sys.stdout.write("".join(f"{line}\n" for line in _lines(found)))
    differs = 0
    for one in _reruns(config, run, cells):
        differs += one.verdict == "differs"
        sys.stdout.write("".join(f"{line}\n" for line in _compared(one)))
        sys.stdout.flush()
    return 1 if found.faults or differs else 0


def _check(config: VerifyConfig) -> None:
    if config.rerun_cell is not None:
        return
    given = {
        "--draw": config.draw != 0,
        "--card": config.card,
        "--data-dir": config.data_dir,
        "--plugin": config.plugin,
    }
    if unused := [name for name, value in given.items() if value]:
        raise ConfigError(f"{unused[0]} is of cells that are trained again; add --rerun-cell 1.")


def _cells(config: VerifyConfig, run: RunFolder) -> list[CellRecord]:
    """The cells to train again."""
    asked = config.rerun_cell
    if asked is None:
        return []
    from bench.checks.rerun import draw  # noqa: PLC0415 - loads torch
    from bench.export.cell import SHORTEST, Wanted, choose  # noqa: PLC0415

    if len(asked) >= SHORTEST:
        return [choose(run, Wanted((asked,)))]
    if not asked.isdecimal() or int(asked) < 1:
        raise ConfigError(
            f"rerun_cell={asked!r}: give a number of cells from 1 to {_MOST_DRAWN}, or the beginning of a cell's hash "
            f"(the names of the files in cells/, {SHORTEST} letters or more)."
        )
    return draw(run, int(asked), config.draw)


def _reruns(config: VerifyConfig, run: RunFolder, cells: Sequence[CellRecord]) -> Iterator[Rerun]:
    if not cells:
        return
    from bench import plugins  # noqa: PLC0415
    from bench.checks.rerun import rerun  # noqa: PLC0415 - loads torch
    from bench.plugin_files import read_plugins  # noqa: PLC0415
    from bench.run.again import resolve_again  # noqa: PLC0415

    plugins.add_files(read_plugins(config.plugin))
    for record in cells:
        again = resolve_again(run, record, config.card, config.data_dir, _say)
        took = "" if record.tt_s is None else f" (it took {record.tt_s:,.0f} s)"
        _say(f"training {_title(record)} again{took}")
        yield rerun(again, _say)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _title(record: CellRecord) -> str:
    tau = "" if record.tau is None else f", τ = {record.tau:g}"
    where = f"{record.label} on {record.dataset} with {record.backbone}{tau}, seed {record.seed}"
    return f"{where} ({record.config_hash[:12]})"


def _compared(one: Rerun) -> Iterator[str]:
    """What came out beside the record, and what may explain a difference."""
    record, again = one.record, one.again
    yield f"{_title(record)}, trained again: {one.verdict}"
    if again.status != "ok":
        yield f"  it is {again.status}: {again.reason}"
        return
    yield f"  AUC      {_beside(record.auc, again.auc)}"
    yield f"  Logloss  {_beside(record.logloss, again.logloss)}"
    yield f"  fields   {_fields(record, again)}"
    if one.verdict == "identical":
        return
    limit = one.tolerance
    measured = "not measured for this method; `python -m bench rounding RUN` does" if limit is None else ""
    yield f"  rounding moves AUC by up to {limit.auc:.5f} ({limit.source})" if limit else f"  rounding {measured}"
    unlike = [*one.circumstances, *one.code]
    yield f"  unlike: {'; '.join(unlike) or 'nothing that is recorded'}"


def _beside(recorded: float | None, found: float | None) -> str:
    if recorded is None or found is None:
        return f"{recorded} recorded, {found} now"
    same = "the same" if recorded == found else f"{found:.9f} now, {abs(found - recorded):.1g} away"
    return f"{recorded:.9f} recorded, {same}"


def _fields(record: CellRecord, again: CellRecord) -> str:
    recorded, found = (set(one.kept_fields or ()) for one in (record, again))
    if recorded == found:
        return f"{len(recorded)} kept, the same"
    only = {"recorded": recorded - found, "now": found - recorded}
    named = [f"{', '.join(_names(record, places)) or 'none'} only {when}" for when, places in only.items()]
    return f"{len(recorded & found)} of {len(recorded)} kept in both; {'; '.join(named)}"


def _names(record: CellRecord, places: set[int]) -> list[str]:
    return [record.field_names[place] for place in sorted(places) if place < len(record.field_names)]


def _lines(found: Verdict) -> list[str]:
    lines = [f"{_many(found.cells, 'cell')} computed anew from predictions"]
    if found.unkept:
        lines.append(f"{_many(found.unkept, 'cell')} without predictions, not verified")
    lines += [f"  {_TITLES[name]:<8} largest deviation {off:.1g}" for name, off in found.off.items()]
    if found.differences:
        lines.append(
            f"{_many(found.differences, 'interval')} of differences in AUC computed anew (tables/difference.csv)"
        )
    if found.unclear:
        lines.append(f"{_many(found.unclear, 'interval')} not verified: a cell has no predictions or a namesake")
    if found.faults:
        return [*lines, *found.faults, f"does not agree: {_many(len(found.faults), 'number')}"]
    return [*lines, "agrees"] if found.cells else lines


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
