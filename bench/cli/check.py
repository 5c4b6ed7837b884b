"""``python -m bench check``: does a method or backbone keep the contract, and if not, what is to be changed?"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from bench import plugins
from bench.errors import ConfigError
from bench.params import parse_spec
from bench.plugin_files import PluginError, read_plugins

if TYPE_CHECKING:
    from bench.checks.verdict import Examined, Verdict

PROG = "python -m bench check"
_WIDTH = 100
_INDENT = " " * 8


@dataclass(frozen=True)
class CheckConfig:
    """Hold methods and backbones to the contract: a line a rule, and what to change where one is broken.

    Everything runs on 2,000 generated rows, in seconds. Exit status 1 where a rule is broken.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Methods or backbones, with parameters in brackets; by default those of --plugin."""
    plugin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of a method or backbone of your own; may be repeated."""
    backbone: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Backbone that methods are run on, the first of `python -m bench list backbones` by default; may be repeated."""


def command(argv: Sequence[str]) -> int:
    """Check and print.

    Raises:
        ConfigError: an unknown name or parameter, or a file that cannot be read.
    """
    config = tyro.cli(CheckConfig, args=list(argv), prog=PROG)
    if not config.names and not config.plugin:
        raise ConfigError("name a method or backbone to check, or give its file: --plugin FILE.py.")
    plugins.check_layout()
    start, broken, told = time.perf_counter(), 0, 0
    for found in _examined(config):
        sys.stdout.write(f"{_text(found)}\n\n")
        sys.stdout.flush()
        broken += sum(bool(verdict.faults) for verdict in found.verdicts)
        told += len(found.verdicts)
    seconds = time.perf_counter() - start
    kept = f"all {told} rules kept" if told else "nothing was judged"
    outcome = f"{broken} of {told} rules broken" if broken else kept
    sys.stdout.write(f"{outcome}, in {seconds:.0f} s\n")
    return 1 if broken else 0


def _examined(config: CheckConfig) -> Iterator[Examined]:
    from bench.checks.plugin import examine  # noqa: PLC0415 - loads torch, which --help does not need
    from bench.checks.verdict import unusable  # noqa: PLC0415

    names, unloaded = list(config.names), set()
    for file in read_plugins(config.plugin):
        try:
            plugins.add_files([file])
        except PluginError as error:
            unloaded.add(file.name)
            yield unusable(file.name, str(error))
        if not config.names:
            names.append(file.name)
    for name in names:
        _refuse_dataset(name)
        if parse_spec(name).name not in unloaded:
            yield from examine(name, config.backbone)


def _refuse_dataset(name: str) -> None:
    from bench.datasets import datasets  # noqa: PLC0415

    spec = parse_spec(name)
    if spec.name.endswith(".toml") or spec.name in datasets().names():
        raise ConfigError(f"{name} is a data set; this command checks methods and backbones, and `data check` cards.")


def _text(found: Examined) -> str:
    if found.skipped is not None:
        return f"{found.title}: not run, the method says why: {found.skipped}"
    return "\n".join([found.title, *(_line(verdict) for verdict in found.verdicts)])


def _line(verdict: Verdict) -> str:
    from bench.checks.verdict import MENDS  # noqa: PLC0415

    title = verdict.rule.replace("_", " ")
    if not verdict.judged:
        return f"  -     {title}: not judged, it did not come so far"
    if not verdict.faults:
        return f"  ok    {title}"
    lines = [f"  FAIL  {title}"]
    for fault in verdict.faults:
        lines += [part for text in fault.splitlines() for part in _wrapped(text)]
    return "\n".join([*lines, *_wrapped(f"mend: {MENDS[verdict.rule]}")])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    ) or [""]
