"""``data init``: what it says of tables whose answer is known, and that ``prepare`` takes the card as it is."""

from __future__ import annotations

import gzip
import os
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.data.look import sample
from bench.data.look.look import suggest_min_count

SAMPLES = Path(os.environ.get("BENCH_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
ROWS = 2_000


@pytest.fixture
def looked(bench):
    """Look at a file, prepare it by the card as it is; the card's values, its text and what was printed."""

    def run(raw: str, *flags: str):
        done = bench("data", "init", raw, *flags)
        assert (done.code, done.err) == (0, "")
        card = done.out.partition(":")[0]
        text = Path(card).read_text()
        assert bench("prepare", card, "--raw", raw, "--force").code == 0
        checked = bench("data", "check", card, "--raw", raw)
        assert (checked.code, "fine" in checked.out) == (0, True), checked.out
        return tomllib.loads(text), text, done.out

    return run


def kinds(card: dict) -> dict:
    columns = card["raw"]["columns"]
    return {name: value if isinstance(value, str) else value["kind"] for name, value in columns.items()}


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"{name} = "))


def shop(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    clicked = (rng.random(rows) < 0.3).astype(int)
    return pd.DataFrame(
        {
            "clicked": clicked,
            "user_id": rng.integers(0, 300, rows),
            "visits": rng.geometric(0.2, rows) - 1,
            "price": np.round(rng.lognormal(2, 1, rows), 2),
            "shown_at": pd.to_datetime("2024-03-01") + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="s"),
            "stamp": 1_700_000_000 + rng.integers(0, 10**6, rows),
            "tags": ["|".join(f"t{tag}" for tag in rng.integers(0, 9, 1 + row % 3)) for row in range(rows)],
            "session": [f"s{row * 7919 % rows}" for row in range(rows)],
            "comment": [" ".join(f"word{word}" for word in rng.integers(0, 3000, 9)) for _ in range(rows)],
            "country": np.where(rng.random(rows) < 0.1, "NULL", rng.choice(["de", "fr", "us"], rows)),
            "shop": "one",
        }
    )


def test_every_kind_of_column_is_told_from_the_others(looked):
    shop().to_csv("shop.csv")
    card, text, out = looked("shop.csv")
    assert kinds(card) == {
        "": "ignore",  # the index that pandas writes
        "clicked": "label",
        "user_id": "categorical",
        "visits": "integer",
        "price": "numeric",
        "shown_at": "time",
        "stamp": "time",
        "tags": "categorical",
        "session": "ignore",
        "comment": "ignore",
        "country": "categorical",
        "shop": "ignore",
    }
    columns = card["raw"]["columns"]
    assert columns["shown_at"]["parts"] == {"shown_at_hour": "hour", "shown_at_weekday": "weekday"}
    assert (columns["shown_at"]["format"], columns["stamp"]["format"]) == ("iso", "unix")
    assert columns["tags"] == {"kind": "categorical", "separator": "|", "multi": "combination"}
    assert card["raw"]["missing"] == ["", "NULL"]
    assert card["time"] == {"column": "shown_at", "cut": "day"}
    assert "numbers the rows" in line_of(text, '""')
    assert "a value for every row" in line_of(text, "session")
    assert "constant" in line_of(text, "shop")
    assert f"{ROWS:,} rows, all looked at" in out


def test_parquet_says_the_same_and_lists_are_lists(looked):
    frame = shop()
    frame["history"] = [[1, 2], [2], [], [3, 1]] * (ROWS // 4)
    frame["spent"] = pd.to_timedelta(frame["visits"], unit="s")
    frame.to_parquet("shop.parquet")
    card, _, _ = looked("shop.parquet")
    found = kinds(card)
    assert found["visits"] == "integer"
    assert found["price"] == "numeric"
    assert found["shown_at"] == found["stamp"] == "time"
    assert found["spent"] == "ignore"  # a duration, of which nothing can be made
    assert card["raw"]["columns"]["history"] == {"kind": "categorical", "multi": "combination"}


def test_delimiter_encoding_decimals_quotes_and_soft_markers_are_found(looked):
    ages = [str(row % 40) if row % 9 else "?" for row in range(ROWS)]
    labels = [("yes", "no", "no")[row % 3] for row in range(ROWS)]
    rows = [f'{row};"Köln; Mitte";{row % 1000},{row % 97:02d};{labels[row]};{ages[row]}' for row in range(ROWS)]
    Path("de.csv").write_bytes("\r\n".join(["Nr;Stadt;Preis;converted;Alter", *rows, ""]).encode("cp1252"))
    card, _, _ = looked("de.csv")
    raw = card["raw"]
    assert (raw["delimiter"], raw["encoding"], raw["decimal"]) == (";", "cp1252", ",")
    assert (raw["positive"], raw["missing"]) == (["yes"], ["", "?"])
    assert kinds(card)["Preis"] == "numeric"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_values_over_several_lines_and_escaped_quotes_are_read(looked, encoding):
    lines = [f'{row % 2}\t"a\nb{row % 5}"\t"c \\"d{row % 3}\\" e"' for row in range(300)]
    Path("long.tsv").write_text("\n".join(["y\tq\te", *lines]) + "\n", encoding=encoding)
    card, _, _ = looked("long.tsv")
    assert card["raw"]["newlines_in_values"] is True
    assert card["raw"]["escape"] == "\\"


def test_a_table_without_names_has_its_label_first(looked):
    rng = np.random.default_rng(1)
    lines = [f"{int(rng.random() < 0.2)}\t{rng.geometric(0.1)}\t{rng.integers(9):x}" for _ in range(500)]
    Path("plain.tsv").write_text("\n".join(lines) + "\n")
    card, _, _ = looked("plain.tsv")
    assert kinds(card) == {"c1": "label", "c2": "integer", "c3": "categorical"}
    assert card["raw"]["header"] is False


def test_parts_in_a_folder_are_one_table(looked):
    Path("parts").mkdir()
    frame = shop()
    for part in range(3):
        with gzip.open(f"parts/p{part}.csv.gz", "wt") as file:
            frame.iloc[part::3].to_csv(file, index=False)
    card, _, out = looked("parts")
    assert card["raw"]["files"] == ["*.csv"]
    assert card["raw"]["join"] is True
    assert f"{ROWS:,} rows" in out


def wide(rows: int, fields: int) -> pd.DataFrame:
    """Fields of a signal, copies of some of them under other names, one that is nearly one, and one that says all."""
    rng = np.random.default_rng(5)
    columns = {f"f{place}": rng.choice([3, 10, 50][place % 3], rows).astype(int) for place in range(fields)}
    columns = {name: rng.integers(0, values.max() + 1, rows) for name, values in columns.items()}
    clicked = rng.random(rows) < 0.2 + 0.3 * (columns["f0"] == 1)
    frame = {
        "clicked": clicked.astype(int),
        **{name: [f"v{one}" for one in column] for name, column in columns.items()},
    }
    for name in ("f1", "f4", "f7"):
        names = rng.permutation(100)
        frame[f"twin_{name}"] = [f"w{names[one]}" for one in columns[name]]
    frame["near_f2"] = np.where(rng.random(rows) < 0.01, "else", frame["f2"])
    frame["leak"] = [
        f"x{one}" for one in np.where(rng.random(rows) < 0.99, clicked, ~clicked) * 20 + rng.integers(0, 20, rows)
    ]
    return pd.DataFrame(frame)


def test_twins_near_duplicates_and_the_leak_are_flagged_and_nothing_else(looked):
    wide(5_000, 30).to_csv("wide.csv", index=False)
    _, text, out = looked("wide.csv")
    flagged = {
        flag: {line.split(" = ")[0] for line in text.splitlines() if flag in line} for flag in ("TWIN", "NEAR", "LEAK")
    }
    assert flagged["TWIN"] == {"f1", "f4", "f7", "twin_f1", "twin_f4", "twin_f7"}
    assert flagged["NEAR"] == {"f2", "near_f2"}
    assert flagged["LEAK"] == {"leak"}
    assert "f1 = twin_f1, f4 = twin_f4, f7 = twin_f7" in out


def test_of_a_large_table_evenly_spread_rows_are_looked_at_and_all_are_counted(looked, monkeypatch):
    monkeypatch.setattr(sample, "SAMPLE_ROWS", 1_000)
    monkeypatch.setattr(sample, "PIECE_BYTES", 1 << 12)
    frame = shop(20_000)
    frame["half"] = np.where(np.arange(20_000) < 10_000, "early", "late")
    frame.to_csv("big.csv", index=False)
    card, text, out = looked("big.csv")
    assert "20,000 rows, of which " in out
    assert "estimates" in text
    assert kinds(card)["half"] == "categorical"  # one value alone in the first half of the file


def test_ratings_become_a_rule(looked):
    pd.DataFrame({"user": [1, 2, 3, 4, 5] * 60, "rating": [1, 2.5, 4, 5, 3, 4] * 50}).to_csv("r.csv", index=False)
    card, text, _ = looked("r.csv")
    assert card["raw"]["label_rule"] == ">= 4"
    assert "from 1 to 5" in text
    assert "50.0% count as 1" in line_of(text, "rating")  # 4, 5 and 4 of six


@pytest.mark.parametrize(
    ("columns", "flags", "said"),
    [
        ({"click": "01", "converted": "01", "x": "ab"}, [], ["'click', 'converted'", "--label click"]),
        ({"a": "xyz", "b": "pqr"}, [], ["which column is the label?", "'a', 'b'"]),
        ({"click": "01", "x": "ab"}, ["--label", "clik"], ["no such column", "Did you mean 'click'?"]),
        ({"click": "01", "x": "abc"}, ["--label", "x"], ["3 texts", 'positive = ["…"]']),
        ({"click": ["0", "1", ""], "x": "ab"}, ["--label", "click"], ["33.3% of its values are missing"]),
    ],
)
def test_a_label_that_cannot_be_told_is_asked_for(bench, columns, flags, said):
    frame = pd.DataFrame({name: [*values] * (60 // len(values)) for name, values in columns.items()})
    frame.to_csv("t.csv", index=False)
    done = bench("data", "init", "t.csv", *flags)
    assert done.code == 2
    assert all(text in done.err for text in said), done.err
    assert not Path("t.toml").exists()


def test_a_card_that_is_there_is_replaced_only_when_forced(bench):
    shop(200).to_csv("shop.csv")
    Path("shop.toml").write_text("mine")
    refused = bench("data", "init", "shop.csv")
    assert (refused.code, Path("shop.toml").read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert bench("data", "init", "shop.csv", "--force").code == 0
    assert Path("shop.toml").read_text() != "mine"


def test_a_table_called_as_a_registered_set_gets_another_name(looked):
    shop(200).to_csv("criteo.csv")
    card, _, _ = looked("criteo.csv")
    assert card["name"] == "my-criteo"


def test_min_count_leaves_no_field_more_than_an_id_for_ten_rows():
    class Stub:
        kind = "categorical"

        def __init__(self, counts):
            self.present = self
            self.counts = np.array(counts)

    few = Stub([50, 50])
    many = Stub([1] * 60 + [2] * 10 + [5] * 4)
    assert suggest_min_count([few], 100) == 1  # 2 ids
    assert suggest_min_count([few, many], 100) == 5  # 74 ids, then 14, then 4 of at most 10


@pytest.mark.parametrize(
    ("name", "label", "integers", "fields"),
    [("criteo_kaggle_10k.tsv.gz", "c1", 12, 39), ("avazu_first9999.csv.gz", "click", 0, 21)],
)
def test_real_samples_are_told(looked, name, label, integers, fields):
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"real sample {name} is not at hand; BENCH_SAMPLES names its folder")
    card, _, _ = looked(str(path))
    found = list(kinds(card).values())
    assert kinds(card)[label] == "label"
    assert (found.count("integer"), len(found) - found.count("ignore") - 1) == (integers, fields)
