"""Blanks around values: taken off by ``trim = true``, and named where they are what is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.errors import DataError

CARD = """
name = "mine"
[raw]
missing = ["", "?", "-1"]
trim = {trim}
{raw}
[raw.columns]
y = "label"
c = "categorical"
long = "categorical"
x = "numeric"
n = "integer"
d = {{ kind = "time", format = "iso", parts = {{ weekday = "weekday" }} }}
tags = {{ kind = "categorical", multi = "first", separator = "|", positions = 2 }}
"""


def card(folder, trim="true", raw=""):
    return write_card(folder, CARD.format(trim=trim, raw=raw))


def frame(n=120):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.integers(0, 2, n),
            "c": rng.choice(["a", "b", "?"], n),
            "long": rng.choice(["a longer value", "another one", ""], n),
            "x": rng.choice(["1.5", "-2", "?", "0"], n),
            "n": rng.choice(["1", "20", "3.0", "?", "-1"], n),
            "d": rng.choice(["2024-01-01", "2024-01-06"], n),
            "tags": rng.choice(["a|b", "b", "?|a", ""], n),
        }
    ).astype(str)


def padded(plain):
    """The frame with blanks and tabs around its values and names."""
    pads = np.random.default_rng(1).choice(["", " ", "  ", "\t"], (2, *plain.shape))
    values = pads[0] + plain.to_numpy().astype(object) + pads[1]
    values[:, -1] = [text.replace("|", " | ") for text in values[:, -1]]
    return pd.DataFrame(values, columns=[f" {name}" for name in plain.columns])


def text_of(table):
    rows = [table.columns.tolist(), *table.to_numpy().tolist()]
    return "".join(",".join(row) + "\n" for row in rows)


@pytest.mark.parametrize("chunk_bytes", [300, 1 << 20])
def test_a_trimmed_table_is_the_one_without_blanks(tmp_path, chunk_bytes):
    found = []
    for trim, table in (("false", frame()), ("true", padded(frame())), ("true", frame())):
        (tmp_path / "t.csv").write_text(text_of(table))
        work = Settings(chunk_bytes=chunk_bytes)
        manifest = manifest_of(prepare(card(tmp_path, trim), tmp_path / "t.csv", tmp_path / "out", settings=work))
        found.append((manifest["files"], manifest["scaling"]))
    assert found[0] == found[1] == found[2]


def test_texts_of_parquet_are_trimmed_too(tmp_path):
    (tmp_path / "t.csv").write_text(text_of(frame()))
    expected = manifest_of(prepare(card(tmp_path), tmp_path / "t.csv", tmp_path / "out"))["files"]
    padded(frame()).set_axis(frame().columns, axis=1).to_parquet(tmp_path / "t.parquet", index=False)
    assert manifest_of(prepare(card(tmp_path), tmp_path / "t.parquet", tmp_path / "out"))["files"] == expected


@pytest.mark.parametrize(("column", "wanted"), [("x", "a number"), ("n", "an integer")])
def test_what_is_no_number_is_named_with_its_line(tmp_path, column, wanted):
    table = padded(frame())
    table.loc[7, f" {column}"] = " one "
    (tmp_path / "t.csv").write_text(text_of(table))
    with pytest.raises(DataError, match=f"line 9, column '{column}': 'one' is not {wanted}"):
        prepare(card(tmp_path), tmp_path / "t.csv", tmp_path / "out")


@pytest.mark.parametrize("column", ["x", "n"])
def test_a_marker_that_differs_by_blanks_is_named(tmp_path, column):
    table = frame()
    table.loc[7, column] = " ?"
    (tmp_path / "t.csv").write_text(text_of(table))
    with pytest.raises(DataError, match=r"' ?[?]' is not .*a missing value has no blanks around it; set trim = true"):
        prepare(card(tmp_path, "false"), tmp_path / "t.csv", tmp_path / "out")


def test_names_that_differ_by_blanks_are_named(tmp_path):
    (tmp_path / "t.csv").write_text(text_of(padded(frame())))
    with pytest.raises(DataError, match="Its names have blanks around them: set trim = true in the card"):
        prepare(card(tmp_path, "false"), tmp_path / "t.csv", tmp_path / "out")


LABELS = """
name = "mine"
[raw]
missing = ["", "?"]
{raw}
[raw.columns]
y = "label"
c = "categorical"
"""


def refusal(folder, labels, raw=""):
    rows = "".join(f"{labels[i % len(labels)]},{'ab'[i % 3 % 2]}\n" for i in range(60))
    (folder / "t.csv").write_text(f"y,c\n{rows}")
    with pytest.raises(DataError) as caught:
        prepare(write_card(folder, LABELS.format(raw=raw)), folder / "t.csv", folder / "out")
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "raw", "shown"),
    [
        ([" >50K", " <=50K"], 'positive = [">50K"]\nnegative = ["<=50K"]', "the label is ' >50K'"),
        ([" >50K", " <=50K"], 'positive = [">50K"]', "holds ' >50K', which is '>50K' but for blanks"),
        ([" >50K", " <=50K"], 'label_rule = "== >50K"', "holds ' >50K', which is '>50K' but for blanks"),
        (["0", "1 "], "", "the label is '1 ', not 0 or 1"),
        (["0", " ?"], "", "the label is ' ?', not 0 or 1"),
    ],
)
def test_a_label_with_blanks_is_shown_with_them_and_trim_is_offered(tmp_path, labels, raw, shown):
    message = refusal(tmp_path, labels, raw)
    assert shown in message
    assert "trim = true under [raw]" in message


def test_labels_are_trimmed(tmp_path):
    (tmp_path / "t.csv").write_text("y,c\n" + " >50K,a\n<=50K ,b\n" * 30)
    mine = write_card(tmp_path, LABELS.format(raw='trim = true\npositive = [">50K"]'))
    assert manifest_of(prepare(mine, tmp_path / "t.csv", tmp_path / "out"))["positives"] == 30


@pytest.mark.parametrize(
    ("labels", "mend"),
    [
        (["no", "yes"], 'positive = ["yes"], negative = ["no"]'),
        (["yes", "never"], 'positive = ["yes"], negative = ["never"]'),
        (["-1", "1"], 'positive = ["1"], negative = ["-1"]'),
        (["1", "2"], 'positive = ["2"], negative = ["1"]'),
        (["T", "F"], 'positive = ["T"], negative = ["F"]'),
        (["true", "false"], 'positive = ["true"], negative = ["false"]'),
        (["1", "2", "3", "4", "5"], 'label_rule = ">= 4"'),
        (["a", "b", "c"], 'positive = ["…"], negative = ["…"]'),
    ],
)
def test_other_labels_get_the_words_that_would_do(tmp_path, labels, mend):
    assert mend in refusal(tmp_path, labels)
    if "…" not in mend:  # the words do
        words = mend.replace(", negative", "\nnegative")
        store = prepare(write_card(tmp_path, LABELS.format(raw=words)), tmp_path / "t.csv", tmp_path / "out")
        assert 0 < manifest_of(store)["positives"] < 60
