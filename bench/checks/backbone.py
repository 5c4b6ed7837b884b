"""The rules of a backbone: what the harness and every method rely on."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import plugins
from bench.checks.example import PROFILE
from bench.checks.manners import undocumented
from bench.checks.method import examine_method
from bench.checks.verdict import ContractError, Examined, Verdict, unusable
from bench.engine.backbone import Backbone, draw_layers
from bench.registry import BackboneEntry
from bench.run.context import BackboneChoice
from bench.run.job import resolve_backbone

__all__ = ["RULES", "check_backbone", "examine_backbone"]

F, D, B = 6, 4, 11
KEPT = ([0], [5], [1, 4], [0, 2, 3, 5], list(range(F)))
EXACT, SAME = 1e-10, 1e-12
"""Largest difference of logits, of order one and in float64, of a slice and of one row."""


@dataclass
class Subject:
    """A backbone with its parameters, and rows of normal numbers for it."""

    choice: BackboneChoice

    def build(self, n_fields: int = F, shaken: bool = True) -> Backbone[Any]:
        """The backbone in float64 and evaluation mode; ``shaken``: no weight is as it starts, so that biases count."""
        made: Backbone[Any] = self.choice.cls(n_fields, D, self.choice.params).double().eval()
        draw_layers(made, backbone="checks", seed=0)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in made.parameters() if shaken else ():
                weight.add_(torch.randn(weight.shape, generator=draw, dtype=torch.float64) / 4)
        return made

    @cached_property
    def whole(self) -> Backbone[Any]:
        return self.build()

    def rows(self) -> tuple[Tensor, Tensor | None]:
        """Embeddings [B, F, D] and, for a backbone that reads them, linear weights [B, F]."""
        draw = torch.Generator().manual_seed(2)
        e = torch.randn(B, F, self.whole.dim, generator=draw, dtype=torch.float64)
        linear = torch.randn(B, F, generator=draw, dtype=torch.float64)
        return e, linear if self.whole.uses_linear else None


Rule = Callable[[Subject], Iterator[str]]


def documents_its_parameters(subject: Subject) -> Iterator[str]:
    yield from undocumented(subject.choice.cls.Params)


def gives_its_parameters(subject: Subject) -> Iterator[str]:
    """``defaults`` makes them, and JSON can hold them."""
    cls, params = subject.choice.cls, subject.choice.params
    if not isinstance(params, cls.Params):
        yield f"defaults returned {type(params).__name__}; wanted {cls.Params.__name__}"
        return
    values = asdict(params)  # type: ignore[call-overload]
    for name, value in json.loads(json.dumps(values)).items():
        if (tuple(value) if isinstance(value, list) else value) != values[name]:
            yield f"the parameter {name} does not come back from JSON as it was: {values[name]!r}"


def scores_rows(subject: Subject) -> Iterator[str]:
    """One finite logit a row."""
    logits = subject.whole(*subject.rows())
    if logits.shape != (B,):
        yield f"forward returns shape {tuple(logits.shape)} for {B} rows; wanted ({B},)"
    elif not torch.isfinite(logits).all():
        yield "forward returns logits that are not finite"


def scores_rows_one_by_one(subject: Subject) -> Iterator[str]:
    e, linear = subject.rows()
    together = subject.whole(e, linear)
    alone = torch.cat([subject.whole(e[i : i + 1], None if linear is None else linear[i : i + 1]) for i in range(B)])
    if not _close(alone, together, SAME):
        yield f"in evaluation a row's logit changes by up to {_gap(alone, together):.2g} with the rows beside it"


def draws_no_weights_of_its_own(subject: Subject) -> Iterator[str]:
    """Under another global random state the weights are the same."""
    states = random.getstate(), np.random.get_state()
    made = []
    with torch.random.fork_rng(devices=[]):
        for number in (0, 1):
            torch.manual_seed(number)
            random.seed(number)
            np.random.seed(number)
            made.append(subject.build(shaken=False).state_dict())
    random.setstate(states[0])
    np.random.set_state(states[1])
    for name, weight in made[0].items():
        if not torch.equal(weight, made[1][name]):
            yield f"{name} differs between two models of one seed"


def leaves_inputs_unchanged(subject: Subject) -> Iterator[str]:
    given, before = subject.rows(), subject.rows()
    subject.whole(*given)
    for name, now, old in zip(("e", "linear"), given, before, strict=True):
        if now is not None and old is not None and not torch.equal(now, old):
            yield f"forward changes {name}"


def reads_every_field(subject: Subject) -> Iterator[str]:
    e, linear = subject.rows()
    inputs = {"embedding": e.requires_grad_(), "linear weight": None if linear is None else linear.requires_grad_()}
    logits = subject.whole(e, linear)
    for name, given in inputs.items():
        if given is None or not given.numel():
            continue
        (gradient,) = torch.autograd.grad(logits.sum(), given, retain_graph=True, allow_unused=True)
        flat = torch.zeros(F) if gradient is None else gradient.abs().sum(0).reshape(F, -1).sum(1)
        if unread := (flat == 0).nonzero().flatten().tolist():
            yield f"the {name} of the fields {unread} changes no logit"


def slices_to_the_same_scores(subject: Subject) -> Iterator[str]:
    """A slice equals the whole with embeddings and linear weights of the dropped fields zero, also in two steps."""
    e, linear = subject.rows()
    for kept in KEPT:
        opened = torch.zeros(F, dtype=torch.float64)
        opened[kept] = 1
        wanted = subject.whole(e * opened[:, None], None if linear is None else linear * opened)
        part, between = None if linear is None else linear[:, kept], sorted({*kept, 3})
        once = subject.whole.slice_fields(kept)
        twice = subject.whole.slice_fields(between).slice_fields([between.index(field) for field in kept])
        if once.n_fields != len(kept):
            yield f"slice_fields({kept}) has n_fields = {once.n_fields}; wanted {len(kept)}"
            return
        for small, how in ((once, ""), (twice, ", in two steps,")):
            got = small(e[:, kept], part)
            if not _close(got, wanted, EXACT):
                gap = f"{_gap(got, wanted):.2g}" if got.shape == wanted.shape else f"shape {tuple(got.shape)}"
                yield f"slice_fields({kept}){how} differs from the whole with the other fields zero: {gap}"
                return


def absorbs_constants(subject: Subject) -> Iterator[str]:
    """A backbone that says so takes constants into its biases and gives what it gave with them added to each row."""
    if not subject.whole.absorbs:
        return
    e, linear = subject.rows()
    shift, by_weight = e[0].clone(), None if linear is None else linear[0].clone()
    moved = copy.deepcopy(subject.whole)
    moved.absorb(shift, by_weight)
    with torch.no_grad():
        wanted = subject.whole(e + shift, None if linear is None or by_weight is None else linear + by_weight)
        got = moved(e, linear)
    if not _close(got, wanted, EXACT):
        yield f"absorb differs from constants added to every row: {_gap(got, wanted):.2g}"


def slices_are_copies(subject: Subject) -> Iterator[str]:
    before = {name: weight.clone() for name, weight in subject.whole.state_dict().items()}
    small = subject.whole.slice_fields([1, 4])
    with torch.no_grad():
        for weight in small.parameters():
            weight.add_(1.0)
    changed = [name for name, weight in subject.whole.state_dict().items() if not torch.equal(weight, before[name])]
    if changed:
        for name, weight in subject.whole.state_dict().items():
            weight.copy_(before[name])
        yield f"a slice shares {', '.join(changed)} with the whole backbone"


def methods_keep_the_contract(subject: Subject) -> Iterator[str]:
    """A method that keeps all fields and one that drops some run on it as they should."""
    known = plugins.methods()
    for family in ("baseline", "control"):
        name = next(name for name in known.names() if known.entry(name).family == family)
        yield from examine_method(name, subject.choice.label).faults


RULES: tuple[Rule, ...] = (
    documents_its_parameters,
    gives_its_parameters,
    scores_rows,
    scores_rows_one_by_one,
    draws_no_weights_of_its_own,
    leaves_inputs_unchanged,
    reads_every_field,
    slices_to_the_same_scores,
    absorbs_constants,
    slices_are_copies,
    methods_keep_the_contract,
)


def check_backbone(backbone: str | BackboneEntry) -> None:
    """Hold a backbone to what methods and the harness rely on: a registered one, or the entry of one that is not.

    Raises:
        ContractError: it breaks a rule.
        ConfigError: an unknown name or parameter.
    """
    found = examine_backbone(backbone if isinstance(backbone, str) else _registered(backbone))
    if found.faults:
        lines = "\n".join(f"- {fault}" for fault in found.faults)
        raise ContractError(f"{found.title} breaks the contract of a backbone:\n{lines}")


def _registered(entry: BackboneEntry) -> str:
    """The name of an entry that this process knows from now on."""
    name = re.sub(r"[^a-z0-9]+", "-", entry.title.lower()).strip("-")
    if name not in plugins.backbones().names():
        plugins.backbones().add(name, entry, entry.target, {})
    return name


def examine_backbone(backbone: str) -> Examined:
    """The same of a registered one, parameters in brackets, and tell of every rule what came out.

    Raises:
        ConfigError: an unknown name or parameter.
    """
    choice = resolve_backbone(backbone, PROFILE)
    if choice.error:
        return unusable(choice.label, f"backbone cannot be imported:\n{choice.error.strip()}")
    subject, found = Subject(choice), list[Verdict]()
    for rule in RULES:
        broken = any(verdict.faults for verdict in found)
        if rule is methods_keep_the_contract and broken:
            found.append(Verdict(rule.__name__, judged=False))
        else:
            found.append(Verdict(rule.__name__, tuple(_faults(rule, subject))))
    return Examined(choice.label, tuple(found))


def _faults(rule: Rule, subject: Subject) -> list[str]:
    try:
        return list(rule(subject))
    except Exception as error:  # a plug-in may fail in any way
        return [f"{type(error).__name__}: {error}"]


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=tolerance)
