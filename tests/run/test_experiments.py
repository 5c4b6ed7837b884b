"""Every shipped experiment: its names, parameters and ranges hold, with other data sets too; nothing is trained."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from bench import plugins
from bench.budget import n_keep
from bench.cli.run import parse
from bench.data.card.card import DatasetCard
from bench.datasets import resolve_dataset
from bench.datasets.planted import generate
from bench.run import config as settings
from bench.run.config import experiment_names
from bench.run.grid import expand
from bench.run.session import Plan, resolve
from bench.stats.recovery import INTERACTION, MAIN

PAPER = ("table1", "table2", "table3", "fig2a", "fig2b", "fig2c", "fig2d", "fig3")
OURS = (
    "efficiency",
    "k-sweep",
    "pareto",
    "stability",
    "planted",
    "erase",
    "erase-avazu",
    "erase-more",
    "tabular",
    "compression",
)


def plan(name: str, *flags: str) -> Plan:
    return resolve(parse(["--experiment", name, *flags]))


def shipped(name: str) -> dict[str, Any]:
    return tomllib.loads((settings.EXPERIMENTS / f"{name}.toml").read_text(encoding="utf-8"))


def test_all_tables_and_figures_of_the_paper_are_there() -> None:
    assert {*PAPER, *OURS} <= set(experiment_names())


@pytest.mark.parametrize("name", experiment_names())
def test_an_experiment_resolves(name: str) -> None:
    found = plan(name)
    assert len(list(found.cells())) >= len(found.cards) * len(found.backbones) * len(found.methods)
    assert not [method.label for method in found.methods.values() if method.error]
    assert list(found.cards) == [resolve_dataset(text).spec for text in shipped(name)["datasets"]]


@pytest.mark.parametrize("data", ["criteo", "planted"])
@pytest.mark.parametrize("name", [*PAPER, *OURS])
def test_an_experiment_takes_other_data_seeds_and_profile(name: str, data: str) -> None:
    found = plan(name, "--datasets", data, "--seeds", "2", "--profile", "small")
    assert list(found.cards) == [data]
    assert {cell.seed for cell in found.cells()} == {0, 1}
    assert found.config.profile == "small"
    assert set(found.methods) == set(plan(name).methods)


def test_table2_has_the_papers_rows_in_its_order_and_the_forms_by_fields() -> None:
    found = plan("table2")
    known = plugins.methods()
    paper = [name for name in known.names() if known.entry(name).paper]
    by_order = sorted(paper, key=known.order)
    titles = [known.entry(name).title for name in by_order]
    assert titles == [
        "No Selection", "Lasso", "PCA", "XGBoost", "OptFS", "OptEm", "AutoField", "AdaFS", "MvFS", "Light-FMP",
    ]  # fmt: skip
    assert set(paper) <= set(found.methods)
    finer = [name for name in paper if known.entry(name).granularity != "field" or known.entry(name).per_sample]
    by_fields = {f"{name}[budget=field]" for name in finer if known.entry(name).scores != "none"}
    published = {f"{name}[variant=published]" for name in paper if known.entry(name).family == "shallow"}
    assert set(found.methods) - set(paper) == by_fields | published
    assert found.config.prune_ratio == (0.5,)


def test_the_papers_backbones_are_those_of_its_table_3() -> None:
    for name in ("table3", "fig2b"):
        assert plan(name).backbones == ["xdeepfm", "deepfm", "wide-deep", "pnn", "dnn"]


@pytest.mark.parametrize(
    ("part", "whole"), [("table1", "table2"), ("fig2a", "table2"), ("fig3", "fig2c"), ("table3", "fig2b")]
)
def test_experiments_share_the_cells_they_have_in_common(part: str, whole: str) -> None:
    assert set(plan(part).cells()) <= set(plan(whole).cells())


def test_planted_keeps_as_many_fields_as_are_true() -> None:
    found = plan("planted")
    (card,) = found.cards.values()
    (tau,) = found.config.prune_ratio
    assert len(true_fields(card)) == n_keep(tau, int(card.params["fields"]))
    known = plugins.methods()
    assert set(expand(["all"], known)) <= set(found.methods), "every method and control"
    assert found.config.seeds == 5


def true_fields(card: DatasetCard) -> list[str]:
    roles = generate(card.params).roles
    return [name for name, role in roles.items() if role.partition(":")[0] in (MAIN, INTERACTION)]


@pytest.mark.parametrize(
    ("name", "n_fields", "kept"),
    [("erase", 39, [5, 10, 15, 20, 25, 30, 33, 36]), ("erase-avazu", 24, [5, 10, 15, 17, 19, 21])],
)
def test_erases_numbers_of_fields_and_shares(name: str, n_fields: int, kept: list[int]) -> None:
    found = plan(name)
    assert sorted(n_keep(tau, n_fields) for tau in found.config.prune_ratio) == kept
    (card,) = found.cards.values()
    assert (card.temporal, card.shares, len(card.layouts[0].fields)) == (True, (0.7, 0.2, 0.1), n_fields)


def test_junk_is_held_against_every_method_that_ranks_fields() -> None:
    found, known = plan("junk"), plugins.methods()
    ranking = {name for name in known.names() if known.entry(name).scores != "none" and name != "ranking-file"}
    assert {label.partition("[")[0] for label in found.methods} == ranking | {"no-selection"}
    finer = {name for name in ranking if known.entry(name).granularity != "field" or known.entry(name).per_sample}
    assert {f"{name}[budget=field]" for name in finer} <= set(found.methods)
    assert all(card.overrides == {"junk": "random"} for card in found.cards.values())
