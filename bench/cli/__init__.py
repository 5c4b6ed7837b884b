"""The command line: ``python -m bench COMMAND``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError, printable, suggest

COMMANDS = {
    "run": "compare methods: select, train, evaluate, record, tabulate",
    "prepare": "turn a raw file into an encoded data set",
    "report": "write the tables and figures of a run",
    "explain": "from a printed number back to its cells, settings, versions and command",
    "speed": "measure how fast every stage is on this machine, and against its limits",
    "list": "show methods, backbones, datasets, experiments, runs",
}

USAGE = """usage: python -m bench COMMAND [flags]

Which input fields of a click model can be dropped, by which method, and what does it cost or save?

commands:
{commands}

`python -m bench COMMAND --help` explains the flags; `python -m bench run` needs no data at hand.
"""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit status: 0 fine, 1 a cell failed, 2 bad input, 130 interrupted."""
    commands = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE.format(commands=commands))
        return 0 if argv else EXIT_USER_ERROR
    command = argv[0]
    try:
        if command not in COMMANDS:
            raise UserError(f"command {command!r} is unknown.{suggest(command, COMMANDS)}")
        module = importlib.import_module(f"bench.cli.{command}")
        return int(module.command([*argv[1:]]))
    except UserError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return EXIT_USER_ERROR
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG or error.filename is None:
            raise
        name = max(Path(os.fsdecode(error.filename)).parts, key=lambda part: len(part.encode()))
        what = f"a name of {len(name.encode())} bytes is too long for a file here; choose a shorter one."
        sys.stderr.write(f"error: {printable(name[:40])}…: {what}\n")
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished cells are kept, the same command goes on from here\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def entry() -> None:
    """Console script, and ``python -m bench``."""
    sys.exit(main(sys.argv[1:]))
