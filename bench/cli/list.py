"""``python -m bench list``: what can be named on the command line. Reads tables, imports no plug-in."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from bench import plugins
from bench.errors import ConfigError
from bench.plugin_files import read_plugins
from bench.registry import Registry
from bench.run.config import experiment_names, experiment_title

Section = Literal["all", "methods", "backbones", "datasets", "experiments", "runs"]


_PIPED = 100
"""Letters in a line of the catalogue where no terminal says how many."""


@dataclass(frozen=True)
class ListArgs:
    """Show what can be named on the command line."""

    section: tyro.conf.Positional[Section] = "all"
    """What to show."""
    data_dir: Path = Path("data")
    """Folder of the encoded data sets."""
    long: bool = False
    """Show of every method what is known of it: paper, what it selects and costs, variants, departures, how it stands
    on planted data. Imports the methods."""
    format: Literal["terminal", "markdown"] = "terminal"
    """With --long: blocks for the terminal, or the document methods/CATALOGUE.md."""
    runs: Path = Path("results/runs")
    """Folder of the run folders."""
    plugin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of a method or backbone of your own, to be listed too; may be repeated."""


def command(argv: Sequence[str]) -> int:
    """Print one section, or all."""
    args = tyro.cli(ListArgs, args=list(argv), prog="python -m bench list")
    plugins.check_layout()
    plugins.add_files(read_plugins(args.plugin))
    if args.long or args.format != "terminal":
        sys.stdout.write(_catalogue(args))
        return 0
    sections: dict[str, Callable[[ListArgs], Iterable[tuple[str, str]]]] = {
        "methods": _methods,
        "backbones": _backbones,
        "datasets": _datasets,
        "experiments": _experiments,
        "runs": _runs,
    }
    chosen = sections if args.section == "all" else {args.section: sections[args.section]}
    for name, rows in chosen.items():
        found = list(rows(args))
        width = max((len(key) for key, _ in found), default=0)
        lines = [f"  {key:<{width}}  {text}".rstrip() for key, text in found] or ["  none yet"]
        sys.stdout.write("\n".join([name, *lines, ""]) + "\n")
    return 0


def _catalogue(args: ListArgs) -> str:
    if args.section != "methods" or not args.long:
        raise ConfigError("--long and --format show methods: python -m bench list methods --long [--format markdown].")
    from bench.catalogue import blocks  # noqa: PLC0415 - imports all methods
    from bench.catalogue.facts import facts  # noqa: PLC0415
    from bench.catalogue.standing import standings  # noqa: PLC0415

    if args.format == "markdown":
        return blocks.markdown(facts(), standings())
    return blocks.terminal(facts(), standings(), shutil.get_terminal_size((_PIPED, 24)).columns)


def _methods(args: ListArgs) -> Iterable[tuple[str, str]]:
    known = plugins.methods()
    for name in known.names():
        entry = known.entry(name)
        paper = ", in the paper" if entry.paper else ""
        yield name, f"{entry.title}: {entry.family}, {entry.granularity}{paper}  [{known.origin(name)}]"
    yield from _broken(known)


def _backbones(args: ListArgs) -> Iterable[tuple[str, str]]:
    known = plugins.backbones()
    for name in known.names():
        yield name, f"{known.entry(name).title}  [{known.origin(name)}]"
    yield from _broken(known)


def _datasets(args: ListArgs) -> Iterable[tuple[str, str]]:
    from bench.datasets import datasets  # noqa: PLC0415

    known = datasets()
    for name in known.names():
        entry = known.entry(name)
        ready = "prepared" if (args.data_dir / name / "manifest.json").exists() else "not prepared"
        terms = ", a person accepts its terms" if entry.access == "terms" else ""
        yield name, f"{entry.title}: {ready}{terms}"
    yield from _own_stores(args.data_dir, known.names())
    yield from _broken(known)


def _own_stores(data_dir: Path, registered: Sequence[str]) -> Iterable[tuple[str, str]]:
    """What was prepared from cards of one's own, under the title of the card."""
    for path in sorted(data_dir.glob("*/manifest.json")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # no store; the commands that need one say so
        name = manifest.get("name") if isinstance(manifest, dict) else None
        if isinstance(name, str) and name not in registered:
            yield path.parent.name, f"{manifest.get('title', name)}: prepared, from a card of your own"


def _broken(known: Registry[Any]) -> Iterable[tuple[str, str]]:
    for plugin in known.broken:
        indented = plugin.traceback.strip().replace("\n", "\n      ")
        yield plugin.name, f"BROKEN ({plugin.origin}): {plugin.reason}\n      {indented}".rstrip()


def _experiments(args: ListArgs) -> Iterable[tuple[str, str]]:
    for name in experiment_names():
        yield name, experiment_title(name)


def _runs(args: ListArgs) -> Iterable[tuple[str, str]]:
    for folder in sorted(args.runs.glob("*/")):
        cells = len(list((folder / "cells").glob("*.json")))
        if cells or (folder / "run.toml").exists():
            yield str(folder), f"{cells} cells"
