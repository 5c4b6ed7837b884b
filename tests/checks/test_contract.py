"""Every registered method keeps the contract, and every rule of it catches a plug-in that breaks it."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import broken_methods
import pytest
import torch
from extras import needs

from bench import plugins
from bench.api import Gate
from bench.checks import ContractError, check_method, rules
from bench.checks.example import BUCKETS, DECISIVE, bucketed, example_data
from bench.checks.gates import look
from bench.checks.method import examine_method
from bench.checks.rules import RULES
from bench.engine.clock import Clock
from bench.registry import MethodEntry
from bench.run.grid import budgets_of, expand
from bench.run.job import Job
from methods.parts.controllers import BatchNorm

EVERY_METHOD = ("dnn", "xdeepfm")
EVERY_BACKBONE = ("no-selection", "light-fmp")
ALL_RULES = tuple(rule.__name__ for rule in RULES)


@pytest.fixture(scope="module", autouse=True)
def only_what_is_made_here_is_collected() -> Iterator[None]:
    """Every check collects garbage, and would search all that the other tests have imported each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def pairs() -> list[Any]:
    """Every registered method on both backbones, and held to whole fields where that is not its default.

    These are trained twice in every cell; on the second backbone they wait for ``-m slow``.
    """
    known = plugins.methods()
    names = expand(["all"], known)
    held = [f"{name}[budget=field]" for name in names if "field" in budgets_of(known.entry(name))[1:]]
    return [
        pytest.param(
            method, net, marks=needs(method) + [pytest.mark.slow] * (method in held and net != EVERY_METHOD[0])
        )
        for method, net in itertools.product([*names, *held], EVERY_METHOD)
    ]


@pytest.mark.parametrize(("method", "backbone"), pairs())
def test_a_method_keeps_the_contract(method: str, backbone: str) -> None:
    assert check_method(method, backbone).rules == ALL_RULES


@pytest.mark.parametrize("backbone", [name for name in plugins.backbones().names() if name not in EVERY_METHOD])
@pytest.mark.parametrize("method", EVERY_BACKBONE)
def test_a_backbone_lets_methods_keep_the_contract(method: str, backbone: str) -> None:
    assert check_method(method, backbone).rules == ALL_RULES


def entry(name: str, **declared: Any) -> MethodEntry:
    return MethodEntry(f"broken_methods:{name}", name, **declared)


def test_an_honest_method_passes_by_its_entry() -> None:
    checked = check_method(entry("Honest"), "dnn")
    assert (checked.rules, checked.skipped) == (ALL_RULES, None)


BROKEN = {
    "PeeksAtTest": ["leaves_the_test_split_alone: select read test:"],
    "PeeksQuietly": ["leaves_the_test_split_alone: train read test:"],
    "PeeksInsideTheObject": ["leaves_the_test_split_alone: select read __dict__:"],
    "IgnoresTheSeed": ["follows_the_seed: seeds 0 and 1 end in the same weights"],
    "DrawsFromTheGlobalState": [
        "repeats: selection.scores differs between two runs of one seed",
        "leaves_settings_alone: select moves the global random state of NumPy",
    ],
    "TrainsFromTheGlobalState": [
        "repeats: the weights differ between two runs of one seed",
        "leaves_settings_alone: train moves the global random state of torch",
    ],
    "LeavesAnotherDtype": ["leaves_settings_alone: select changes torch's default dtype"],
    "Prints": ["prints_nothing: select prints to stdout: 'scores"],
    "DoesNotTellOfItsParameters": [
        "documents_its_parameters: the parameter 'share' of Untold has no docstring",
        "documents_its_parameters: the default of 'share', 2.0, is outside of its range [0, 1]",
    ],
    "ReturnsScoresAlone": ["runs:", "failed: TypeError: select returned ndarray; wanted Selection(...)"],
    "KeepsOneMore": ["runs: at prune ratio 0.5, seed 0", "select kept 5 fields", "K = 4 of 8 at prune ratio 0.5"],
    "KeepsAFieldTwice": ["runs:", "select kept fields [0, 0, 0, 0]; wanted increasing indices below 8"],
    "TrainsOnAllFields": [
        "keeps_k_fields:",
        "the evaluated model has fields [0, 1, 2, 3, 4, 5, 6, 7]; the K = 4 kept",
        "honours_the_card: at prune ratio 0.5, seed 0, by cost, the evaluated model has fields [0, 1, 2, 3, 4, 5,",
    ],
    "CutsByItself": ["honours_the_card: at prune ratio 0.5, seed 0, by cost, the evaluated model has fields"],
    "ScoresNaN": ["scores_are_as_declared: the scores of fields [2, 5] are not finite"],
    "Flat": ["runs: at prune ratio 0.5, seed 0 the cell ended skipped: no ranking, all 8 fields have the same score"],
    "OneScoreShort": ["scores_are_as_declared: scores have shape (7,); wanted one for each of the 8 fields"],
    "MutatesTrain": ["leaves_rows_unchanged: select changed labels of the training rows"],
    "MutatesValid": ["leaves_rows_unchanged: train changed ids of the validation rows"],
    "GatesEveryRow": [
        "gates_rows_as_declared: in budget=native the evaluated model gates every row differently: the entry must say "
        "per_sample=True"
    ],
    "GatesRowsOfKFields": [
        "gates_rows_as_declared: the evaluated model gates every row differently; in a field budget it is K fields",
        "gates_rows_as_declared: in budget=native the evaluated model gates every row differently",
    ],
    "HidesItsGate": ["gates_rows_as_declared: the gate declares per_sample=False, but it differs from row to row"],
    "BoastsOfItsGate": ["gates_rows_as_declared: the gate declares per_sample=True, but it does not differ from row"],
    "ForgetsItsStatistics": [
        "gates_alike_in_both_modes: the gate of the training 'fit' has 0.",
        "gates_rows_as_declared: in budget=native the evaluated model gates every row differently",
    ],
    "EvaluatesAtAnotherScale": [
        "gates_alike_in_both_modes: the gate of the training 'fit' multiplies fields by [1.00, 1.00, 1.00, 1.00, ...] "
        "in evaluation mode and by [2.00, 2.00, 2.00, 2.00, ...] in training mode"
    ],
    "EvaluatesOnOtherRows": [
        "gates_rows_one_by_one: the gate of the training 'search' gives a row other vectors in evaluation mode when "
    ],
    "EvaluatesWithSomethingElse": [
        "gates_alike_in_both_modes: the gate of the training 'search' puts something else in the place of a field in "
    ],
    "BlindToNumbers": ["reads_every_kind_of_field: the ranking follows the ids of categorical fields, but is blind to"],
    "LeavesLastWeights": ["ends_on_the_best_weights:", "these are not the best weights"],
    "NeverValidates": ["ends_on_the_best_weights:", "holds no validation"],
    "TrainsInInit": ["constructor_does_no_work: __init__ works:", "torch functions"],
    "ComputesInInit": ["constructor_does_no_work: __init__ works:", "CPU time"],
    "HasParametersThatComeBackChanged": ["parameters_are_plain: the parameter pair does not come back from JSON"],
    "ChangesItsParameters": ["parameters_are_plain: __init__ changes the parameters: Pairs(pair=(0, 1)) where"],
    "KeepsTheModel": ["frees_memory: the model, the model's table outlived the cell"],
    "Raises": ["runs:", "failed: KeyError: 'no such thing'"],
    "CannotBeMade": ["constructor_does_no_work: OSError: no licence", "parameters_are_plain: OSError", "runs:"],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_method_is_caught_and_its_fault_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "ComputesInInit":  # for less than half a second, so as not to keep the tests waiting
        monkeypatch.setattr(rules, "INIT_S", 0.05)
    with pytest.raises(ContractError) as caught:
        check_method(entry(name), "dnn")
    message = str(caught.value)
    assert all(part in message for part in BROKEN[name]), message
    faults = message.splitlines()[1:]
    named = {fault.partition(":")[0].removeprefix("- ") for fault in faults}
    assert named <= {part.partition(":")[0] for part in BROKEN[name]} | {"runs"}, message


def test_every_rule_but_the_harness_s_own_has_a_method_that_breaks_it() -> None:
    broken = {part.partition(":")[0] for parts in BROKEN.values() for part in parts}
    assert set(ALL_RULES) - broken == {"times_add_up", "declares_what_scores_depend_on"}
    here = broken_methods.__name__
    by_declaration = {"SharesWhatDiffers"}
    written = {name for name, thing in vars(broken_methods).items() if getattr(thing, "__module__", "") == here}
    parts = {"RowGate", "SilentRowGate", "FieldGate", "ForgetfulGate", "DoublingGate", "Pairs", "Untold"}
    parts |= {"ShufflingGate", "ForgetfulShufflingGate"}
    assert written - {"Honest", "Skips", "rows_of_the_caller"} - parts - by_declaration == set(BROKEN)


AXES = {"tau": "prune ratio", "seed": "seed", "backbone": "backbone"}


@pytest.mark.parametrize("declared", [(), ("seed", "tau"), ("tau", "seed", "backbone")], ids=str)
def test_a_ranking_that_is_shared_must_be_one(declared: tuple[str, ...]) -> None:
    """One cell's ranking would otherwise be served to others, for which it is wrong."""
    method = entry("SharesWhatDiffers", depends_on=frozenset(declared))
    rule = "declares_what_scores_depend_on: the scores change with the"
    lacking = {
        f"{rule} {AXES[axis]}, and depends_on of the entry lacks {axis!r}" for axis in AXES if axis not in declared
    }
    assert set(examine_method(method, "dnn").faults) == lacking


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        ({"scores": "none"}, "the entry declares scores='none', but there are scores"),
        ({"scores": "none", "granularity": "none"}, "the entry declares scores='none', but there are scores"),
    ],
)
def test_scores_must_be_what_the_entry_declares(declared: dict[str, Any], fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        check_method(entry("Honest", **declared), "dnn")


def test_a_gate_of_every_row_passes_where_the_entry_declares_it_and_only_there() -> None:
    for params in ("", "budget=field"):
        declared = entry("GatesEveryRow", per_sample=True, uses_tau=False)
        assert check_method(declared, "dnn", params=params).rules == ALL_RULES
    for params in ("", "budget=field"):
        with pytest.raises(ContractError, match="per_sample=True, but in budget=native the evaluated model gates all"):
            check_method(entry("Honest", per_sample=True), "dnn", params=params)


@pytest.mark.parametrize(("method", "declared"), [("adafs", True), ("mvfs", True), ("autofield", False)])
def test_a_registered_method_with_the_other_declaration_is_caught(method: str, declared: bool) -> None:
    known = plugins.methods().entry(method)
    assert known.per_sample is declared
    with pytest.raises(ContractError, match="gates_rows_as_declared: "):
        check_method(replace(known, per_sample=not declared, scores="select"), "dnn")


@pytest.mark.parametrize("method", ["adafs", "adafs[mode=soft]", "mvfs"])
def test_a_norm_whose_running_statistics_stay_at_their_start_is_caught(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchNorm, "_follow", lambda norm, mean, var: None)
    with pytest.raises(ContractError, match="gates_alike_in_both_modes: the gate of the training 'train' has 0"):
        check_method(method, "dnn")


class CoinGate(Gate):
    """Each field is open with a probability of its own; in evaluation where that is above a half."""

    def __init__(self, chances: torch.Tensor) -> None:
        super().__init__()
        self.chances = chances

    def forward(self, e: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return ((torch.rand(len(self.chances)) if self.training else 0.5) < self.chances).float()


def test_a_gate_that_draws_is_seen_by_the_mean_and_the_noise_of_its_draws(make_job: Callable[..., Job]) -> None:
    job = make_job("no-selection")
    model = job.context(Clock(job.device)).model()
    chances = torch.linspace(0.2, 0.9, job.data.schema.n_fields, dtype=torch.float64)
    model.gate, state = CoinGate(chances), torch.get_rng_state()
    found = look(model, model.gate, job.data.train, "search")
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(found.evaluated, (chances > 0.5).double())
    torch.testing.assert_close(found.trained, chances, atol=0.13, rtol=0)  # four standard errors of 256 draws
    torch.testing.assert_close(found.noise, (found.trained * (1 - found.trained)).sqrt())
    assert found.gap <= found.spread  # min(p, 1 - p) is at most the square root of p (1 - p)
    assert found.slope is not None and found.slope > 1


def test_no_selection_does_not_pass_for_a_method_with_scores() -> None:
    known = plugins.methods().entry("no-selection")
    with pytest.raises(ContractError, match="the entry declares scores='train', but there are none"):
        check_method(MethodEntry(known.target, "Nothing", granularity="none", scores="train", uses_tau=False), "dnn")


def test_a_method_that_skips_is_not_judged() -> None:
    checked = check_method(entry("Skips"), "dnn")
    assert (checked.rules, checked.skipped) == ((), "not on Sundays")


def test_a_plug_in_that_cannot_be_imported_is_named_with_its_traceback() -> None:
    with pytest.raises(ContractError, match=r"method cannot be imported:[\s\S]*no attribute 'Absent'"):
        check_method(entry("Absent"), "dnn")


def test_parameters_reach_a_registered_method_and_an_entry() -> None:
    known = plugins.methods().entry("xgboost")
    for method in ("xgboost", known):
        with pytest.raises(Exception, match="depth=99 is out of range"):
            check_method(method, "dnn", params="depth=99")


def test_a_method_that_says_that_it_reads_ids_alone_is_checked_on_ids() -> None:
    assert check_method(entry("BlindToNumbers", reads_numbers=False), "dnn").rules == ALL_RULES


def test_the_rows_without_numbers_have_the_same_edges_in_every_split() -> None:
    data, plain = example_data(), bucketed(example_data())
    assert plain.schema.numeric_fields == () and plain.schema.names == data.schema.names
    prices, codes = (
        torch.cat([get(rows) for rows in splits])
        for get, splits in (
            (lambda rows: rows.numeric[:, 0], (data.train, data.valid, data.test)),
            (lambda rows: rows.ids[:, DECISIVE], (plain.train, plain.valid, plain.test)),
        )
    )
    bounds = [(prices[codes == code].min().item(), prices[codes == code].max().item()) for code in codes.unique()]
    assert len(bounds) == BUCKETS and all(high < low for (_, high), (low, _) in itertools.pairwise(bounds))
    assert torch.equal(plain.train.labels, data.train.labels) and torch.equal(plain.test.index, data.test.index)


def test_the_example_is_what_it_says_and_stays_so() -> None:
    data = example_data()
    assert sum(len(rows) for rows in (data.train, data.valid, data.test)) == 2000
    before = data.train.labels.clone()
    with pytest.raises(ContractError):
        check_method(entry("MutatesTrain"), "dnn")
    assert torch.equal(example_data().train.labels, before)


def test_global_random_states_are_left_as_they_were() -> None:
    import random

    import numpy as np

    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    with pytest.raises(ContractError):
        check_method(entry("DrawsFromTheGlobalState"), "dnn")
    assert states == [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
