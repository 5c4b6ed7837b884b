"""A model leaves the suite: what its folder scores is what the evaluated model scores, from the raw rows on."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.engine.evaluate import predict
from bench.engine.model import CTRModel
from bench.export.reader import Field
from bench.records import RunFolder
from bench.rows.load import LoadedData
from bench.run.again import resolve_again, train

Bench = Callable[..., Any]

CARD = """
name = "shop"
[raw]
missing = ["", "NA", "-999"]
[raw.columns]
y = "label"
site = "categorical"
price = "numeric"
visits = "integer"
at = { kind = "time", format = "iso", parts = { hour = "hour", weekday = "weekday" } }
tags = { kind = "categorical", multi = "combination", separator = "|" }
words = { kind = "categorical", multi = "first", positions = 2, separator = "|" }
note = "ignore"
"""
HEADER = ["note", "y", "site", "price", "visits", "at", "tags", "words"]
ALONE = """
import sys
class Refused:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("bench", "torch", "pandas", "pyarrow", "scipy"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
sys.path.insert(0, sys.argv[1])
from reader import Model
print(*Model(sys.argv[1]).score_csv(open(sys.argv[2], newline="", encoding="utf-8")).tolist())
"""


def rows(n: int, odd: int = 0) -> list[list[str]]:
    """Rows that a label follows, with missing values; from ``odd`` on also with values that come once only."""
    made = []
    for i in range(n):
        site = "" if i % 11 == 0 else f"s, {i % 7}" if i < n - odd else f"new {i}"
        price = "NA" if i % 13 == 0 else "-999.0" if i % 17 == 0 else f"{(i * 37 % 101) / 7:.3f}"
        visits = "" if i % 19 == 0 else str(i * i % 900 - 5)
        at = f"2024-03-{1 + i % 28:02d}T{i % 24:02d}:15:00+02:00" if i % 23 else ""
        tags = "|".join(["b", "a", "b"][: i % 4])
        words = ["x|y|z", "z", "", "y|y"][i % 4]
        label = str(int(i % 7 < 3 or i % 5 == 0))
        made.append([str(i), label, site, price, visits, at, tags, words])
    return made


def text(made: list[list[str]], names: list[str] = HEADER) -> str:
    """CSV with the columns ``names``, in that order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([dict(zip(HEADER, row, strict=True)).get(name, "more") for name in names] for row in made)
    return out.getvalue()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared table, a run of it, and a model exported from that."""
    from bench.cli import main

    home = tmp_path_factory.mktemp("shop")
    (home / "shop.toml").write_text(CARD)
    (home / "shop.csv").write_text(text(rows(600, odd=60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["prepare", "shop.toml", "--raw", "shop.csv"]) == 0
        flags = ["--datasets", "shop.toml", "--methods", "no-selection", "cardinality", "--backbones", "dnn[mlp=8]"]
        settings = ["--epochs", "1", "--seeds", "1", "--set", "l2=1e-5", "--prune-ratio", "0.2", "--out", "run"]
        assert main(["run", *flags, *settings]) == 0
        assert main(["export", "run", "shop", "no-selection", "--to", "model"]) == 0
    return home


def trained(home: Path, method: str, patch: pytest.MonkeyPatch) -> tuple[CTRModel, LoadedData]:
    patch.chdir(home)
    run = RunFolder(Path("run"))
    record = next(one for one in run.records() if one.label == method)
    return train(resolve_again(run, record, None, None, print), run, lambda event: None)


def probabilities(model: CTRModel, data: LoadedData) -> np.ndarray:
    """Of all rows, in the order of the table, float64 [N]."""
    found = np.empty(sum(data.split_rows.values()))
    for part in (data.train, data.valid, data.test):
        found[part.index.numpy()] = torch.sigmoid(predict(model, part).double()).numpy()
    return found


def scores(out: str) -> np.ndarray:
    return np.array([float(row["probability"]) for row in csv.DictReader(io.StringIO(out))])


def test_raw_rows_score_as_the_evaluated_model_scores_them(
    shop: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = probabilities(*trained(shop, "no-selection", monkeypatch))
    done = bench("score", "model", "shop.csv")
    assert done.code == 0, done.err
    assert len(wanted) == 600
    assert wanted.std() > 0.001
    np.testing.assert_allclose(scores(done.out), wanted, atol=1e-6)
    alone = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, "model", "shop.csv"], capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose([float(one) for one in alone.stdout.split()], wanted, atol=1e-6)


def test_the_label_may_be_absent_columns_may_be_more_and_the_file_compressed(
    shop: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shop)
    names = ["words", "more", *[name for name in HEADER if name not in ("y", "note", "words")]]
    (tmp_path / "new.csv.gz").write_bytes(gzip.compress(text(rows(600, odd=60), names).encode()))
    first = scores(bench("score", "model", "shop.csv").out)
    done = bench("score", "model", str(tmp_path / "new.csv.gz"), "--out", str(tmp_path / "scores.csv"))
    assert done.code == 0, done.err
    assert "600 rows" in done.out
    np.testing.assert_array_equal(scores((tmp_path / "scores.csv").read_text()), first)


def test_parquet_rows_score_as_their_text(
    shop: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pandas as pd

    monkeypatch.chdir(shop)
    frame = pd.read_csv("shop.csv", keep_default_na=False, na_values={"price": ["NA"], "visits": [""]})
    frame["tags"] = [[one for one in tags.split("|") if one] for tags in frame["tags"]]
    frame.drop(columns="y").to_parquet(tmp_path / "new.parquet")
    done = bench("score", "model", str(tmp_path / "new.parquet"))
    assert done.code == 0, done.err
    np.testing.assert_array_equal(scores(done.out), scores(bench("score", "model", "shop.csv").out))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row | {"visits": "many"}, ("line 3", "'visits'", "'many'")),
        (lambda row: row | {"at": "noon"}, ("line 3", "'at'", "'noon'")),
        (lambda row: row | {"price": "1e300"}, ("line 3", "'price'")),
        (lambda row: {name: value for name, value in row.items() if name != "site"}, ("lacks the column 'site'",)),
    ],
)
def test_rows_that_cannot_be_scored_are_named_and_nothing_is_written(
    shop: Path,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: Callable[[dict[str, str]], dict[str, str]],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(shop)
    made = [dict(zip(HEADER, row, strict=True)) for row in rows(3)]
    second = change(made[1])
    names = list(second)
    lines = [",".join(names), *(",".join(row[name].replace(", ", " ") for name in names) for row in (made[0], second))]
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    done = bench("score", "model", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "scores.csv"))
    assert done.code == 2
    assert all(word in done.err for word in words), done.err
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("export", "run", "shop", "no-selection", "--to", "model"), ("model is there already", "--force")),
        (("export", "run", "shop", "no-selection", "--to", "run", "--force"), ("is no exported model",)),
        (("export", "run", "shop", "no-selectoin", "--to", "new"), ("Did you mean 'no-selection'?",)),
        (("export", "run", "shop", "--to", "new"), ("shop is a data set", "--best")),
        (("export", "run", "--to", "new"), ("name a cell",)),
        (("export", "nowhere", "--best", "--to", "new"), ("is no run folder",)),
        (("score", "run", "shop.csv"), ("is no exported model",)),
    ],
)
def test_what_cannot_be_exported_is_said(
    shop: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(shop)
    done = bench(*argv)
    assert done.code == 2
    assert all(word in done.err for word in words), done.err
    assert not Path("new").exists()


def test_a_cell_that_comes_out_otherwise_is_refused(shop: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    run = RunFolder(Path("run"))
    record = next(one for one in run.records() if one.label == "cardinality")
    file = run.cell_file(record.config_hash)
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"auc": 0.123, "versions": {"torch": "1.0"}}))
    try:
        done = bench("export", "run", record.config_hash[:8], "--to", "new")
    finally:
        file.write_text(before)
    assert done.code == 2
    assert "0.123000" in done.err
    assert "torch 1.0 and" in done.err
    assert not Path("new").exists()


def test_a_changed_file_is_not_scored_with(shop: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    file = Path("model/vocabulary.json")
    before = file.read_text()
    file.write_text(before.replace(":2,", ":3,", 1))
    try:
        done = bench("score", "model", "shop.csv")
    finally:
        file.write_text(before)
    assert done.code == 2
    assert "is not the file that was exported" in done.err


def field(kind: str, **more: Any) -> Field:
    table = {"trim": False, "missing": ["", "NA"], "missing_numbers": [-999.0], "decimal": ".", "limit": 1e9}
    buckets = {"buckets": [3, 5, 6, 8], "merged_buckets": False}
    return Field({"column": "c", "input": "c", "kind": kind, **more}, table | buckets, {"2": 2, "3..4": 3, "7": 4})


def test_the_reader_takes_python_values_as_it_takes_their_text() -> None:
    assert field("count").encode(["2", 2, 2.0, "4", 4, -999, "-999.0", None, float("nan"), True]).tolist() == [
        *(2, 2, 2, 3, 3, 1, 1, 1, 1, 0),
    ]
    found = field("number", mean=1.0, sd=2.0).encode(["3", 3, 3.0, None, "NA", -999.0])
    np.testing.assert_array_equal(found, np.array([1, 1, 1, np.nan, np.nan, np.nan], np.float32))
    hour = field("time", format="iso", part="hour")
    assert hour.encode(["2024-03-07 07:59", "2024-03-07T09:59:59.5+02:00", "20240307T0700Z", None]).tolist() == [
        4,
        4,
        4,
        1,
    ]
    for bad in ("3,5", "1_0", "3.5", "many"):
        with pytest.raises(ValueError, match="cannot be read as a count"):
            field("count").encode([bad])
