"""``python -m bench evidence``: the results page of a folder of recorded runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

PROG = "python -m bench evidence"


@dataclass(frozen=True)
class EvidenceConfig:
    """Answer the questions of FOLDER/questions.toml from the runs in FOLDER/reference, with the source of every number.

    Writes README.md, numbers.csv and figures/ into the folder. A run is added by copying its run.toml and cells/.
    """

    folder: tyro.conf.Positional[Path] = Path("results")
    """Folder of the page."""


def command(argv: Sequence[str]) -> int:
    """Write the page.

    Raises:
        ConfigError: there are no runs, or the questions cannot be read or name what is not there.
        DataError: a record cannot be read.
        StorageError: a file cannot be written.
    """
    config = tyro.cli(EvidenceConfig, args=list(argv), prog=PROG)
    from bench.evidence.page import PAGE, make_page  # noqa: PLC0415 - loads Matplotlib
    from bench.files import write_atomically  # noqa: PLC0415

    page = make_page(config.folder)
    for name, data in page.files.items():
        with write_atomically(config.folder / name, "wb") as file:
            file.write(data)
    sys.stdout.write(f"{config.folder / PAGE}: {len(page.numbers)} numbers\n")
    return 0
