"""``bench publish``: bundles as pages that need nothing else, of complete rows alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY
from folders_of_runs import altered, change, tree

from bench.cli import main

Bench = Callable[..., Any]


class Page(HTMLParser):
    """Rows of the table, and where links lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")
        self.links += [value or "" for name, value in attrs if name == "href" and not (value or "").startswith("data:")]

    def handle_endtag(self, tag: str) -> None:
        self._cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def made(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two bundles: a baseline and two methods at two seeds, and another method at one of them."""
    home = tmp_path_factory.mktemp("bundles")
    common = ["--datasets", TINY, "--data-dir", str(data_dir), "--backbones", "dnn[mlp=8]", "--epochs", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name, methods in (("one", ["no-selection", "random-k"]), ("two", ["cardinality", "lasso"])):
            assert main(["run", *common, "--methods", *methods, "--seeds", "2", "--out", name]) == 0
        for file in Path("two", "cells").iterdir():
            if (record := json.loads(file.read_text()))["label"] == "lasso" and record["seed"] == 1:
                change(file, status="failed", auc=None, logloss=None, predictions=None, reason="<b>no</b>")
        for name in ("one", "two"):
            assert main(["submit", name, "--to", f"{name}.zip"]) == 0
    return home


@pytest.fixture
def bundles(made: Path, bench: Bench) -> list[str]:
    """Copies of them in the folder that ``bench`` works in."""
    names = ["one.zip", "two.zip"]
    for name in names:
        shutil.copyfile(made / name, name)
    shutil.copytree(made / "one", "one")
    return names


def test_a_site_shows_complete_rows_and_all_that_it_links_to_is_there(bench: Bench, bundles: list[str]) -> None:
    done = bench("publish", *bundles, "--to", "site")
    assert done.code == 0, done.err
    assert done.out == "site/index.html: 3 rows\n"
    assert re.search(r"left out: Lasso on .*: it has seed 0, and others seeds 0, 1\n", done.err)
    text = Path("site", "index.html").read_text()
    page = Page(text)
    heading, *rows = page.rows
    assert heading[:5] == ["Data set", "Backbone", "τ", "Method", "AUC ↑"]
    assert [row[3] for row in rows] == ["No Selection", "Random K", "Cardinality"]
    assert [row[6] for row in rows] == ["one.zip", "one.zip", "two.zip"]
    cells = [json.loads(file.read_text()) for file in Path("site", "cells").iterdir()]
    assert sorted((cell["label"], cell["seed"]) for cell in cells) == [
        (label, seed) for label in ("cardinality", "no-selection", "random-k") for seed in (0, 1)
    ]
    own = [cell["auc"] for cell in cells if cell["label"] == "cardinality"]
    assert rows[2][4].startswith(f"{sum(own) / 2:.4f} ± ")
    assert all(Path("site", link).is_file() for link in page.links)
    assert {f"predictions/{cell['config_hash'][:16]}.npy" for cell in cells} <= set(page.links)
    assert "http://" not in text and "https://" not in text
    assert "Lasso" not in Path("site", "tables", "overall.md").read_text()


def test_a_site_is_replaced_as_a_whole_and_equal_bundles_give_equal_sites(bench: Bench, bundles: list[str]) -> None:
    assert bench("publish", *bundles, "--to", "site").code == 0
    first = tree("site")
    assert bench("publish", *bundles, "--to", "site").code == 0
    assert tree("site") == first
    Path("mine").mkdir()
    Path("mine", "index.html").write_text("x")
    Path("mine", "notes.txt").write_text("x")
    refused = bench("publish", *bundles, "--to", "mine")
    assert refused.code == 2 and "to=mine is there and is no site of this command" in refused.err
    assert Path("mine", "notes.txt").read_text() == "x"
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []


def test_what_cannot_be_published_is_refused(bench: Bench, bundles: list[str]) -> None:
    alone = bench("publish", "two.zip", "--to", "site")
    assert alone.code == 2 and "no bundle has a complete block" in alone.err
    folder = bench("publish", "one", "--to", "site")
    assert folder.code == 2 and "one is no bundle" in folder.err
    none = bench("publish", "--to", "site")
    assert none.code == 2 and "no bundle is named" in none.err
    altered("one.zip", "better.zip", honest=True)
    better = bench("publish", "better.zip", "--to", "site")
    assert better.code == 2 and "better.zip does not agree with its predictions" in better.err
    data = bytearray(Path("one.zip").read_bytes())
    data[len(data) // 2] ^= 1
    Path("one.zip").write_bytes(bytes(data))
    damaged = bench("publish", *bundles, "--to", "site")
    assert damaged.code == 2 and "one.zip" in damaged.err
    assert not Path("site").exists()
