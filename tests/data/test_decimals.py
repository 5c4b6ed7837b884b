"""Decimal commas: the store is that of the same table with points."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import prepare
from bench.data.raw.decimals import decimal_hint
from bench.errors import ConfigError, DataError

CARD = """
name = "mine"
[raw]
delimiter = "{delimiter}"
missing = ["", "-9{decimal}5"]
{raw}
[raw.columns]
y = "label"
x = "numeric"
n = "integer"
c = "categorical"
"""


def frame(n=200):
    rng = np.random.default_rng(0)
    found = pd.DataFrame({"y": np.arange(n) % 2, "x": rng.normal(size=n).round(3), "n": rng.integers(-3, 99, n) * 1.0})
    found.loc[::7, ["x", "n"]] = np.nan
    found.loc[1::7, "x"] = -9.5
    return found.assign(c=rng.choice(["1,5", "2"], n))


def card(folder, decimal=",", delimiter=";", raw=None):
    raw = f'decimal = "{decimal}"' if raw is None else raw
    return write_card(folder, CARD.format(decimal=decimal, delimiter=delimiter, raw=raw))


@pytest.fixture
def expected(tmp_path):
    """What the table with points gives."""
    frame().to_csv(tmp_path / "t.csv", index=False, sep=";")
    return manifest_of(prepare(card(tmp_path, "."), tmp_path / "t.csv", tmp_path / "points"))


@pytest.mark.parametrize("delimiter", [";", ","])
def test_commas_say_what_points_say(tmp_path, expected, delimiter):
    frame().to_csv(tmp_path / "t.csv", index=False, sep=delimiter, decimal=",")  # quotes where it must
    found = manifest_of(prepare(card(tmp_path, delimiter=delimiter), tmp_path / "t.csv", tmp_path / "commas"))
    assert found["files"] == expected["files"]
    assert found["scaling"] == expected["scaling"]


def test_texts_of_a_parquet_table_are_read_so_and_its_numbers_are_numbers(tmp_path, expected):
    texts = frame().assign(**{name: frame()[name].map("{}".format).str.replace(".", ",") for name in ("x", "n")})
    for one in (texts.replace("nan", None), frame()):
        one.to_parquet(tmp_path / "t.parquet", index=False)
        found = manifest_of(prepare(card(tmp_path), tmp_path / "t.parquet", tmp_path / "parquet"))
        assert found["files"] == expected["files"]


@pytest.mark.parametrize(
    ("rule", "labels"),
    [
        ("", ["0,0", "1,0"]),
        ('label_rule = ">= 3.5"', ["3,4", "3,5"]),
        ('positive = ["a,b"]', ["c", "a,b"]),
        ('label_rule = "== a,b"', ["c", "a,b"]),
    ],
)
def test_labels(tmp_path, rule, labels):
    frame().assign(y=[labels[i % 2] for i in range(200)]).to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    mine = card(tmp_path, raw=f'decimal = ","\n{rule}')
    assert manifest_of(prepare(mine, tmp_path / "t.csv", tmp_path / "out"))["positives"] == 100


@pytest.mark.parametrize(
    ("decimal", "value", "mend"),
    [
        (",", "1.234,5", "take out '.'"),
        (",", "1.234.567", "take out '.'"),
        (",", "1 234,5", "take out ' '"),
        (",", "1.5", "the card's decimal is ','; if that of the file is '.', set decimal = '.'"),
        (",", "1.234", "if it stands between thousands, take it out"),
        (".", "1,5", "the card's decimal is '.'; if that of the file is ',', set decimal = ','"),
        (".", "1,234.5", "take out ','"),
        (".", "1'234", 'take out "\'"'),
        (".", "1.234,5", "take out '.', and set decimal = ','"),
    ],
)
@pytest.mark.parametrize("column", ["x", "n"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_number_in_another_form_is_an_error_that_says_what_to_do(tmp_path, decimal, value, mend, column, form):
    mine = frame().astype({"x": object, "n": object})
    mine.loc[5, column] = value
    texts = mine.assign(**{c: mine[c].map(str).str.replace(".0", "", regex=False) for c in ("n", "x")})
    texts = texts.replace("nan", None).assign(**{c: texts[c].where(texts[c] == value, "7") for c in ("n", "x")})
    path = tmp_path / f"t.{form}"
    texts.to_csv(path, index=False, sep=";") if form == "csv" else texts.to_parquet(path, index=False)
    with pytest.raises(DataError) as caught:
        prepare(card(tmp_path, decimal), path, tmp_path / "out")
    assert mend in str(caught.value)
    assert f"{value!r} is not a" in str(caught.value)


@pytest.mark.parametrize("text", ["a", "", "1-2", "2024-01-01", "1,2,3", "0x1", "1e5"])
def test_what_is_no_number_has_no_such_hint(text):
    assert decimal_hint(text, ".") == ""


def test_numbers_that_the_delimiter_splits_must_stand_in_quotes(tmp_path):
    (tmp_path / "t.csv").write_text("y,x,n,c\n0,1,5,2,a\n")
    with pytest.raises(DataError, match="decimal commas are delimiters too: such numbers must stand in quotes"):
        prepare(card(tmp_path, delimiter=","), tmp_path / "t.csv", tmp_path / "out")
    with pytest.raises(ConfigError, match="decimal and delimiter are both ','"):
        card(tmp_path, delimiter=",", raw='decimal = ","\nquote = ""')


def test_a_decimal_is_a_point_or_a_comma(tmp_path):
    with pytest.raises(ConfigError, match=r"decimal = ';' must be '\.' or ','"):
        card(tmp_path, raw='decimal = ";"')
