"""What the catalogue says of methods is what entries, docstrings, parameters and records say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, Literal

import pytest

from bench.api import Method, MethodEntry, Range
from bench.catalogue import blocks
from bench.catalogue import facts as module
from bench.catalogue.departures import departures, has_no_paper
from bench.catalogue.facts import Facts, facts, link
from bench.catalogue.standing import REFERENCE, Setting, standings

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def known() -> list[Facts]:
    return facts()


@pytest.fixture(scope="module")
def recorded() -> list[Setting]:
    return standings()


def test_the_committed_catalogue_is_what_the_command_writes(known: Sequence[Facts], recorded: list[Setting]) -> None:
    written = (HOME / "methods" / "CATALOGUE.md").read_text(encoding="utf-8")
    assert written == blocks.markdown(known, recorded), f"write it anew: {blocks.COMMAND} > methods/CATALOGUE.md"


def test_every_method_says_where_it_departs_from_its_paper_or_that_there_is_none(known: Sequence[Facts]) -> None:
    silent = [one.name for one in known if not one.departs and not one.no_paper]
    assert not silent, "no heading such as 'Where this differs from the paper:', and no 'There is no paper'"
    assert not [one.name for one in known if one.no_paper and one.entry.citation]
    assert not [one.name for one in known if one.broken]


def test_references_lead_to_an_address(known: Sequence[Facts]) -> None:
    assert not [one.name for one in known if one.entry.reference and not link(one.entry.reference)]
    assert link("doi:10.1145/2939672.2939785") == "https://doi.org/10.1145/2939672.2939785"
    assert link("arXiv:2301.10909") == "https://arxiv.org/abs/2301.10909"
    assert link("") == link("somewhere") == link("doi:") == ""


@pytest.mark.parametrize(
    ("doc", "found"),
    [
        ("Title.\n\nWhere this differs from the paper:\n\n* One ``a``,\n  in two lines.\n* Two.\n\nShapes: B.", 2),
        ("Title.\n\nSources: the paper. Where things differ here:\n\n* One ``a``,\n  in two lines.", 1),
        ("Title.\n\nDeviations: One ``a``,\nin two lines.\n\nElse.", 1),
        ("Title.\n\nDepartures from the code: One ``a``,\nin two lines.", 1),
        ("Title.\n\nNothing of that kind: nor Deviations in the middle: here.", 0),
    ],
)
def test_departures_are_what_follows_the_heading(doc: str, found: int) -> None:
    assert departures(doc) == ["One ``a``, in two lines.", "Two."][:found]


def test_no_paper_is_said_in_these_words() -> None:
    assert has_no_paper("Mine.\n\nThere is no\npaper.") and not has_no_paper("Some paper; no papers.")


@dataclass(frozen=True)
class Params:
    way: Literal["a", "b"] = "b"
    """Which way."""
    on: bool = False
    """Whether it is."""
    rate: Annotated[float, Range(0, 1)] = 0.50
    """How fast."""
    most: int | None = None
    """How many."""


class Some(Method[Params]):
    Params = Params


def entry(**declared: Any) -> MethodEntry:
    return MethodEntry(f"{__name__}:Some", "Some Method", "One et al., X 2020", **declared)


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Facts]:
    class Known:
        def names(self) -> list[str]:
            return ["some"]

        def origin(self, name: str) -> str:
            return "here"

    def made(**declared: Any) -> Facts:
        shown = Known()
        shown.entry = lambda name: entry(**declared)  # type: ignore[attr-defined]
        monkeypatch.setattr("bench.plugins.methods", lambda: shown)
        return facts()[0]

    return made


def test_entry_and_parameters_are_told(one: Callable[..., Facts]) -> None:
    found = one(granularity="value", depends_on=frozenset({"seed", "tau"}), search=(0.5, 2), reference="arXiv:1")
    assert (found.level, found.scores, found.stages) == (
        "value",
        "after selection; by prune ratio and seed",
        "select, then train on what is kept",
    )
    assert found.cost == "PT 0.5 to 2, CT 0.8 to 1.5 trainings of the whole model (declared)"
    assert found.budgets == ("native", "exact", "field")
    told = [(parameter.name, parameter.default, parameter.choices, parameter.meaning) for parameter in found.parameters]
    assert told == [
        ("way", "b", ("a", "b"), "Which way."),
        ("on", "false", ("false", "true"), "Whether it is."),
        ("rate", "0.5", (), "How fast."),
        ("most", "none", (), "How many."),
    ]
    text = blocks.terminal([found], [], 80)
    assert text.startswith("some: Some Method\n  paper      One et al., X 2020, arXiv:1\n")
    assert "  recovery   not recorded" in text and "  departs    not said" in text


def test_what_gates_rows_and_what_has_no_scores_is_said(one: Callable[..., Facts]) -> None:
    found = one(per_sample=True, scores="train", depends_on=frozenset())
    assert (found.level, found.scores) == ("field, row by row", "after training; by the data alone")
    assert found.stages == "train, selecting on the way"
    assert one(scores="none", granularity="none", family="baseline").scores == "none"


def test_a_method_that_cannot_be_imported_is_named_with_the_reason() -> None:
    found = module._facts("some", MethodEntry("nowhere:Some", "Some"), "here")
    assert "No module named 'nowhere'" in found.broken
    assert "broken     ModuleNotFoundError: No module named 'nowhere'" in blocks.terminal([found], [], 120)


def test_standings_are_means_over_the_seeds_of_the_records(recorded: list[Setting]) -> None:
    cells = [json.loads(file.read_text()) for file in (REFERENCE / "planted" / "cells").glob("*.json")]
    (setting,) = [setting for setting in recorded if setting.title.endswith("(reference run planted)")]
    for label in ("lasso[variant=published]", "random-k"):
        mine = [cell for cell in cells if cell["label"] == label]
        shown = next(row for row in setting.rows if row.title == titled(mine[0]))
        for text, numbers, digits in (
            (shown.precision, [cell["recovery"]["precision_at_k"] for cell in mine], 2),
            (shown.auc, [cell["auc"] for cell in mine], 4),
        ):
            assert text == f"{fmean(numbers):.{digits}f} ±{stdev(numbers):.{digits}f}"
    assert setting.by_lot == f"{cells[0]['recovery']['precision_by_lot']:.2f}"
    assert "seeds" in setting.title and "prune ratio 0.6" in setting.title
    assert {row.method for row in setting.controls} == {cell["method"] for cell in cells if cell["family"] == "control"}
    assert all("[" not in row.title for row in setting.controls)


def titled(cell: dict[str, Any]) -> str:
    _, bracket, rest = cell["label"].partition("[")
    return f"{cell['method_title']} [{rest}" if bracket else cell["method_title"]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(known: Sequence[Facts], recorded: list[Setting], width: int) -> None:
    lines = blocks.terminal(known, recorded, width).splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    assert [line.partition(":")[0] for line in lines if line and line[0] != " "] == [one.name for one in known]


def test_the_command_writes_blocks_or_the_document(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = bench("list", "methods", "--long")
    assert found.code == 0 and found.out.startswith("no-selection: No Selection\n  paper      none\n")
    found = bench("list", "methods", "--long", "--format", "markdown")
    assert found.code == 0 and found.out.startswith("# Catalogue of the methods\n")
    for flags in (["--long"], ["methods", "--format", "markdown"], ["datasets", "--long"]):
        found = bench("list", *flags)
        assert found.code == 2 and "python -m bench list methods --long" in found.err
