"""The results page: remade as committed, every number traced, every verdict by the rule."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from bench.cli import main
from bench.evidence.page import NUMBERS, PAGE, Page, make_page, recorded_runs
from bench.evidence.questions import FILE, Question, read_questions
from bench.records import CellRecord, RunFolder
from bench.report.explain import Explainer
from bench.tables.claims import CANNOT, NOT, REPRODUCED, claim_tables, paper_claims

HOME = Path(__file__).resolve().parents[2]
RESULTS = HOME / "results"
Bench = Callable[..., Any]
Cell = Callable[..., CellRecord]
DECIMAL = re.compile(r"[+-]?\d[\d,]*\.\d+")


@cache
def runs() -> Mapping[str, Explainer]:
    return recorded_runs(RESULTS)


@cache
def page() -> Page:
    return make_page(RESULTS, runs())


def test_the_committed_page_is_what_the_command_writes() -> None:
    same_glyphs = f"matplotlib=={matplotlib.__version__}\n" in (HOME / "constraints.txt").read_text(encoding="utf-8")
    for name, data in page().files.items():
        if not name.endswith(".svg") or same_glyphs:
            assert (RESULTS / name).read_bytes() == data, f"{name}: write it anew by `python -m bench evidence`"
    drawn = {path.name for path in (RESULTS / "figures").iterdir()}
    assert drawn == {Path(name).name for name in page().files if name.startswith("figures/")}


def test_every_number_stands_in_the_explanation_that_is_named_for_it() -> None:
    explained: dict[tuple[str, object], str] = {}
    for number in page().numbers:
        key = (number.run, number.wanted)
        if key not in explained:
            explained[key] = runs()[number.run].text(number.wanted)
        head = explained[key].partition("\nseed ")[0]
        assert re.search(rf"(?<![\d.,+-]){re.escape(number.text)}(?![\d.])", head), (number, head)
    assert len(page().numbers) > 100


def test_every_decimal_of_the_page_is_among_the_numbers_of_its_question() -> None:
    text = page().files[PAGE].decode()
    known = {question.name: {n.text for n in page().numbers if n.question == question.name} for question in asked()}
    for question in asked():
        section = text.partition(f"## {question.title}\n")[2].partition("\n## ")[0].partition("\n**Limits.**")[0]
        assert section
        shown = re.sub(r"τ = \d\.\d+|\[[a-z_]+=[^\]]*\]|\(reference/[^)]*\)|\(figures/[^)]*\)", "", section)
        assert set(DECIMAL.findall(shown)) <= known[question.name], question.name


def asked() -> list[Any]:
    return read_questions(RESULTS / FILE)


def test_a_command_in_the_list_of_numbers_prints_the_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    with (RESULTS / NUMBERS).open(encoding="utf-8", newline="") as lines:
        listed = list(csv.DictReader(lines))
    by_question = {line["question"]: line for line in listed}
    assert set(by_question) == {question.name for question in asked()}
    monkeypatch.chdir(HOME)
    for line in by_question.values():
        words = shlex.split(line["command"])
        assert words[:4] == ["python", "-m", "bench", "explain"]
        found = bench(*words[3:])
        assert found.code == 0 and line["number"] in found.out, found.err


def test_a_run_that_is_added_is_answered_from_without_a_change(tmp_path: Path, cell: Cell, bench: Bench) -> None:
    (tmp_path / "questions.toml").write_text(
        '[[question]]\nname = "auc"\ntitle = "Which?"\ntable = "gain"\nmetric = "auc_gain"\nreference = 0.0\n'
        'above = "gain"\nbelow = "lose"\nopen = "are open"\n'
    )
    one = RunFolder(tmp_path / "reference" / "one")
    base, gains = (0.70, 0.71, 0.72), {"alpha": (0.05, 0.05, 0.06), "beta": (-0.02, 0.03, 0.01)}
    write(one, cell, "clicks", base, gains)
    assert bench("evidence", str(tmp_path)).code == 0
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    # mean .05333, sd .0057735, t(2, .975) = 4.30265: half = .01434
    assert (
        "of 2 methods 1 (Alpha) gain, none lose, 1 are open; the highest is Alpha with +0.0533 (+0.0390 to +0.0677)."
        in text
    )
    write(RunFolder(tmp_path / "reference" / "two"), cell, "views", base, gains)
    assert main(["evidence", str(tmp_path)]) == 0
    assert "(reference/two/)" in (tmp_path / PAGE).read_text(encoding="utf-8")


def write(
    run: RunFolder, cell: Cell, dataset: str, base: tuple[float, ...], gains: dict[str, tuple[float, ...]]
) -> None:
    names = ["f1", "f2"]
    for seed, auc in enumerate(base):
        run.write(cell(dataset=dataset, seed=seed, auc=auc, field_names=names, kept_fields=[0, 1]))
        for label, less in gains.items():
            run.write(cell(label, dataset=dataset, seed=seed, auc=auc + less[seed], field_names=names, kept_fields=[0]))
    run.config_file.write_text("seeds = 3\n")


def test_a_question_leaves_out_the_runs_that_it_names() -> None:
    question = Question("auc", "Which?", "gain", "auc_gain", runs=("*", "!comp*"))
    assert [run for run in ("compression", "criteo", "planted") if question.asks(run)] == ["criteo", "planted"]
    assert not Question("auc", "Which?", "gain", "auc_gain", runs=("!comp*",)).asks("planted"), "none is let in"


def test_what_is_wrong_with_questions_is_named(tmp_path: Path, bench: Bench) -> None:
    shutil.copytree(RESULTS / "reference" / "criteo-xdeepfm" / "cells", tmp_path / "reference" / "x" / "cells")
    (tmp_path / "reference" / "x" / "run.toml").touch()
    head = '[[question]]\nname = "a"\ntitle = "A?"\n'
    for text, said in {
        "": "asks nothing",
        "[[question]": "not readable",
        f'{head}table = "gain"\n': "no metric",
        f'{head}table = "gain"\nmetric = "auc_gain"\nmetrik = 1\n': "unknown key 'metrik'",
        f'{head}table = "gain"\nmetric = 1\n': "metric=1",
        f'{head}table = "gain"\nmetric = "auc_gain"\nbetter = "most"\n': "give higher or lower",
        f'{head}table = "gane"\nmetric = "auc_gain"\n': "table='gane' is unknown",
    }.items():
        (tmp_path / FILE).write_text(text)
        found = bench("evidence", str(tmp_path))
        assert found.code == 2 and said in found.err, (text, found.err)
        assert not (tmp_path / PAGE).exists()
    found = bench("evidence", str(tmp_path / "nowhere"))
    assert found.code == 2 and "nowhere/questions.toml is not there" in found.err


def test_claims_are_signs_of_the_papers_differences() -> None:
    method, printed = paper_claims()
    place = printed["criteo", "xdeepfm"]
    assert method == "light-fmp" and set(place[""]) == {"auc", "logloss", "tt_ratio"}
    assert place["optem"]["auc"] == pytest.approx(0.8022 - 0.8043)
    assert place["lasso"]["tt_ratio"] == pytest.approx(0.6084 - 0.6482)
    # Table 3, DNN: 2h25m36s of 4h52m26s
    assert printed["criteo", "dnn"][""]["tt_ratio"] == pytest.approx(8736 / 17546 - 1)


@pytest.mark.parametrize(
    ("less", "verdict"),
    [((-0.010, -0.011, -0.012), NOT), ((0.010, 0.011, 0.012), REPRODUCED), ((0.02, -0.02, 0.01), CANNOT)],
)
def test_a_claim_is_reproduced_where_the_whole_interval_is_on_its_side(
    cell: Cell, tmp_path: Path, less: tuple[float, ...], verdict: str
) -> None:
    run = RunFolder(tmp_path)
    for seed, (auc, gain) in enumerate(zip((0.70, 0.71, 0.72), less, strict=True)):
        at: dict[str, Any] = {"dataset": "criteo", "backbone": "dnn", "seed": seed}
        run.write(cell(**at, auc=auc, tau=None))
        run.write(cell("light-fmp", **at, auc=auc + gain, tau=0.5))
    (table,) = Explainer(run).tables("claims")
    (row,) = table.rows
    assert row.values[2].text == verdict, "the paper prints a gain in AUC"
    assert row.values[0].mean == pytest.approx(sum(less) / 3)
    assert claim_tables([]) == []
