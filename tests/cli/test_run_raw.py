"""``run --raw``: the store of a table is made where it is not there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

CARD = 'name = "clicks"\n[raw]\n[raw.columns]\ny = "label"\nc = "categorical"\nd = "categorical"\n'
RUN = (
    *("--methods", "no-selection", "cardinality", "--backbones", "dnn[mlp=4]", "--seeds", "1", "--epochs", "1"),
    *("--set", "l2=1e-5", "--out", "r"),  # given, so that none need be chosen first
)


@pytest.fixture
def card():
    Path("clicks.toml").write_text(CARD)
    for place in range(2):
        rows = "".join(f"{i % 2},{i % 3},{i % 7}\n" for i in range(100 * place, 100 * place + 100))
        Path(f"part-{place}.csv").write_text(f"y,c,d\n{rows}")
    return "clicks.toml"


def test_a_store_that_is_not_there_is_made_and_one_that_is_there_is_compared(bench, card):
    done = bench("run", "--datasets", card, "--raw", "part-0.csv", "part-1.csv", *RUN)
    assert done.code == 0, done.err
    assert "data/clicks: 200 rows" in done.out
    assert len(list(Path("r/cells").iterdir())) == 2
    assert "raw" not in tomllib.loads(Path("r/run.toml").read_text())
    again = bench("run", "--datasets", card, "--raw", "part-*.csv", *RUN)
    assert (again.code, "data/clicks is there already (200 rows)" in again.err) == (0, True)
    other = bench("run", "--datasets", card, "--raw", "part-0.csv", *RUN)
    assert other.code == 2
    assert "made from part-0.csv, part-1.csv (200 rows), not from part-0.csv" in other.err
    assert "`python -m bench prepare clicks.toml --raw … --force` replaces it" in other.err


def test_a_sample_is_made_by_its_name(bench, card):
    done = bench("run", "--datasets", f"{card}[rows=150]", "--raw", "part-*.csv", *RUN)
    assert (done.code, ": 150 rows" in done.out) == (0, True), done.err
    assert "clicks[rows=150]" in next(Path("r/cells").iterdir()).read_text()


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        (("planted[rows=500]",), "--raw is for one data set made from files, and --datasets names none"),
        (("clicks.toml", "clicks.toml[min_count=2]"), "names clicks, clicks[min_count=2]: prepare each by itself"),
    ],
)
def test_it_is_for_one_table(bench, card, datasets, said):
    refused = bench("run", "--datasets", *datasets, "--raw", "part-0.csv", *RUN)
    assert (refused.code, said in refused.err) == (2, True), refused.err
    assert not Path("data").exists()
    assert not Path("r").exists()


def test_raw_data_that_are_not_there_leave_nothing(bench, card):
    refused = bench("run", "--datasets", card, "--raw", "none.csv", *RUN)
    assert (refused.code, "--raw none.csv: there is no such file or folder" in refused.err) == (2, True)
    assert not Path("data").exists()
