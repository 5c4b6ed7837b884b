"""``python -m bench data init``: a card for a raw table that has none."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bench.cli.making import given_paths
from bench.datasets import datasets
from bench.errors import DataError
from bench.files import write_atomically

PROG = "python -m bench data init"
_SHOWN = 4


@dataclass(frozen=True)
class InitFlags:
    """Look at a raw table of your own and write its card, which you then read and mend."""

    raw: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")]
    """The table: text or Parquet, plain, compressed, in an archive, or a folder that holds the parts of one; or several
    files or a pattern, as 'day=*/*.csv', that are its parts."""
    label: str = ""
    """The column that says what happened, where its name does not tell."""
    out: Path | None = None
    """The card; by default named after the table, in the folder where you are."""
    force: bool = False
    """Write the card even over one that is there."""


def command(argv: Sequence[str]) -> int:
    """Write the card of one table.

    Raises:
        DataError: the table cannot be read, or a card is there.
        ConfigError: no column or several could be the label.
    """
    flags = tyro.cli(
        InitFlags,
        args=list(argv),
        prog=PROG,
        config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff),
    )
    from bench.data.card.starter import card_name  # noqa: PLC0415

    if not flags.raw:
        raise DataError("data init: name the table, as in `python -m bench data init clicks.csv`.")
    paths = given_paths(flags.raw)
    name = card_name(flags.out if flags.out is not None else _named_after(paths))
    out = flags.out or Path(f"{name}.toml")
    if out.is_dir() or (out.exists() and not flags.force):
        raise DataError(f"{out} is there already; name another card with --out, or replace it with --force.")
    if out.suffix != ".toml":
        raise DataError(f"--out {out}: a card is a TOML file; name it so that it ends in .toml.")
    from bench.data.look.card_text import card_text, summary  # noqa: PLC0415 - loads pyarrow
    from bench.data.look.look import free_name, look_at  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        look = look_at(paths[0] if len(paths) == 1 else paths, flags.label, Path(folder))
    with write_atomically(out) as file:
        file.write(card_text(look, free_name(name, datasets().names())))
    lines = "\n".join(f"  {line}" for line in summary(look))
    card, table = shlex.quote(str(out)), _as_typed(flags.raw)
    sys.stdout.write(
        f"{out}:\n{lines}\n\nRead the card, mend it, then:\n"
        f"  python -m bench data check {card} --raw {table}\n"
        f"  python -m bench prepare {card} --raw {table}\n"
        f"  python -m bench run --datasets {card} --seeds 3\n"
    )
    return 0


def _named_after(paths: Sequence[Path]) -> Path:
    """The table's file, or the folder that holds all of its parts."""
    found = [path.resolve() for path in paths]
    return found[0] if len(found) == 1 else Path(os.path.commonpath([path.parent for path in found]))


def _as_typed(given: Sequence[str]) -> str:
    """The paths for a command; of a great many, which a shell made of a pattern, the first and the last."""
    shown = [shlex.quote(text) for text in given]
    return " ".join(shown if len(shown) <= _SHOWN else [shown[0], "…", shown[-1]])
