"""``python -m bench data COMMAND``: commands about a table, one file each; this one finds them by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from bench.cli.ending import EXIT_USER_ERROR
from bench.errors import UserError, suggest

COMMANDS = {
    "init": "look at a raw table and write its card",
    "check": "name everything that is wrong with a card",
    "describe": "show what is in the fields of a prepared data set",
}
"""The commands of this group, each in ``bench/cli/data_NAME.py`` with a ``command(argv)`` that returns its status."""

USAGE = """usage: python -m bench data COMMAND [flags]

Your own table: from a raw file to a card, and what is in it.

commands:
{commands}

`python -m bench data COMMAND --help` explains the flags.
"""


def command(argv: Sequence[str]) -> int:
    """Run one command of the group."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        commands = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
        sys.stdout.write(USAGE.format(commands=commands))
        return 0 if argv else EXIT_USER_ERROR
    name = argv[0]
    if name not in COMMANDS:
        raise UserError(f"command 'data {name}' is unknown.{suggest(name, COMMANDS)}")
    module = importlib.import_module(f"bench.cli.data_{name}")
    return int(module.command([*argv[1:]]))
