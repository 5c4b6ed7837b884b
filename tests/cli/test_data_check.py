"""``data check``: the list that a user sees, and a raw table beside the card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bench.data.look import raw_check
from bench.data.raw import parquet

CARD = """name = "clicks"
[raw]
[raw.columns]
clicked = "label"
user = "categorical"
price = "numeric"
visits = "integer"
when = { kind = "time", format = "iso", parts = { hour = "hour" } }
gone = "categorical"
"""
ROWS = ["clicked,user,price,visits,when,more"] + [
    f"{row % 2},u{row % 7},1.5,{row},2024-01-01 0{row % 9}:00,x" for row in range(50)
]


@pytest.fixture
def check(bench):
    def run(card: str, rows: list[str] | None = None):
        Path("clicks.toml").write_text(card)
        if rows is not None:
            Path("clicks.csv").write_text("\n".join(rows) + "\n")
        return bench("data", "check", "clicks.toml", *(["--raw", "clicks.csv"] if rows is not None else []))

    return run


def test_a_card_without_faults_says_so_in_one_line(check):
    done = check(CARD)
    assert done.code == 0
    assert done.out == "clicks.toml: fine: 5 fields, label 'clicked' (1 is 1 and 0 is 0)\n"


def test_faults_are_listed_with_line_and_column(check):
    done = check(CARD.replace('"numeric"', '"number"').replace("[raw]\n", "[raw]\nheadr = true\n"))
    assert done.code == 2
    assert "clicks.toml:3:1: [raw]: the key 'headr' is unknown. Did you mean 'header'?" in done.out
    assert "clicks.toml:7:1: [raw]: [columns] price: kind 'number' does not exist." in done.out
    assert done.out.endswith("2 things to mend.\n")


def test_all_columns_and_values_that_do_not_fit_are_named_at_once(check):
    rows = list(ROWS)
    rows[3] = "0,u1,cheap,2,2024-01-01 01:00,x"
    rows[5] = "1,u2,1.5,many,2024-01-01 01:00,x"
    rows[8] = "maybe,u2,1.5,3,noon,x"
    done = check(CARD, rows)
    assert done.code == 2
    found = done.out.splitlines()
    for place, said in [
        ("9:1", "the header lacks the column 'gone'"),
        ("2:2", "does not name: 'more'"),
        ("6:1", "line 4, column 'price': 'cheap' is not a number"),
        ("7:1", "line 6, column 'visits': 'many' is not an integer"),
        ("8:1", "line 9, column 'when': 'noon' is no time"),
        ("4:1", "line 9, column 'clicked': the label is 'maybe', not 0 or 1"),
    ]:
        assert any(line.startswith(f"clicks.toml:{place}: ") and said in line for line in found), (
            place,
            said,
            done.out,
        )
    assert found[-1] == "6 things to mend."


def test_parquet_types_and_labels_are_compared_too(bench):
    Path("clicks.toml").write_text(CARD.replace('gone = "categorical"\n', ""))
    frame = pd.DataFrame(
        {"clicked": [0, 1, 2] * 20, "user": "a", "price": [[1.0]] * 60, "visits": 1, "when": "2024-01-01"}
    )
    frame.to_parquet("clicks.parquet")
    done = bench("data", "check", "clicks.toml", "--raw", "clicks.parquet")
    assert done.code == 2
    assert "column 'price' holds lists" in done.out
    assert "row 3, column 'clicked': the label is '2'" in done.out
    assert "2 things to mend." in done.out


def counted(work, calls):
    """``work``, which notes its calls."""

    def call(*given, **named):
        calls.append(given)
        return work(*given, **named)

    return call


@pytest.mark.parametrize("n_columns", [4, 40])
def test_a_parquet_file_is_opened_as_often_whatever_its_columns(bench, monkeypatch, n_columns):
    """Once for its types, and once for its rows; faults of types and of values are all named."""
    columns = "".join(f'c{i} = "integer"\n' for i in range(n_columns))
    Path("clicks.toml").write_text(f'name = "clicks"\n[raw]\n[raw.columns]\nclicked = "label"\n{columns}')
    frame = pd.DataFrame({"clicked": [0, 1] * 30} | {f"c{i}": [str(i)] * 60 for i in range(n_columns)})
    frame["c0"] = [[1]] * 60
    frame.loc[[7, 9], "c2"] = "many"
    frame.loc[12, "c3"] = "more"
    frame.to_parquet("clicks.parquet")
    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr(parquet.parquet, "ParquetFile", counted(parquet.parquet.ParquetFile, opened))
    done = bench("data", "check", "clicks.toml", "--raw", "clicks.parquet")
    assert "column 'c0' holds lists" in done.out
    assert "row 8, column 'c2': 'many' is not an integer" in done.out
    assert "row 13, column 'c3': 'more' is not an integer" in done.out
    assert "3 things to mend." in done.out
    assert len(opened) == 2


def test_a_column_that_is_there_twice_is_named_once(bench):
    Path("clicks.toml").write_text(CARD.replace('gone = "categorical"\n', ""))
    names = ["clicked", "user", "user", "price", "visits", "when"]
    values = ([0, 1] * 30, ["a"] * 60, ["a"] * 60, [1.0] * 60, [1] * 60, ["2024-01-01"] * 60)
    parquet.parquet.write_table(pa.table([pa.array(one) for one in values], names=names), "clicks.parquet")
    done = bench("data", "check", "clicks.toml", "--raw", "clicks.parquet")
    assert done.out.count("names the column 'user' twice") == 1
    assert "1 thing to mend." in done.out


def test_few_reads_find_the_bad_columns_of_a_wide_table(check, monkeypatch):
    """One with all, one with the label alone, then halves: at most two a halving and fault, of 64 columns six."""
    n_columns, bad = 64, {3: 5, 17: 2, 63: 9}
    card = "".join(f'c{i} = "integer"\n' for i in range(n_columns))
    rows = [["1", *(str(row + i) for i in range(n_columns))] for row in range(20)]
    for row in rows[::2]:
        row[0] = "0"
    for column, row in bad.items():
        rows[row][column + 1] = "x"
    rows[15][4] = "later"
    lines = [",".join(["y", *(f"c{i}" for i in range(n_columns))]), *map(",".join, rows)]
    reads = []
    monkeypatch.setattr(raw_check, "BlockParser", counted(raw_check.BlockParser, reads))
    done = check(f'name = "clicks"\n[raw]\n[raw.columns]\ny = "label"\n{card}', lines)
    for column, row in bad.items():
        assert f"line {row + 2}, column 'c{column}': 'x' is not an integer" in done.out
    assert "3 things to mend." in done.out
    assert len(reads) <= 2 + len(bad) * 2 * np.log2(n_columns)


def test_a_label_of_one_class_is_told_of_a_whole_table(check):
    card = CARD.replace('gone = "categorical"', 'more = "ignore"')
    assert check(card, ROWS).code == 0
    done = check(card, [row if row.startswith("c") else f"0{row[1:]}" for row in ROWS])
    assert done.code == 2
    assert "none of the 50 rows has the label 1" in done.out


def test_a_name_of_a_registered_set_is_named_at_its_place(check):
    done = check(CARD.replace('"clicks"', '"avazu"'))
    assert done.code == 2
    assert "clicks.toml:1:1: name = 'avazu' is the name of another data set" in done.out


def test_what_cannot_be_looked_at_ends_with_one_line(bench):
    assert "cannot be read" in bench("data", "check", "absent.toml").err
    Path("clicks.toml").write_text(CARD)
    done = bench("data", "check", "clicks.toml", "--raw", "absent.csv")
    assert (done.code, "no such file" in done.err) == (2, True)
    assert "Did you mean 'check'?" in bench("data", "chek").err
    assert "init" in bench("data", "--help").out
