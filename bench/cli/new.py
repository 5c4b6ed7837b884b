"""``python -m bench new``: a method, backbone or data set of one's own, as files that work at once."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Literal

import tyro

from bench import api, plugins
from bench.datasets import datasets
from bench.errors import ConfigError, StorageError
from bench.files import write_atomically
from bench.registry import Registry

PROG = "python -m bench new"
What = Literal["method", "backbone", "dataset"]
Kind = Literal["shallow", "field", "value", "per-sample"]
Form = Literal["auto", "checkout", "file", "package"]
_TEMPLATES = Path(__file__).parents[1] / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_DECLARED: dict[Kind, tuple[str, ...]] = {
    "shallow": ('family="shallow"', 'depends_on=frozenset({"seed"})'),
    "field": ('depends_on=frozenset({"backbone", "seed"})',),
    "value": ('granularity="value"', "uses_tau=False"),
    "per-sample": ('scores="train"', "per_sample=True", "uses_tau=False"),
}
"""What the registry is told of a method of each kind."""


@dataclass(frozen=True)
class NewConfig:
    """Write a method, backbone or data set of your own, and its test, which passes as it is.

    In a checkout of the suite: a file in methods/, backbones/ or bench/datasets/, its line in the table there, a test
    in tests/. Elsewhere: one file that `--plugin FILE.py` loads (a card, for a data set), its test beside it. What is
    there is never overwritten.
    """

    what: tyro.conf.Positional[What]
    """method, backbone or dataset."""
    name: tyro.conf.Positional[str]
    """Its name on the command line: small letters, digits and single dashes, e.g. my-method."""
    kind: Kind | None = None
    """Of a method: shallow (the default) ranks fields without a model, field learns a gate a field, value drops single
    values, per-sample weighs the fields of every row."""
    form: Form = "auto"
    """checkout, file or package (a folder with pyproject.toml and entry point); auto: checkout where the folder is one,
    else file."""
    to: Path = Path()
    """Folder to write into."""


@dataclass(frozen=True)
class Plan:
    """Files to write, by path, lines to add to tables, and what to do next."""

    files: dict[Path, str]
    tables: dict[Path, str]
    """An entry by the file of its table."""
    after: tuple[str, ...]


def command(argv: Sequence[str]) -> int:
    """Write the files and say what comes next.

    Raises:
        ConfigError: the name cannot be used, or something is there already.
        StorageError: a file cannot be written.
    """
    config = tyro.cli(NewConfig, args=list(argv), prog=PROG)
    names = Names(config.name, config.what)
    form = _form(config)
    _check_kind(config)
    names.check(importable=form != "checkout" and config.what != "dataset")
    plan = _planned(config, names, form)
    _write(plan)
    for path in (*plan.files, *plan.tables):
        sys.stdout.write(f"{'wrote' if path in plan.files else 'added a line to'} {path}\n")
    sys.stdout.write("\n" + "".join(f"{line}\n" for line in plan.after))
    return 0


@dataclass(frozen=True)
class Names:
    """One name in its spellings."""

    name: str
    what: What

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def cls(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def title(self) -> str:
        return " ".join(part.capitalize() for part in self.name.split("-"))

    def check(self, importable: bool) -> None:
        """Make sure that the name can be one of a file, of a class and on the command line.

        Args:
            importable: whether the file lies where it could hide another module of its name.

        Raises:
            ConfigError: it cannot, or it is taken.
        """
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name={self.name!r} cannot be used: it needs small letters, digits and single dashes, beginning with "
                "a letter, as in my-method."
            )
        tables: dict[What, Registry[Any]] = {
            "method": plugins.methods(),
            "backbone": plugins.backbones(),
            "dataset": datasets(),
        }
        known = tables[self.what]
        if self.name in known.names():
            raise ConfigError(
                f"the {known.kind} {self.name!r} is there already ({known.origin(self.name)}); choose another name."
            )
        if keyword.iskeyword(self.module) or keyword.issoftkeyword(self.module):
            raise ConfigError(f"name={self.name!r} is a word of Python; choose another name.")
        if self.name in ("all", "paper") or self.name.startswith("test-"):
            raise ConfigError(f"name={self.name!r} means something else here; choose another name.")
        if self.cls in api.__all__ or f"{self.cls}Params" in api.__all__:
            raise ConfigError(
                f"name={self.name!r} makes the class {self.cls}, which bench.api has; choose another name."
            )
        if importable and importlib.util.find_spec(self.module) is not None:
            raise ConfigError(
                f"name={self.name!r} makes the module {self.module}, which Python has; choose another name."
            )


def _form(config: NewConfig) -> Form:
    """The form that is written."""
    is_checkout = all(
        (config.to / place).is_file() for place in ("methods/__init__.py", "bench/plugins.py", "Makefile")
    )
    if config.form == "checkout" and not is_checkout:
        raise ConfigError(
            f"form=checkout: {config.to.resolve()} is no checkout of the suite; give it with --to, or leave form out."
        )
    if config.form == "package" and config.what == "dataset":
        raise ConfigError("form=package: a data set is one card, which needs no package; leave form out.")
    if not config.to.is_dir():
        raise ConfigError(f"to={config.to} is no folder; make it first, or choose another.")
    return config.form if config.form != "auto" else "checkout" if is_checkout else "file"


def _check_kind(config: NewConfig) -> None:
    if config.kind is not None and config.what != "method":
        raise ConfigError(f"kind={config.kind} is for methods; leave it out for a {config.what}.")


def _planned(config: NewConfig, names: Names, form: Form) -> Plan:
    if config.what == "dataset":
        return _dataset(config.to, names, form)
    kind = config.kind or "shallow"
    template = "backbone" if config.what == "backbone" else f"method_{kind.replace('-', '_')}"
    entry_kind = "BackboneEntry" if config.what == "backbone" else "MethodEntry"
    declared = () if config.what == "backbone" else _DECLARED[kind]
    return _FORMS[form](config.to, names, Source(template, entry_kind, declared, kind))


@dataclass(frozen=True)
class Source:
    """What a plug-in's files are made of."""

    template: str
    entry_kind: str
    declared: tuple[str, ...]
    """Keywords of the entry."""
    kind: Kind

    def code(self, names: Names, alone: bool) -> str:
        """The plug-in's module; ``alone``: with its entry."""
        text = render(self.template, names, also=f"{self.entry_kind}, " if alone else "")
        target = f'f"{{__name__}}:{names.cls}"'
        return f"{text}\n\nENTRY = {self.entry(names, target)}\n" if alone else text

    def entry(self, names: Names, target: str, indent: str = "") -> str:
        """The entry as code; ``target`` as it is written there."""
        arguments = [target, f'"{names.title}"', *self.declared]
        line = f"{self.entry_kind}({', '.join(arguments)})"
        if len(indent) + len(line) + len("ENTRY = ") <= 100:
            return line
        inside = "".join(f"{indent}    {argument},\n" for argument in arguments)
        return f"{self.entry_kind}(\n{inside}{indent})"


def render(template: str, names: Names, **more: str) -> str:
    """A template filled in."""
    text = (_TEMPLATES / f"{template}.txt" if "." in template else _TEMPLATES / f"{template}.py.txt").read_text(
        encoding="utf-8"
    )
    return Template(text).substitute(
        name=names.name, module=names.module, cls=names.cls, title=names.title, what=names.what, **more
    )


def _in_checkout(to: Path, names: Names, source: Source) -> Plan:
    folder = f"{names.what}s"
    test = to / "tests" / folder / f"test_{names.module}.py"
    specs = [f'"{names.name}"'] + ([] if source.kind in ("shallow", "field") else [f'"{names.name}[budget=field]"'])
    entry = source.entry(names, f'"{folder}.{names.module}:{names.cls}"', indent="    ")
    return Plan(
        {
            to / folder / f"{names.module}.py": source.code(names, alone=False),
            test: render(
                f"test_{names.what}", names, **({"specs": ", ".join(specs)} if names.what == "method" else {})
            ),
        },
        {to / folder / "__init__.py": f'    "{names.name}": {entry},\n'},
        (
            f"python -m bench check {names.name}",
            f"python -m bench run {_flag(names)} {names.name}{_baseline(names)}",
            f"python -m pytest {test}",
            "CONTRIBUTING.md lists what else a change of the suite needs.",
        ),
    )


def _alone(to: Path, names: Names, source: Source) -> Plan:
    file, test = to / f"{names.module}.py", to / f"test_{names.module}.py"
    plugin = f"--plugin {shlex.quote(str(file))}"
    return Plan(
        {file: source.code(names, alone=True), test: render("test_file", names)},
        {},
        (
            f"python -m bench check {plugin}",
            f"python -m bench run {_flag(names)} {names.name}{_baseline(names)} {plugin}",
            f"python -m pytest {shlex.quote(str(test))}",
        ),
    )


def _package(to: Path, names: Names, source: Source) -> Plan:
    home = to / names.name
    entry = source.entry(names, f'"{names.module}.{names.what}:{names.cls}"')
    return Plan(
        {
            home / "pyproject.toml": render("pyproject.toml", names),
            home / names.module / "__init__.py": render(
                "package_init", names, entry_kind=source.entry_kind, entry=entry
            ),
            home / names.module / f"{names.what}.py": source.code(names, alone=False),
            home / "tests" / f"test_{names.module}.py": render("test_package", names),
        },
        {},
        (
            f"python -m pip install -e {shlex.quote(str(home))}",
            f"python -m bench check {names.name}",
            f"python -m bench run {_flag(names)} {names.name}{_baseline(names)}",
            f"python -m pytest {shlex.quote(str(home))}",
        ),
    )


_FORMS = {"checkout": _in_checkout, "file": _alone, "package": _package}


def _dataset(to: Path, names: Names, form: Form) -> Plan:
    """A card, which is a data set of one's own, or in a checkout one that everybody has."""
    inside = form == "checkout"
    card = to / "bench" / "datasets" / f"{names.name}.toml" if inside else to / f"{names.name}.toml"
    test = to / ("tests/datasets" if inside else "") / f"test_{names.module}.py"
    called = names.name if inside else shlex.quote(str(card))
    told = f'CARD = "{names.name}"' if inside else f'CARD = str(Path(__file__).with_name("{names.name}.toml"))'
    line = f'    "{names.name}": DatasetEntry("{names.name}.toml", "{names.title}"),\n'
    return Plan(
        {card: render("dataset.toml", names), test: render("test_dataset", names, card=told)},
        {to / "bench" / "datasets" / "__init__.py": line} if inside else {},
        (
            f"Put the columns of your table into {card}, then:",
            f"python -m bench prepare {called} --raw TABLE",
            f"python -m bench run --datasets {called}",
            f"python -m pytest {shlex.quote(str(test))}",
        ),
    )


def _flag(names: Names) -> str:
    return f"--{names.what}s"


def _baseline(names: Names) -> str:
    """What a method is compared with, by name."""
    known = plugins.methods()
    first = next(name for name in known.names() if known.entry(name).family == "baseline")
    return f" {first}" if names.what == "method" else ""


def _write(plan: Plan) -> None:
    """Write all files or none, the tables last.

    Raises:
        ConfigError: one is there already, or a table is not as expected.
        StorageError: one cannot be written; those that were are removed again.
    """
    for path in plan.files:
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path} is there already, and nothing is overwritten; move it, or choose another name.")
    contents = {**plan.files, **{path: _with_line(path, line) for path, line in plan.tables.items()}}
    done: list[Path] = []
    try:
        for path, text in contents.items():
            with write_atomically(path) as file:
                file.write(text)
            done.append(path)
    except StorageError:
        for path in done:
            path.unlink()
        raise


def _with_line(path: Path, line: str) -> str:
    """The text of a module with ``line`` as the last one of its table.

    Raises:
        ConfigError: the module has no ``TABLE: ... = {...}``.
    """
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "TABLE" and node.end_lineno is not None:
            lines = text.splitlines(keepends=True)
            return "".join([*lines[: node.end_lineno - 1], line, *lines[node.end_lineno - 1 :]])
    raise ConfigError(f"{path} has no TABLE to add a line to; give --form file.")
