"""``python -m bench data describe``: what is in the fields of a prepared data set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

PROG = "python -m bench data describe"


@dataclass(frozen=True)
class DescribeFlags:
    """Show what is in the fields of a prepared data set, from its training rows.

    Kind, values, missing and most frequent ones, the AUC of each field alone, what is constant, one-to-one with
    another, nearly so, or may say the label.
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|CARD")]
    """Data set, or a card of your own, my.toml; parameters in brackets as in `run`."""
    data_dir: Path = Path("data")
    """Folder of the encoded data sets."""
    rows: int | None = None
    """Use so many rows of the data set, as `run --rows` does."""
    csv: Path | None = None
    """Also write the facts to this file, a line a field."""


def command(argv: Sequence[str]) -> int:
    """Print the table.

    Raises:
        ConfigError: the data set is unknown, or its card cannot be used.
        DataError: it is not prepared, or damaged.
        StorageError: the CSV file cannot be written.
    """
    flags = tyro.cli(DescribeFlags, args=list(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    from bench.data.store.fields import describe  # noqa: PLC0415 - --help needs no NumPy
    from bench.data.store.store import store_folder  # noqa: PLC0415
    from bench.datasets import resolve_dataset  # noqa: PLC0415
    from bench.files import write_atomically  # noqa: PLC0415
    from bench.report.formats.csv import facts_document  # noqa: PLC0415
    from bench.report.formats.terminal import plain_table  # noqa: PLC0415
    from bench.tables.fields import facts_table  # noqa: PLC0415
    from bench.tables.titles import Titles  # noqa: PLC0415

    card = resolve_dataset(flags.dataset)
    facts = describe(store_folder(flags.data_dir, card), card, flags.rows)
    title = Titles.registered().dataset(card.spec, card.own_title)
    sys.stdout.write(f"{plain_table(facts_table(facts, title))}\n")
    if flags.csv is not None:
        with write_atomically(flags.csv) as file:
            file.write(facts_document(facts, title))
    return 0
