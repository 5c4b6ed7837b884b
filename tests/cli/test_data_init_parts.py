"""``data init`` of tables in several files, and folders that hold other things beside their table."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROWS, PARTS = 60, 12


def part(place: int) -> pd.DataFrame:
    rng = np.random.default_rng(place)
    return pd.DataFrame(
        {
            "clicked": (rng.random(ROWS) < 0.4).astype(int),
            "shop": rng.choice(["a", "b", "c"], ROWS),
            "price": np.round(rng.lognormal(2, 1, ROWS), 2),
        }
    )


def write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)


def roles(card: Path) -> dict[str, str]:
    columns = tomllib.loads(card.read_text())["raw"]["columns"]
    return {name: value if isinstance(value, str) else value["kind"] for name, value in columns.items()}


def prepared(bench, card: str, *raw: str) -> str:
    checked = bench("data", "check", card, "--raw", *raw)
    assert (checked.code, "fine" in checked.out) == (0, True), checked.out + checked.err
    made = bench("prepare", card, "--raw", *raw, "--force")
    assert made.code == 0, made.err
    return made.out


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("given", [["day=*/x.{}"], ["days"], ["days/day=*"]])
def test_folders_that_name_a_column_are_a_field_of_the_card(bench, ending, given):
    below = Path("days") if given[0].startswith("days") else Path()
    for place in range(PARTS):
        write(part(place), below / f"day=d{place % 5}" / f"{'x' if place < 5 else place}.{ending}")
    raw = [text.format(ending) for text in given]
    done = bench("data", "init", *raw, "--out", "mine.toml")
    assert (done.code, done.err) == (0, "")
    assert roles(Path("mine.toml")) == {
        "clicked": "label",
        "shop": "categorical",
        "price": "numeric",
        "day": "categorical",
    }
    n_parts = 5 if below == Path() else PARTS
    assert f"{n_parts * ROWS:,} rows" in done.out
    assert f"{n_parts * ROWS:,} rows" in prepared(bench, "mine.toml", *raw)


@pytest.mark.parametrize("given", [["part-*.csv"], [f"part-{place}.csv" for place in range(PARTS)]])
def test_a_pattern_and_the_files_it_stands_for(bench, given):
    for place in range(PARTS):
        write(part(place), Path(f"part-{place}.csv"))
    done = bench("data", "init", *given)
    assert (done.code, done.err) == (0, "")
    card = done.out.partition(":")[0]
    assert card == f"{Path.cwd().name}.toml", "parts are named after their folder"
    assert f"from part-0.csv and {PARTS - 1} more" in Path(card).read_text().splitlines()[0]
    assert f"{PARTS * ROWS:,} rows" in prepared(bench, card, *given)


def test_what_lies_beside_a_table_is_passed_by_and_named(bench):
    for place in range(2):
        write(part(place), Path("raw") / f"{place}.csv")
    first = bench("data", "init", "raw")
    assert first.code == 0
    card = Path("raw.toml")
    text = card.read_text().replace('files = ["*.csv"]\n', "").replace("join = true", "#")
    card.write_text(text)
    expected = prepared(bench, "raw.toml", "raw").split(";")[0]
    for name in ("README.md", "fields.json", "LICENSE"):
        (Path("raw") / name).write_text("a, b\n1\n")
    store = next(path.parent for path in Path().rglob("ids.npy"))
    store.rename(Path("raw") / "store")
    out = prepared(bench, "raw.toml", "raw")
    assert out.split(";")[0] == expected
    assert "note: passed by, as no tables: LICENSE, README.md, fields.json, store/" in out
    again = bench("data", "init", "raw", "--force")
    assert again.code == 0
    assert "passed by, as no tables: LICENSE, README.md, fields.json" in again.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "name the table"),
        (["none-*.csv"], "there is no such file or folder"),
        (["0.csv", "1.tsv"], "several kinds"),
    ],
)
def test_what_is_no_table_is_said(bench, given, said):
    write(part(0), Path("0.csv"))
    Path("1.tsv").write_text("a\tb\n1\t2\n")
    done = bench("data", "init", *given)
    assert (done.code, said in done.err.replace("\n", " ")) == (2, True), done.err
    assert not list(Path().glob("*.toml"))
