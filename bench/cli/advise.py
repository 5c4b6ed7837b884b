"""``python -m bench advise``: which fields can be dropped, what that costs, and what it saves."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro

from bench.advising.config import AdviseConfig, run_config
from bench.plugins import check_layout

PROG = "python -m bench advise"


def command(argv: Sequence[str]) -> int:
    """Advise, write the report of the run folder, and print the advice."""
    markers = (tyro.conf.HelptextFromCommentsOff,)
    config = tyro.cli(AdviseConfig, args=list(argv), prog=PROG, config=markers)
    base = run_config(config)
    check_layout()
    from bench.advising.advise import advise  # noqa: PLC0415 - loads torch
    from bench.files import remove_leftovers  # noqa: PLC0415
    from bench.report.advice import advice_text  # noqa: PLC0415
    from bench.report.build import build_report  # noqa: PLC0415
    from bench.report.formats.terminal import written_line  # noqa: PLC0415
    from bench.run.progress import reporter  # noqa: PLC0415

    remove_leftovers(base.out)
    with reporter() as progress:
        found = advise(config, progress, _tell)
    files = build_report(base.out)
    sys.stdout.write(f"\n{advice_text(found)}\n\n{written_line(base.out, len(files))}\n")
    return 0


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
