"""Data sets from frames, tables, cards and names."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import bench
from bench.data.prepare.prepare import prepare
from bench.data.store.manifest import read_manifest
from bench.data.store.store import store_folder
from bench.errors import UserError


def store(data: bench.Data) -> Path:
    return store_folder(data.data_dir, data.card)


def card(data: bench.Data) -> dict[str, Any]:
    return tomllib.loads(Path(data.spec).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "form",
    [pl.from_pandas, lambda frame: pl.from_pandas(frame).lazy(), pa.Table.from_pandas, lambda frame: frame[::-1][::-1]],
    ids=["polars", "lazy", "pyarrow", "pandas"],
)
def test_all_frames_give_one_store(clicks: pd.DataFrame, data: bench.Data, form: Callable[..., Any]) -> None:
    other = bench.dataset(form(clicks), label="clicked", verbose=False)
    ours, theirs = (read_manifest(store(one), "") for one in (data, other))
    assert theirs["files"] == ours["files"]
    assert other.fields == ["ad", "user", "price", "device"]


def test_the_type_of_a_column_goes_before_its_looks(data: bench.Data) -> None:
    assert card(data)["raw"]["columns"] == {
        "ad": "categorical",
        "user": "categorical",  # texts of numbers
        "price": "numeric",
        "device": "categorical",
        "row": "ignore",
        "clicked": "label",
    }
    assert data.ignored == {"row": "it numbers the rows"}
    assert data.rows == {"train": 960, "valid": 120, "test": 120}
    assert "ignored: row (it numbers the rows)" in str(data)


def test_what_is_said_goes_over_guesses(clicks: pd.DataFrame) -> None:
    found = bench.dataset(
        clicks,
        "clicked",
        name="mine",
        kinds={"ad": "integer", "row": {"kind": "categorical"}, "device": "ignore"},
        keep=["user"],
        groups={"who": ["user", "row"]},
        costs={"price": np.int64(3)},
        min_count=2,
        split={"group": "user"},
        raw={"missing": ["", "?"]},
        title="Clicks",
        verbose=False,
    )
    assert found.fields == ["ad", "user", "price", "row"]
    assert found.ignored == {}
    said = card(found)
    assert said["fields"] == {
        "user": {"keep": True, "group": "who"},
        "row": {"group": "who"},
        "price": {"cost": 3.0},
    }
    assert (said["min_count"], said["split"]["group"], said["raw"]["missing"]) == (2, "user", ["", "?"])
    assert str(found).startswith("Clicks: 1,200 rows (train ")
    terms = found.card.terms_of_fields(found.fields)
    assert (terms.locked, terms.groups, terms.costs) == ((1, 3), {"who": (1, 3)}, {2: 3.0}), "a group goes together"


def test_times_lists_and_missing_values_of_frames_are_read(clicks: pd.DataFrame) -> None:
    n = len(clicks)
    frame = clicks[["ad", "clicked"]].assign(
        when=pd.date_range("2024-01-01", periods=n, freq="h"),
        tags=[["a", "b"], ["c"], []] * (n // 3),
        count=pd.array([1, None, 3] * (n // 3), dtype="Int64"),
        gap=[1.5, float("nan"), 2.5] * (n // 3),
        wait=pd.to_timedelta(range(n), unit="h"),
    )
    found = bench.dataset(frame, verbose=False)
    kinds = card(found)["raw"]["columns"]
    assert (kinds["when"]["kind"], kinds["tags"]["multi"]) == ("time", "combination")
    facts = found.describe().set_index("field")
    assert facts.loc["gap", "kind"] == "numeric"
    assert facts.loc["gap", "missing"] == pytest.approx(1 / 3, abs=0.02) == facts.loc["count", "missing"]
    assert list(found.ignored) == ["wait"], "a duration is nothing that a card can read"


def test_names_that_are_no_text_become_text(clicks: pd.DataFrame) -> None:
    found = bench.dataset(clicks.rename(columns={"ad": 7}), "clicked", verbose=False)
    assert found.fields[0] == "7"


def test_a_table_without_a_card_a_card_and_a_name(clicks: pd.DataFrame, data: bench.Data, tmp_path: Path) -> None:
    clicks.to_csv(tmp_path / "t.csv", index=False)
    table = bench.dataset(tmp_path / "t.csv", data_dir=tmp_path / "data", verbose=False)
    assert (table.fields, table.card.name) == (data.fields, "t")
    again = bench.dataset(table.spec, data_dir=tmp_path / "data", verbose=False)
    assert (again.fields, again.rows) == (table.fields, table.rows)
    spec = "planted[rows=500,fields=5,main=2,interaction=2,redundant=0]"
    made = bench.dataset(spec, data_dir=tmp_path / "data", verbose=False)
    assert sum(made.rows.values()) == 500


def test_a_store_is_used_again_and_replaced_only_where_asked(clicks: pd.DataFrame, tmp_path: Path) -> None:
    def make(frame: pd.DataFrame, **more: Any) -> bench.Data:
        return bench.dataset(frame, "clicked", data_dir=tmp_path, verbose=False, **more)

    made = (store(make(clicks)) / "manifest.json").stat().st_mtime_ns
    assert (store(make(clicks)) / "manifest.json").stat().st_mtime_ns == made
    with pytest.raises(UserError, match=r"frame is there already, made .*; give another name=, or replace=True"):
        make(clicks.iloc[:600])
    with pytest.raises(UserError, match="made under another card"):
        make(clicks, kinds={"ad": "integer"})
    assert sum(make(clicks, name="other", kinds={"ad": "integer"}).rows.values()) == 1200
    assert sum(make(clicks.iloc[:600], replace=True).rows.values()) == 600


def test_equal_calls_share_a_folder_and_others_do_not(clicks: pd.DataFrame, data: bench.Data) -> None:
    assert bench.dataset(clicks, "clicked", verbose=False).data_dir == data.data_dir
    assert bench.dataset(clicks, "clicked", min_count=3, verbose=False).data_dir != data.data_dir


def test_it_tells_what_was_found(clicks: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    bench.dataset(clicks.assign(echo=clicks["clicked"]), "clicked")
    said = capsys.readouterr()
    assert said.out == "" and "LEAK? alone these say the label" in said.err
    bench.dataset(clicks, "clicked", verbose=False)
    assert capsys.readouterr() == ("", "")


BAD: list[tuple[Callable[[pd.DataFrame], Any], dict[str, Any], str]] = [
    (lambda f: f, {"label": "click"}, "label=click: the table has no such column. Did you mean 'clicked'"),
    (lambda f: f.drop(columns="clicked"), {}, "name it with label=COLUMN"),
    (lambda f: f, {"kinds": {"pric": "numeric"}}, "kinds: 'pric' is no column of the table. Did you mean 'price'"),
    (lambda f: f, {"kinds": {"price": "number"}}, "price: kind 'number' does not exist. Did you mean 'numeric'"),
    (lambda f: f, {"kinds": {"clicked": "numeric"}}, "kinds: 'clicked' is the label"),
    (lambda f: f, {"keep": "ad"}, "keep='ad' is one text; give a list of names"),
    (lambda f: f, {"keep": ["add"]}, "'add': the name is no field's. Did you mean 'ad'"),
    (lambda f: f, {"costs": {"price": "x"}}, "cost = 'x' must be a number"),
    (lambda f: f, {"min_cont": 3}, "min_cont=3: a card has no such key. Did you mean 'min_count'"),
    (lambda f: f, {"title": object()}, "is nothing that a card can hold"),
    (lambda f: f, {"name": "a/b"}, "name = 'a/b' must consist of letters"),
    (lambda f: f.iloc[:0], {}, "the frame has 0 rows and 6 columns"),
    (lambda f: f.iloc[:5], {"label": "clicked"}, "5 rows are too few to split"),
    (lambda f: pd.concat([f, f[["ad"]]], axis=1), {}, "'ad'"),
    (lambda f: f.rename(columns={"ad": 1}).assign(**{"1": 0}), {}, "the frame has two columns '1'"),
    (lambda f: f.assign(mixed=[1, "a", None] * 400), {}, "column 'mixed' of the frame holds values of several types"),
    (lambda f: f["clicked"], {}, "dataset(Series): give a frame"),
    (lambda f: "no.csv", {}, "no.csv: there is no such file, and no data set of that name: "),
    (lambda f: "no.toml", {}, "no.toml: cannot be read"),
    (lambda f: "planted", {"label": "x"}, "its card says what columns are for"),
]


@pytest.mark.parametrize(("form", "given", "said"), BAD, ids=[said[:40] for _, _, said in BAD])
def test_bad_input_is_named(clicks: pd.DataFrame, form: Any, given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        bench.dataset(form(clicks), data_dir=tmp_path, verbose=False, **given)
    assert said in str(error.value)
    assert list(tmp_path.rglob("*")) == []


def test_a_card_that_was_prepared_by_the_command_is_opened(
    data: bench.Data, clicks: pd.DataFrame, tmp_path: Path
) -> None:
    raw = tmp_path / "frame.parquet"
    clicks.to_parquet(raw)
    prepare(data.card, raw, store_folder(tmp_path, data.card))
    assert bench.dataset(data.spec, data_dir=tmp_path, verbose=False).rows == data.rows
