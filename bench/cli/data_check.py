"""``python -m bench data check``: what is wrong with a card."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bench.data.card.card import load_card

PROG = "python -m bench data check"


@dataclass(frozen=True)
class CheckFlags:
    """Name everything that is wrong with a card."""

    card: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CARD")]
    """The card, a TOML file."""


def command(argv: Sequence[str]) -> int:
    """Check one card.

    Raises:
        ConfigError: something is wrong with it.
    """
    flags = tyro.cli(CheckFlags, args=list(argv), prog=PROG, config=(tyro.conf.HelptextFromCommentsOff,))
    card = load_card(flags.card)
    fields = max((len(layout.fields) for layout in card.layouts), default=0)
    sys.stdout.write(f"{flags.card}: fine: {fields} fields\n")
    return 0
