"""``advise`` on a table of one's own: what the card says of its fields, the L2, and rankings of earlier commands."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.advising import penalty
from bench.advising.advice import Advice, read_advice
from bench.records import RunFolder
from bench.report.advice import advice_text

Bench = Callable[..., Any]
SMALL = (
    *("--backbone", "dnn[mlp=8]", "--seeds", "2", "--rankers", "lasso", "--threads", "1", "--out", "a"),
    *("--set", "max_epochs=3", "lr=0.02", "batch_size=256"),
)
LONGER = ("--near", "0", "--tolerance", "0.2", "--set", "max_epochs=4", "lr=0.02", "batch_size=128")
GIVEN = ("--set", "l2=1e-5", *SMALL[-3:])
TRUE, NOISE = ("a", "cheap", "geo_city"), ("geo_zip", "kept", "n1", "n2")
TERMS = """
[fields]
kept = { keep = true }
"geo_*" = { group = "geo" }
dear = { cost = 20 }
"""


def make(bench: Bench, more: str = "", rows: int = 3000) -> None:
    """A card ``t.toml`` and its store: three fields that tell, ``dear`` a twin of ``cheap``, and four by lot."""
    draw = random.Random(1)
    names = (*TRUE, "dear", *NOISE)
    lines = []
    for _ in range(rows):
        row = {name: draw.randrange(4) for name in names}
        row["dear"] = row["cheap"] + 7
        rate = 0.05 + 0.1 * sum(row[name] for name in TRUE)
        lines.append(",".join([str(int(draw.random() < rate)), *(f"v{row[name]}" for name in names)]))
    Path("t.csv").write_text("\n".join([f"click,{','.join(names)}", *lines]) + "\n", encoding="utf-8")
    kinds = "".join(f'{name} = "categorical"\n' for name in names)
    split = "[split]\ntrain = 0.5\nvalid = 0.25\ntest = 0.25\n"
    Path("t.toml").write_text(f'name = "t"\n[raw.columns]\nclick = "label"\n{kinds}{split}{more}', encoding="utf-8")
    assert bench("prepare", "t.toml", "--raw", "t.csv").code == 0


def advised(bench: Bench, *more: str) -> tuple[Any, Advice]:
    found = bench("advise", "t.toml", *SMALL, *more)
    assert found.code == 0, found.err
    advice = read_advice(Path("a"))
    assert advice is not None
    return found, advice


def test_locked_fields_stay_groups_go_together_and_the_cheap_twin_is_the_optimum(bench: Bench) -> None:
    """The optimum costs 5 of the 27 of all.

    Three fields tell, 0.3 of the rate each from end to end, so that without one much more than 0.03 is lost;
    ``geo_zip`` goes with one of them, and ``kept`` is locked.
    """
    make(bench, TERMS, rows=6000)
    found, advice = advised(bench, "--budget-by", "cost", "--near", "2", "--tolerance", "0.03", *GIVEN)
    assert (advice.verdict, advice.budget_by) == ("drop", "cost")
    assert set(advice.kept) == {*TRUE, "geo_zip", "kept"}
    assert "cost −81 %" in advice.sentence  # 5 / 27 - 1
    assert "Small was to be what the kept fields cost." in found.out
    by_name = {one.name: one for one in advice.fields}
    assert (by_name["kept"].verdict, by_name["kept"].locked, by_name["kept"].cost) == ("keep", True, None)
    city, zip_code = by_name["geo_city"], by_name["geo_zip"]
    assert (city.group, city.place, city.cost) == ("geo", zip_code.place, zip_code.cost)
    assert city.cost is not None and city.cost.low > 0, "the group was tried as one"
    assert (by_name["dear"].price, by_name["dear"].twin) == (20.0, "cheap")
    for look in advice.looks:
        assert "kept" in look.fields and ("geo_city" in look.fields) == ("geo_zip" in look.fields)
        assert look.cost == sum(20 if name == "dear" else 1 for name in look.fields)
    assert "kept by the card, cost 1" in found.out and "group geo, cost 1" in found.out
    for width in (60, 80, 120):
        assert max(map(len, advice_text(advice, width).splitlines())) <= width
    assert "| 27 |" not in (page := Path("a/advice/advice.md").read_text(encoding="utf-8")) and "| cost |" in page


@pytest.mark.parametrize(
    ("terms", "more", "said"),
    [
        ('"*" = { keep = true }', (), "t: all of its fields are kept by the card, [fields]: there is nothing to drop."),
        ('"*" = { group = "g" }', (), "t: all of its fields are one group by the card, [fields]: there is nothing"),
        ('a = { group = "g" }', ("--budget-by", "cost"), "--budget-by cost: the card of 't' gives no field a cost"),
    ],
)
def test_terms_that_leave_nothing_to_decide_are_refused(
    bench: Bench, terms: str, more: tuple[str, ...], said: str
) -> None:
    make(bench, f"\n[fields]\n{terms}\n")
    found = bench("advise", "t.toml", *SMALL, *more)
    assert found.code == 2 and said in found.err
    assert not Path("a/cells").exists()


def test_the_l2_is_chosen_in_its_share_and_what_was_decided_stands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(bench)
    flags = (*LONGER, "--profile", "anchor", "--time", "10m")
    with monkeypatch.context() as short:
        short.setattr(penalty, "SHARE", 1e-9)
        found, advice = advised(bench, *flags)
    assert advice.verdict == "drop", found.out
    assert "only 0s of the 10m could go into trials of others" in " ".join(found.out.split())
    assert any(text.startswith("L2 is 1e-05, the profile's: ") for text in advice.details)
    assert not list(Path("a/penalties").glob("*.json")), "nothing was tried"
    records = RunFolder(Path("a")).records()
    assert {(record.profile["l2"], record.penalty is None) for record in records} == {(1e-5, True)}

    before = {file.name: file.read_bytes() for file in Path("a/cells").glob("*.json")}
    leftover = Path("a/advice/rankings/without-a-9.csv")
    leftover.write_text("a\n")
    again, _ = advised(bench, *flags)
    assert again.out == found.out
    assert {file.name: file.read_bytes() for file in Path("a/cells").glob("*.json")} == before
    files = {file.name for file in leftover.parent.iterdir()}
    named = {record.label for record in RunFolder(Path("a")).records() if record.method == "ranking-file"}
    assert named == {f"ranking-file[path={name}]" for name in files}, "no ranking is left over, and none is missing"


def test_with_time_the_l2_is_the_one_that_run_would_choose(bench: Bench) -> None:
    make(bench)
    _, advice = advised(bench, *LONGER, "--time", "60m")
    (record,) = (one for one in RunFolder(Path("a")).records() if one.is_baseline and one.seed == 0)
    assert record.penalty is not None and record.penalty["grid"] == [1e-5, 1e-4, 1e-3, 1e-2]
    tried = {trial["l2"]: trial["valid_auc"] for trial in record.penalty["trials"]}
    assert tried[record.profile["l2"]] == max(tried.values())
    assert f"L2 is {record.profile['l2']:g}, the best of 1e-05, 0.0001, 0.001, 0.01" in " ".join(advice.details)
    assert json.loads(Path("a/advice/l2.json").read_text())["grid"] == record.penalty["grid"]


def test_a_field_that_says_the_label_is_named_before_anything_is_trained_and_in_the_sentence(bench: Bench) -> None:
    rows = [(draw.randrange(2), draw.randrange(5)) for draw in [random.Random(0)] for _ in range(2000)]
    lines = "".join(f"{click},{'yn'[click]}{day % 2},{day}\n" for click, day in rows)
    Path("t.csv").write_text(f"click,outcome,day\n{lines}")
    Path("t.toml").write_text(
        'name = "t"\n[raw.columns]\nclick = "label"\noutcome = "categorical"\nday = "categorical"\n'
    )
    assert bench("prepare", "t.toml", "--raw", "t.csv").code == 0
    found, advice = advised(bench, "--near", "0", *GIVEN)
    assert found.err.index("warning: outcome (AUC 1.000) alone says the label: a leak?") < found.err.index("1 of 4")
    assert advice.sentence.startswith("With outcome, which may be a leak: drop 1 of 2 fields: AUC ")
    assert advice.details[0].endswith('give its column the kind "ignore" in the card, prepare again, and repeat.')
    assert "leak? AUC alone 1.000" in " ".join(found.out.split())
