"""Run the cells that the rules need, and judge them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from bench import plugins
from bench.checks.evidence import Evidence, Rule
from bench.checks.example import PROFILE, bucketed, example_data, on_terms, shuffled
from bench.checks.rules import RULES, STATIC, alive_after
from bench.checks.verdict import ContractError, Examined, Verdict, unusable
from bench.checks.watch import watch
from bench.registry import MethodEntry
from bench.rows.load import LoadedData
from bench.run.context import BackboneChoice
from bench.run.grid import MethodChoice, alone, choose_method
from bench.run.job import resolve_backbone

__all__ = ["Checked", "check_method", "examine_method"]

OTHER_TAUS = (0.75, 0.0)


@dataclass(frozen=True)
class Checked:
    """A method without a fault."""

    rules: tuple[str, ...]
    """Names of the rules it was held to."""
    skipped: str | None = None
    """The method's own reason not to run on this backbone; then no rule was applied."""


def check_method(
    method: str | MethodEntry, backbone: str | None = None, *, params: str = "", data: LoadedData | None = None
) -> Checked:
    """Hold a method to the contract, in half a dozen short cells.

    Args:
        method: a registered method as on the command line, ``name`` or ``name[param=value,...]``, or the entry of one
            that is not registered.
        backbone: a registered backbone, parameters in brackets; by default the first of the registry.
        params: parameters of an entry, ``param=value,...``.
        data: rows to run on; by default 2,000 generated ones.

    Raises:
        ContractError: the method breaks a rule.
        ConfigError: an unknown name or parameter.
    """
    found = examine_method(method, backbone, params=params, data=data)
    if found.skipped is not None:
        return Checked((), found.skipped)
    if found.faults:
        lines = "\n".join(f"- {fault}" for fault in found.faults)
        raise ContractError(f"{found.title} breaks the contract of a method:\n{lines}")
    return Checked(tuple(verdict.rule for verdict in found.verdicts))


def examine_method(
    method: str | MethodEntry, backbone: str | None = None, *, params: str = "", data: LoadedData | None = None
) -> Examined:
    """Hold a method to the contract, as ``check_method``, and tell of every rule what came out.

    Raises:
        ConfigError: an unknown name or parameter.
    """
    choice = _choose(method, params)
    net = resolve_backbone(backbone or plugins.backbones().names()[0], PROFILE)
    title = f"{choice.label} on {net.label}"
    for kind, broken in (("method", choice.error), ("backbone", net.error)):
        if broken:
            return unusable(title, f"{kind} cannot be imported:\n{broken.strip()}")
    rows = example_data() if data is None else data
    evidence = _gather(choice, net, rows if choice.entry.reads_numbers else bucketed(rows))
    record = evidence.base.record
    if record is not None and record.status == "skipped" and evidence.base.selection is None:
        return Examined(title, (), record.reason)
    return Examined(title, tuple(_judged(rule, evidence) for rule in RULES))


def _judged(rule: Rule, evidence: Evidence) -> Verdict:
    faults = _faults(rule, evidence)
    return Verdict(rule.__name__, tuple(faults), bool(faults) or evidence.base.ok or rule in STATIC)


def _faults(rule: Rule, evidence: Evidence) -> list[str]:
    try:
        return list(rule(evidence))
    except Exception as error:  # a plug-in may fail in any way, in its constructor too
        return [f"{type(error).__name__}: {error}"]


def _choose(method: str | MethodEntry, params: str) -> MethodChoice:
    if isinstance(method, str):
        return alone(choose_method(f"{method}[{params}]" if params else method))
    name = re.sub(r"[^a-z0-9]+", "-", method.title.lower()).strip("-")
    return choose_method(f"{name}[{params}]", method)


def _gather(choice: MethodChoice, net: BackboneChoice, data: LoadedData) -> Evidence:
    tau = 0.5 if choice.entry.uses_tau else None
    base = watch(choice, net, data, tau, seed=0)
    evidence = Evidence(choice, data.schema.n_fields, base, alive=alive_after(base))
    if not base.ok:  # the rest would fail in the same way
        return evidence
    evidence.again = watch(choice, net, data, tau, seed=0, scramble=1)
    evidence.other_seed = watch(choice, net, data, tau, seed=1)
    if tau is not None and choice.budget == "field":
        evidence.other_taus = [watch(choice, net, data, other, seed=0) for other in OTHER_TAUS]
        terms = on_terms(data)
        evidence.terms, evidence.cardinalities = terms.field_terms, tuple(terms.schema.cardinalities.tolist())
        evidence.on_terms = watch(replace(choice, budget_by="cost"), net, terms, tau, seed=0)
    if choice.entry.scores == "select" and "backbone" not in evidence.make().axes():
        evidence.other_backbone = watch(choice, _another(net), data, tau, seed=0, select_only=True)
    if choice.budget == "field":
        evidence.own_rule = watch(replace(choice, budget="native"), net, data, tau, seed=0)
    if data.schema.numeric_fields and base.ranking is not None:
        evidence.other_numbers = watch(choice, net, shuffled(data, numbers=True), tau, seed=0)
        if evidence.other_numbers.ranking is not None and np.array_equal(evidence.other_numbers.ranking, base.ranking):
            evidence.other_ids = watch(choice, net, shuffled(data, numbers=False), tau, seed=0)
    return evidence


def _another(net: BackboneChoice) -> BackboneChoice:
    """A registered backbone other than ``net``."""
    return resolve_backbone(next(name for name in plugins.backbones().names() if name != net.name), PROFILE)
