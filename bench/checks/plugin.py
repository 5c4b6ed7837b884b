"""Everything that is checked of one name: a method under its own rule and under a field budget, or a backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import plugins
from bench.checks.backbone import examine_backbone
from bench.checks.method import examine_method
from bench.checks.verdict import ContractError, Examined
from bench.errors import ConfigError, suggest
from bench.params import Spec, parse_spec
from bench.plugin_files import read_plugin
from bench.run.grid import budgets_of

__all__ = ["check_plugin", "examine"]


def examine(text: str, backbones: Sequence[str] = ()) -> Iterator[Examined]:
    """Check the method or backbone ``text``, parameters in brackets, piece by piece.

    Args:
        text: a registered name.
        backbones: what a method is run on; by default the first of the registry.

    Raises:
        ConfigError: nobody has that name, or it has no such parameter.
    """
    spec, methods, nets = parse_spec(text), plugins.methods(), plugins.backbones()
    broken = {plugin.name for plugin in (*methods.broken, *nets.broken)}
    if spec.name not in (*methods.names(), *nets.names(), *broken):
        known = [*methods.names(), *nets.names()]
        raise ConfigError(
            f"{spec.name!r} is no method or backbone that is known here.{suggest(spec.name, known)} "
            "One in a file of its own: --plugin FILE.py."
        )
    if spec.name in nets.names():
        yield examine_backbone(text)
        return
    others = budgets_of(methods.entry(spec.name))[1:]
    forms = [spec]
    if "field" in others and "budget" not in spec.given:
        forms.append(Spec(spec.name, spec.given | {"budget": "field"}))
    for net in backbones or nets.names()[:1]:
        for form in forms:
            yield examine_method(form.label, net)


def check_plugin(path: str | Path, params: str = "", backbones: Sequence[str] = ()) -> None:
    """Load a method or backbone from its file and hold it to its contract.

    Args:
        path: the Python file.
        params: its parameters, ``param=value,...``.
        backbones: what a method is run on; by default the first of the registry.

    Raises:
        ContractError: it breaks a rule.
        ConfigError: the file cannot be used, or there is no such parameter.
    """
    file = read_plugin(str(path))
    plugins.add_files([file])
    faults = [
        f"- {found.title}: {fault}"
        for found in examine(f"{file.name}[{params}]" if params else file.name, backbones)
        for fault in found.faults
    ]
    if faults:
        lines = "\n".join(faults)
        raise ContractError(f"{path} breaks the contract:\n{lines}")
