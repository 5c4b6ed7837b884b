"""``python -m bench advise`` from the command line, on small planted data."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.advising.advice import read_advice
from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.errors import DataError
from bench.records import RunFolder

Bench = Callable[..., Any]
DATA = "planted[rows=6000,fields=8,main=4,interaction=2,redundant=1]"
SMALL = (
    *("--backbone", "dnn[mlp=8]", "--seeds", "2", "--near", "1", "--rankers", "lasso", "--threads", "1"),
    *("--set", "max_epochs=3", "lr=0.01", "batch_size=256"),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the store of ``DATA``: enough rows for a model that tells something."""
    folder = tmp_path_factory.mktemp("data")
    card = resolve_dataset(DATA)
    prepare(card, None, store_folder(folder, card))
    return str(folder)


@pytest.fixture
def flags(prepared: str) -> list[str]:
    return ["advise", DATA, *SMALL, "--data-dir", prepared, "--out", "a"]


def test_advice_is_told_written_reported_and_gone_on_with(bench: Bench, flags: list[str]) -> None:
    found = bench(*flags, "--tolerance", "0.2")
    assert found.code == 0, found.err
    assert "advice, 1 of 4: all 8 fields" in found.err and "advice, 4 of 4: single fields near" in found.err
    advice = read_advice(Path("a"))
    assert advice is not None and advice.verdict == "drop" and advice.choice is not None
    assert f"Drop {8 - advice.choice.k} of 8 fields: AUC " in found.out
    assert advice.choice.valid.low > -0.2
    assert sorted(advice.kept) == sorted(advice.choice.fields)
    assert {one.verdict for one in advice.fields if not one.kept} <= {"drop", "unsure"}
    assert any(one.cost is not None for one in advice.fields)

    rows = list(csv.DictReader(Path("a/advice/fields.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["field"] for row in rows] == [one.name for one in advice.fields]
    assert advice.sentence in Path("a/advice/advice.md").read_text(encoding="utf-8").replace("\\", "")
    page = Path("a/report.html").read_text(encoding="utf-8")
    assert page.index(advice.sentence) < page.index('id="summary"')
    assert {file.suffix for file in Path("a/figures").glob("advice.*")} == {".pdf", ".png", ".svg"}

    before = {file.name: file.read_bytes() for file in Path("a/cells").iterdir()}
    text = Path("a/advice/advice.json").read_text()
    again = bench(*flags, "--tolerance", "0.2")
    assert (again.code, again.out) == (0, found.out)
    assert {file.name: file.read_bytes() for file in Path("a/cells").iterdir()} == before, "nothing is computed again"
    assert Path("a/advice/advice.json").read_text() == text
    record = next(one for one in RunFolder(Path("a")).records() if one.config_hash in advice.choice.cells)
    assert record.predictions is not None and record.predictions["valid"]["rows"] == record.split_rows["valid"]
    shown = bench("explain", "a", "table2", record.dataset, record.label, "auc")
    assert shown.code == 0 and record.config_hash[:16] in shown.out

    file = Path("a/advice/advice.json")
    file.write_text(json.dumps({"version": 1}))
    with pytest.raises(DataError, match=r"advice.json is no readable advice .*Delete it"):
        read_advice(Path("a"))


def test_too_small_data_say_so_and_what_it_would_take(bench: Bench, flags: list[str]) -> None:
    found = bench(*flags, "--tolerance", "0.0001")
    assert found.code == 0, found.err
    assert "The data are too small to tell which of 8 fields can be dropped within a loss of 0.0001" in found.out
    advice = read_advice(Path("a"))
    assert advice is not None and advice.verdict == "small" and "now 6,000 rows and 2 seeds" in advice.details[0]
    assert "drop" not in {one.verdict for one in advice.fields}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--tolerance", "0"), "tolerance=0 is out of range; allowed: (0, 0.5)"),
        (("--tolerance", "nan"), "tolerance=nan is out of range"),
        (("--rankers", "lasso", "xgbost"), "method 'xgbost' is unknown. Did you mean 'xgboost'?"),
        (("--rankers", "no-selection"), "rankers='no-selection' does not rank fields by itself; name others"),
        (("--seeds", "1"), "seeds=1 is out of range; allowed: [2, inf)"),
        (("--time", "soon"), "time='soon' is no duration above 0; write 90s"),
        (("--time", "0.01s"), "time=0.01s is too short: all fields, the rankings and one smaller set take about"),
        (("--near", "-1"), "near=-1 is out of range"),
        (("--backbone", "dn"), "backbone 'dn' is unknown. Did you mean 'dnn'?"),
        (("--out", "a,b"), "out=a,b has a comma in it"),
    ],
)
def test_bad_input_is_refused_with_the_mend_and_computes_nothing(
    bench: Bench, flags: list[str], more: tuple[str, ...], said: str
) -> None:
    found = bench(*flags, *more)
    assert found.code == 2, found.out
    assert said in found.err
    assert not Path("a/cells").exists()


def test_labels_that_no_model_can_tell_leave_nothing_to_say(bench: Bench, flags: list[str]) -> None:
    found = bench(*flags, "--set", "max_epochs=1", "lr=1e-6")
    assert found.code == 0, found.err
    assert "Nothing can be told: with all 8 fields the AUC is 0." in found.out
    advice = read_advice(Path("a"))
    assert advice is not None and (advice.verdict, advice.fields, advice.choice) == ("noise", (), None)
    assert "rankings by" not in found.err
    assert "Nothing can be told" in Path("a/report.html").read_text(encoding="utf-8")


def test_one_field_leaves_nothing_to_drop(bench: Bench, tmp_path: Path) -> None:
    Path("one.csv").write_text("x,click\n" + "".join(f"{i % 7},{i % 2}\n" for i in range(400)))
    Path("one.toml").write_text('name = "one"\n[raw.columns]\nclick = "label"\nx = "categorical"\n')
    prepared = bench("prepare", "one.toml", "--raw", "one.csv")
    assert prepared.code == 0, prepared.err
    found = bench("advise", "one.toml", *SMALL)
    assert found.code == 2
    assert found.err == "error: one has one field only: there is nothing to drop.\n"


def test_fields_that_say_the_same_are_named_as_twins(bench: Bench) -> None:
    rng = random.Random(0)
    rows = [(rng.randrange(6), rng.randrange(5)) for _ in range(3000)]
    lines = [f"{int(rng.random() < 0.1 + 0.15 * city)},c{city},{city + 7},d{day}" for city, day in rows]
    Path("t.csv").write_text("\n".join(["click,city,code,day", *lines]) + "\n", encoding="utf-8")
    kinds = "".join(f'{name} = "categorical"\n' for name in ("city", "code", "day"))
    Path("t.toml").write_text(f'name = "t"\n[raw.columns]\nclick = "label"\n{kinds}', encoding="utf-8")
    assert bench("prepare", "t.toml", "--raw", "t.csv").code == 0
    found = bench("advise", "t.toml", *SMALL, "--out", "a", "--tolerance", "0.2")
    assert found.code == 0, found.err
    advice = read_advice(Path("a"))
    assert advice is not None
    assert {one.name: one.twin for one in advice.fields} == {"city": "code", "code": "city", "day": ""}
    assert "twin of" in found.out
