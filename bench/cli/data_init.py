"""``python -m bench data init``: a card for a raw table that has none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bench.data.card.starter import starter_card

PROG = "python -m bench data init"


@dataclass(frozen=True)
class InitFlags:
    """Look at a raw table and write its card."""

    raw: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")]
    """The raw table."""


def command(argv: Sequence[str]) -> int:
    """Print the card of one table."""
    flags = tyro.cli(InitFlags, args=list(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    sys.stdout.write(f"{starter_card(flags.raw)}\n")
    return 0
