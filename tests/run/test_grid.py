from __future__ import annotations

import itertools
import re
from dataclasses import make_dataclass
from typing import Any

import pytest

from bench import plugins
from bench.api import Method, MethodEntry
from bench.errors import ConfigError
from bench.run.grid import Cell, cells, choose_backbone, choose_method, expand


def test_seeds_go_outside_and_methods_inside() -> None:
    chosen = [choose_method("light-fmp"), choose_method("random-k")]
    found = list(cells(["d1", "d2"], ["b1", "b2"], chosen, [0.0, 0.5], 2))
    expected = [
        Cell(dataset, backbone, method, tau, seed)
        for dataset, seed, backbone, tau, method in itertools.product(
            ["d1", "d2"], [0, 1], ["b1", "b2"], [0.0, 0.5], ["light-fmp", "random-k"]
        )
    ]
    assert found == expected


def test_a_method_without_a_prune_ratio_makes_one_cell_for_all_of_them() -> None:
    chosen = [choose_method("no-selection"), choose_method("random-k")]
    found = [(cell.method, cell.tau) for cell in cells(["d"], ["b"], chosen, [0.0, 0.5, 0.9], 1)]
    assert found == [("no-selection", None), ("random-k", 0.0), ("random-k", 0.5), ("random-k", 0.9)]


class Undecided(Method[Any]):
    """Whether it uses τ hangs on its parameters and budget; with ``broken`` the question fails."""

    Params = make_dataclass("P", [("keeps", bool, False), ("broken", bool, False)], frozen=True)

    def uses_tau(self, budget: str) -> bool:
        if self.params.broken:
            raise OSError("no answer")
        return self.params.keeps or super().uses_tau(budget)


def test_parameters_and_budget_may_decide_whether_the_prune_ratio_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    known = plugins.methods()
    entry = MethodEntry("x:X", "X", uses_tau=False, per_sample=True)
    monkeypatch.setattr(known, "entry", lambda name: entry)
    monkeypatch.setattr(known, "load", lambda name: Undecided)
    specs = ["a", "a[keeps=true]", "a[budget=field]", "a[broken=true]"]
    chosen = [choose_method(text) for text in specs]
    assert [choice.uses_tau for choice in chosen] == [False, True, True, False]
    found = [(cell.method, cell.tau) for cell in cells(["d"], ["b"], chosen, [0.0, 0.5], 1)]
    assert found == [
        ("a", None),
        ("a[keeps=true]", 0.0),
        ("a[budget=field]", 0.0),
        ("a[broken=true]", None),
        ("a[keeps=true]", 0.5),
        ("a[budget=field]", 0.5),
    ]
    assert [choice.error is None for choice in chosen] == [True, True, True, False]
    assert "OSError: no answer" in str(chosen[3].error)  # its own cells fail, the run goes on


@pytest.mark.parametrize(("budget", "taus"), [("native", [None]), ("exact", [0.0, 0.5]), ("field", [0.0, 0.5])])
def test_every_budget_but_a_method_s_own_rule_follows_the_prune_ratio(budget: str, taus: list[float | None]) -> None:
    choice = choose_method(f"optfs[budget={budget}]")
    assert not choice.entry.uses_tau
    assert choice.uses_tau == (budget != "native")
    assert [cell.tau for cell in cells(["d"], ["b"], [choice], [0.0, 0.5], 1)] == taus


def test_all_and_paper_stand_for_names_in_table_order_without_repeats() -> None:
    known = plugins.methods()
    assert expand(["all"], known) == [name for name in known.names() if not known.entry(name).takes_ranking]
    paper = [name for name in known.names() if known.entry(name).paper]
    assert expand(["random-k", "paper", "random-k"], known) == ["random-k", *paper]
    assert 0 < len(paper) < len(known.names())


def test_titles_name_the_cell() -> None:
    assert Cell("d", "b", "m[a=1]", 0.25, 3).title == "d b m[a=1] τ=0.25 seed 3"
    assert Cell("d", "b", "m", None, 0).title == "d b m seed 0"


def test_a_method_s_parameters_are_resolved() -> None:
    choice = choose_method("light-fmp[noise=sample,pretrain_min_count=5,sel_split=valid]")
    assert choice.label == "light-fmp[noise=sample,pretrain_min_count=5,sel_split=valid]"
    assert choice.params_dict()["noise"] == "sample"
    assert choice.params_dict()["pretrain_min_count"] == 5
    assert "sel_split" not in choice.params_dict()
    assert (choice.sel_split, choice.budget) == ("valid", "field")
    assert choose_method("no-selection").budget == "native"
    assert choose_method("optfs").budget == "native"
    assert choose_method("optem[budget=exact]").budget == "exact"
    assert choose_method("light-fmp[budget=field]").budget == "field"
    assert choose_method("light-fmp").sel_split == "train"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ligth-fmp", ["method 'ligth-fmp' is unknown", "'light-fmp'"]),
        ("light-fmp[noize=sample]", ["light-fmp has no parameter 'noize'", "'sample'", "'noise'"]),
        ("light-fmp[noise=loud]", ["light-fmp: noise=loud", "batch, sample"]),
        ("light-fmp[rank_share=0]", ["light-fmp: rank_share=0", "(0, 1]"]),
        ("light-fmp[gate_lr=inf]", ["light-fmp: gate_lr=inf", "finite"]),
        ("light-fmp[budget=exact]", ["light-fmp: budget=exact", "field"]),
        ("optfs[budget=top]", ["optfs: budget=top", "native, exact, field"]),
        ("no-selection[budget=field]", ["no-selection: budget=field", "native"]),
        ("random-k[sel_split=test]", ["random-k: sel_split=test", "train, valid"]),
        ("random-k[carry_over=maybe]", ["random-k: carry_over=maybe", "true or false"]),
        ("no-selection[x=1]", ["no-selection has no parameter 'x'"]),
    ],
)
def test_methods_that_cannot_be_are_refused(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(text)
    for part in parts:
        assert part in str(caught.value)


def test_an_unknown_backbone_is_refused() -> None:
    assert choose_backbone("dnn[mlp=4]").label == "dnn[mlp=4]"
    with pytest.raises(ConfigError, match=re.escape("backbone 'xdeepfn' is unknown. Did you mean 'xdeepfm'?")):
        choose_backbone("xdeepfn")


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("name", "error"),
    [("zoo-broken", "a_module_that_nobody_has"), ("zoo-absent", "AttributeError")],
)
def test_a_method_that_cannot_be_imported_is_a_choice_with_a_traceback(name: str, error: str) -> None:
    choice = choose_method(name)
    assert choice.error is not None
    assert error in choice.error
    assert choice.error.startswith("Traceback")
    assert choice.params_dict() == {}
