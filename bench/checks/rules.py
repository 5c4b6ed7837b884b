"""The rules of the contract, one function each: what it yields are faults, in words.

A rule sees the cells that were run and skips those that did not come far enough; why they did not is a fault of
its own (``runs``).
"""

from __future__ import annotations

import gc
import inspect
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from bench.budget import Budget, n_keep
from bench.checks.evidence import Evidence, Rule
from bench.checks.gates import GateModes
from bench.checks.manners import (
    declares_what_scores_depend_on,
    documents_its_parameters,
    leaves_settings_alone,
    prints_nothing,
)
from bench.checks.watch import Seen

__all__ = ["RULES", "STATIC", "alive_after"]

INIT_S = 0.5
"""CPU seconds that a constructor may take."""
AUC_TOLERANCE = 1e-6
GATE_GAP, GATE_NOISE = 0.3, 1.5
"""How far the mean factors of a gate may lie apart in its two modes: a share of the mean factor, and times the standard
deviation of its own draws. Those of our methods lie at most 0.20 apart without noise, and 1.3 standard deviations with
it; that is a supernet, which draws sizes and is evaluated with all (at most the square root of 3), or a gate that is
evaluated at the likelier of two values (at most 1). A norm that divides by its start comes to 1 and more."""
LEAST_SLOPE, MOST_SLOPE = 0.5, 2.0
"""How differences of a gate's factors may shrink, and without draws grow, from training to evaluation. Ours keep 0.78
to 1.23 of them without draws and 0.93 to 1.6 with draws; a norm that divides by its start leaves 0.01 to 0.3."""

REPLACED_GAP = 0.3
"""How far what a gate that replaces puts in a field's place may differ between its modes, in mean over rows, as a share
of its size: a running mean over batches comes to 0.1, and zero for embeddings that have learned to 0.5 and more."""
TOGETHER = 1e-5
"""What rounding may make of other rows in a batch, as a share of the largest number that leaves a gate."""


class _Calls(TorchFunctionMode):
    """Counts calls of torch functions."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


def constructor_does_no_work(evidence: Evidence) -> Iterator[str]:
    """``__init__`` keeps parameters and entry; nothing is trained, drawn or loaded there."""
    start = time.process_time()
    with _Calls() as calls:
        evidence.make()
    seconds = time.process_time() - start
    if calls.names:
        some = ", ".join(dict.fromkeys(calls.names[:5]))
        yield f"__init__ works: {len(calls.names)} calls of torch functions ({some}); move them to select or train"
    elif seconds > INIT_S:
        yield f"__init__ works: {seconds:.2f} s of CPU time; move it to select or train"


def parameters_are_plain(evidence: Evidence) -> Iterator[str]:
    """The parameters go into records, and to other processes, as JSON; the method keeps those it was given."""
    made, given = evidence.make(), evidence.choice.params
    if made.params != given:
        yield f"__init__ changes the parameters: {made.params} where {given} were given"
    values = {} if given is None else asdict(given)
    back = json.loads(json.dumps(values))
    changed = [name for name, value in values.items() if back[name] != value]
    if changed:
        yield f"the parameter {changed[0]} does not come back from JSON as it was: {values[changed[0]]!r}"


def runs(evidence: Evidence) -> Iterator[str]:
    """Every cell ends ``ok``; on these rows one field tells more than another, so that equal scores are a fault too."""
    reasons: dict[str, str] = {}
    cls = evidence.choice.entry.load()
    for seen in evidence.cells:
        if seen.record is not None and not seen.ok and not seen.reads:
            said = f"{seen.record.status}: {seen.record.reason}{_place(seen.record.traceback, cls)}"
            reasons.setdefault(said, seen.title)
    for reason, title in reasons.items():
        yield f"at {title} the cell ended {reason}"


def _place(trace: str | None, cls: type) -> str:
    """The last line of a traceback that is in the method's own file."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', trace or "")
    own = PurePath(inspect.getfile(cls)).name
    found = [f" ({own}, line {line}, in {name})" for file, line, name in frames if PurePath(file).name == own]
    return found[-1] if found else ""


def leaves_the_test_split_alone(evidence: Evidence) -> Iterator[str]:
    """Nothing of the test split is read before the evaluation."""
    for read in dict.fromkeys(read for seen in evidence.cells for read in seen.reads):
        yield f"{read}: the test split is for the harness alone"


def leaves_rows_unchanged(evidence: Evidence) -> Iterator[str]:
    """The rows belong to all cells of a run."""
    yield from dict.fromkeys(change for seen in evidence.cells for change in seen.changes)


def repeats(evidence: Evidence) -> Iterator[str]:
    """The same seed gives the same selection and the same weights, whatever the global random state."""
    first, again = evidence.base, evidence.again
    if again is None or first.selection is None or again.selection is None:
        return
    for name, value in first.selection.items():
        if not _same(value, again.selection[name]):
            yield f"selection.{name} differs between two runs of one seed: draw from ctx.rng only"
    if first.weights is not None and again.weights is not None and not _same_weights(first.weights, again.weights):
        yield "the weights differ between two runs of one seed: draw from ctx.rng only"


def follows_the_seed(evidence: Evidence) -> Iterator[str]:
    """Another seed gives other weights."""
    first, other = evidence.base, evidence.other_seed
    if other is None or first.weights is None or other.weights is None:
        return
    if _same_weights(first.weights, other.weights):
        yield f"seeds {first.seed} and {other.seed} end in the same weights: the method ignores the seed"


def scores_are_as_declared(evidence: Evidence) -> Iterator[str]:
    """Finite scores, one a field, from where the registry's entry says; none where it says none."""
    declared, seen = evidence.choice.entry.scores, evidence.base
    if seen.selection is None or (declared == "train" and seen.weights is None):
        return
    found = seen.trained_scores if seen.selection["scores"] is None else seen.selection["scores"]
    if declared == "none":
        if found is not None and not np.isnan(np.asarray(found, dtype=float)).all():
            yield "the entry declares scores='none', but there are scores"
    elif found is None:
        if seen.selection["kept"] is None or declared == "train":
            yield f"the entry declares scores={declared!r}, but there are none"
    elif np.shape(found) != (evidence.n_fields,):
        yield f"scores have shape {np.shape(found)}; wanted one for each of the {evidence.n_fields} fields"
    elif not np.isfinite(found).all():
        yield f"the scores of fields {np.flatnonzero(~np.isfinite(found)).tolist()} are not finite"


def reads_every_kind_of_field(evidence: Evidence) -> Iterator[str]:
    """A ranking that follows ids follows numbers too; one that follows neither, as by lot, is not judged."""
    base, ids = evidence.base.ranking, None if evidence.other_ids is None else evidence.other_ids.ranking
    if base is not None and ids is not None and not _same(base, ids):
        yield (
            "the ranking follows the ids of categorical fields, but is blind to the values of numeric ones: read "
            "rows.numeric, use rows.bucketed(...), or declare reads_numbers=False in the entry"
        )


def keeps_k_fields(evidence: Evidence) -> Iterator[str]:
    """In a field budget exactly K fields are kept and evaluated; all at prune ratio 0."""
    if evidence.choice.budget != "field":
        return
    for seen in evidence.cells:
        if seen is evidence.on_terms or seen.tau is None or not seen.ok or seen.record is None:
            continue
        k, kept = n_keep(seen.tau, evidence.n_fields), seen.record.kept_fields or []
        if len(kept) != k:
            yield f"at {seen.title} {len(kept)} fields are kept; wanted K = {k} of {evidence.n_fields}"
        elif seen.model_kept != tuple(kept):
            got = list(seen.model_kept or ())
            yield f"at {seen.title} the evaluated model has fields {got}; the K = {k} kept ones are {kept}"


def honours_the_card(evidence: Evidence) -> Iterator[str]:
    """By cost, and with fields that are locked or go together, what the harness chose is what is trained."""
    seen = evidence.on_terms
    if seen is None or seen.tau is None or not seen.ok or seen.record is None:
        return
    terms, kept = evidence.terms, seen.record.kept_fields or []
    budget = Budget.of("cost", seen.tau, terms, evidence.cardinalities)
    cost = budget.size(place for place, unit in enumerate(budget.units) if set(unit) & set(kept))
    if tuple(kept) != terms.complete(kept) or cost > budget.limit:
        yield f"at {seen.title}, by cost, fields {kept} are kept, which the card's terms {terms} do not allow"
    elif seen.model_kept != tuple(kept):
        got = list(seen.model_kept or ())
        yield (
            f"at {seen.title}, by cost, the evaluated model has fields {got}; those kept are {kept}: train on "
            "selection.kept, of which there need not be K"
        )


def gates_rows_as_declared(evidence: Evidence) -> Iterator[str]:
    """Whether the final model's gate differs from row to row: the entry, the gate and what it does say the same.

    The entry decides which budgets a method has, so that one which leaves it out would only ever run cut to K fields;
    and there it keeps K fields and nothing else.
    """
    declared, budget = evidence.choice.entry.per_sample, evidence.choice.budget
    trained = [seen for seen in evidence.cells if seen.weights is not None]
    own = [] if evidence.own_rule is None or evidence.own_rule.weights is None else [evidence.own_rule]
    for seen in [*trained, *own]:
        if seen.gate_says is not None and seen.gate_says != seen.gate_differs:
            does = "differs" if seen.gate_differs else "does not differ"
            yield f"the gate declares per_sample={seen.gate_says}, but it {does} from row to row"
            return
    if budget == "field" and any(seen.gate_differs for seen in trained):
        yield "the evaluated model gates every row differently; in a field budget it is K fields and nothing else"
    own = trained if budget == "native" else own
    if not declared and any(seen.gate_differs for seen in own):
        yield "in budget=native the evaluated model gates every row differently: the entry must say per_sample=True"
    if declared and own and not any(seen.gate_differs for seen in own):
        yield "the entry declares per_sample=True, but in budget=native the evaluated model gates all rows alike"


def gates_alike_in_both_modes(evidence: Evidence) -> Iterator[str]:
    """A gate does to training rows in evaluation what it does to them in training, but for what it draws there.

    Judged are all gates that were trained, of searches too. Training mode counts by its mean over many draws. A gate
    that draws may be evaluated at its likeliest value, or with all that it leaves out at random, as long as the mean
    factors of fields stay within its own noise and differences between rows and fields do not fade; they may grow. What
    a gate that replaces puts in the place of a field is on average the same.
    """
    for modes in _gates(evidence):
        what = f"the gate of the training {modes.fit!r}"
        if modes.instead is not None and modes.instead > REPLACED_GAP:
            yield (
                f"{what} puts something else in the place of a field in evaluation mode than in training mode, on the "
                f"same rows: means over rows lie {modes.instead:.2f} of its size apart"
            )
            return
        if modes.gap > GATE_GAP + GATE_NOISE * modes.spread:
            yield (
                f"{what} multiplies fields by {_few(modes.evaluated)} in evaluation mode and by {_few(modes.trained)} "
                "in training mode, on the same rows: look at running statistics, and at what is scaled in one mode only"
            )
            return
        if modes.slope is None or (modes.slope >= LEAST_SLOPE and (modes.spread > 0 or modes.slope <= MOST_SLOPE)):
            continue
        yield (
            f"{what} has {modes.slope:.2f} times the differences between rows and fields in evaluation mode that it "
            "has in training mode, on the same rows: look at running statistics"
        )
        return


def gates_rows_one_by_one(evidence: Evidence) -> Iterator[str]:
    """In evaluation mode what a gate does to a row is the same whatever rows are scored with it, and nothing is drawn.

    In training mode it may draw, and take from other rows of the batch.
    """
    for modes in _gates(evidence):
        if modes.together > TOGETHER:
            yield (
                f"the gate of the training {modes.fit!r} gives a row other vectors in evaluation mode when other rows "
                f"are scored with it: they differ by {modes.together:.2g} of the largest number"
            )
            return


def _gates(evidence: Evidence) -> Iterator[GateModes]:
    """All gates that were trained, of searches too."""
    own = [] if evidence.own_rule is None else [evidence.own_rule]
    for seen in [*evidence.cells, *own]:
        yield from seen.gate_modes


def _few(values: torch.Tensor) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in values[:4].tolist()) + (", ...]" if len(values) > 4 else "]")


def ends_on_the_best_weights(evidence: Evidence) -> Iterator[str]:
    """The returned model's validation AUC is the best one of its log."""
    for seen in evidence.cells:
        if seen.valid_auc is None or seen.log_auc is None:
            continue
        if math.isnan(seen.log_auc):
            yield "the log that train returned holds no validation: give ctx.fit the validation rows"
            return
        if abs(seen.valid_auc - seen.log_auc) > AUC_TOLERANCE:
            yield (
                f"at {seen.title} the returned model has validation AUC {seen.valid_auc:.6f}, the best of its log is "
                f"{seen.log_auc:.6f}: these are not the best weights"
            )
            return


def times_add_up(evidence: Evidence) -> Iterator[str]:
    """``tt_s`` = ``pt_s`` + ``ct_s``, none of them negative."""
    for seen in evidence.cells:
        record = seen.record
        if not seen.ok or record is None or record.pt_s is None or record.ct_s is None:
            continue
        if record.tt_s != record.pt_s + record.ct_s or min(record.pt_s, record.ct_s) < 0:
            yield f"at {seen.title} tt_s={record.tt_s}, pt_s={record.pt_s}, ct_s={record.ct_s} do not add up"


def frees_memory(evidence: Evidence) -> Iterator[str]:
    """Nothing of a cell outlives it."""
    if evidence.alive:
        yield f"{', '.join(evidence.alive)} outlived the cell: keep no reference outside the hooks' own names"


def alive_after(seen: Seen) -> list[str]:
    """What of a finished cell is still there once garbage is collected."""
    gc.collect()
    return [name for name, reference in seen.references.items() if reference() is not None] if seen.ok else []


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"))


def _same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


RULES: tuple[Rule, ...] = (
    documents_its_parameters,
    constructor_does_no_work,
    parameters_are_plain,
    leaves_the_test_split_alone,
    leaves_rows_unchanged,
    leaves_settings_alone,
    prints_nothing,
    scores_are_as_declared,
    runs,
    repeats,
    follows_the_seed,
    declares_what_scores_depend_on,
    reads_every_kind_of_field,
    keeps_k_fields,
    honours_the_card,
    gates_rows_as_declared,
    gates_alike_in_both_modes,
    gates_rows_one_by_one,
    ends_on_the_best_weights,
    times_add_up,
    frees_memory,
)
STATIC: tuple[Rule, ...] = (documents_its_parameters, constructor_does_no_work, parameters_are_plain)
"""Rules that need no cell."""
