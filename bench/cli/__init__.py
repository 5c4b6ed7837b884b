"""The command line: ``python -m bench COMMAND``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from bench import environment
from bench.cli.ending import EXIT_PIPE, EXIT_USER_ERROR, end
from bench.cli.output import Output
from bench.cli.signals import caught, end_quietly
from bench.errors import UserError, suggest

COMMANDS = {
    "run": "compare methods: select, train, evaluate, record, tabulate",
    "advise": "say which fields can be dropped, what that costs and what it saves",
    "prepare": "turn a raw file into an encoded data set",
    "data": "from a raw table to a card, and what is wrong with one",
    "report": "write the tables and figures of a run, or of several together",
    "merge": "make one run folder of several, of several machines for example",
    "submit": "pack a run as one file that others can check and compare with",
    "publish": "make a static site of bundles",
    "export": "write the model of a cell as a folder that scores raw rows without this suite",
    "score": "score the rows of a raw table with an exported model",
    "explain": "from a printed number back to its cells, settings, versions and command",
    "speed": "measure how fast every stage is on this machine, and against its limits",
    "verify": "compute the numbers of a run anew from kept predictions, or train cells again",
    "evidence": "write the results page of recorded runs: a figure, a table and a sentence a question",
    "rounding": "repeat a run under other roundings, and mark the methods that answer to that",
    "new": "write a method, backbone or data set of your own, with a test that passes",
    "check": "does a method or backbone keep the contract, and what is to be changed",
    "list": "show methods, backbones, datasets, experiments, runs",
}

USAGE = """usage: python -m bench COMMAND [flags]

Which input fields of a click model can be dropped, by which method, and what does it cost or save?

commands:
{commands}

`python -m bench COMMAND --help` explains the flags; `python -m bench run` needs no data at hand.
"""

_KEPT = {
    "run": "finished cells are kept, the same command goes on from here",
    "advise": "finished cells are kept, the same command goes on from here",
    "prepare": "the data folder is as it was, the same command begins anew",
    "report": "the files that were written are whole, the same command writes the rest",
    "rounding": "finished cells of the repetitions are kept, the same command goes on from here",
    "evidence": "the files that were written are whole, the same command writes the rest",
    "speed": "measurements are not kept, the same command begins anew",
}
"""What is left of a command that was ended, and how to go on."""
_KEPT_ELSE = "nothing was changed, the same command shows all"


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit status.

    0 fine, 1 a cell failed, 2 bad input or a place that cannot be used, 70 a fault of the suite, 128 + n ended by
    signal n.
    """
    command = argv[0] if argv else ""
    with caught() as signals, redirect_stdout(Output(sys.stdout)) as output:
        try:
            try:
                return _run(argv)
            finally:
                output.flush()
        except SystemExit:  # the flag parser's own way out
            raise
        except BrokenPipeError:  # whoever read along has seen enough
            output.discard()
            return EXIT_PIPE
        except BaseException as error:  # whatever it is, the user gets a line
            signals.closing = True
            return end(error, command, _KEPT.get(command, _KEPT_ELSE), signals.number)


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        commands = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
        sys.stdout.write(USAGE.format(commands=commands))
        return 0 if argv else EXIT_USER_ERROR
    command = argv[0]
    environment.let_waiting_threads_sleep()
    if command not in COMMANDS:
        raise UserError(f"command {command!r} is unknown.{suggest(command, COMMANDS)}")
    module = importlib.import_module(f"bench.cli.{command}")
    return int(module.command([*argv[1:]]))


def entry() -> None:
    """Console script, and ``python -m bench``."""
    end_quietly()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    sys.exit(main(sys.argv[1:]))
