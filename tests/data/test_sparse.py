"""Lines of libsvm and libffm against the same table as CSV."""

from __future__ import annotations

import random

import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.errors import ConfigError, DataError

COLUMNS = """
user = { kind = "categorical" }
tags = { kind = "categorical", multi = "combination", separator = "|" }
x = "numeric"
n = "integer"
"""
CSV = f'name = "mine"\n[raw.columns]\ny = "label"{COLUMNS}'
LIBSVM = """
name = "mine"
[raw]
format = "libsvm"
{raw}
[raw.columns]
y = "label"
"1-50" = {{ kind = "categorical", field = "user" }}
"51-99" = {{ kind = "categorical", field = "tags", multi = "combination" }}
"100" = {{ kind = "numeric", field = "x" }}
"101" = {{ kind = "integer", field = "n" }}
"200-300" = "ignore"
"""
LIBFFM = LIBSVM.replace("libsvm", "libffm")
for old, new in (("1-50", "0"), ("51-99", "1"), ("100", "2"), ("101", "3"), ("200-300", "4")):
    LIBFFM = LIBFFM.replace(f'"{old}"', f'"{new}"')


def rows(n=200):
    """Label, user, tags, x and n of each row; None and [] where nothing is there."""
    rng = random.Random(0)
    for i in range(n):
        tags = rng.choices(range(51, 60), k=rng.randrange(4))
        maybe = [
            value if rng.random() < 0.8 else None for value in (rng.randrange(1, 9), rng.gauss(0, 1), rng.randrange(99))
        ]
        yield i % 2, maybe[0], tags, maybe[1], maybe[2]


def as_csv():
    lines = ["y,user,tags,x,n"]
    for y, user, tags, x, n in rows():
        lines.append(",".join("" if v is None else str(v) for v in (y, user, "|".join(map(str, tags)), x, n)))
    return "\n".join(lines)


def as_sparse(fields):
    rng = random.Random(1)
    lines = []
    for y, user, tags, x, n in rows():
        tokens = (
            [(0, user, 1)] * (user is not None) + [(1, tag, 1) for tag in tags] + [(4, 250, 7.5)] * rng.randrange(2)
        )
        tokens += [(2, 100, x)] * (x is not None) + [(3, 101, n)] * (n is not None)
        rng.shuffle(tokens)
        words = [f"{field}:{index}:{value}" if fields else f"{index}:{value}" for field, index, value in tokens]
        lines.append(rng.choice([" ", "\t", "  "]).join([str(y), *words]) + rng.choice(["", " ", " # a 1:2 comment"]))
    return "\n".join(lines) + rng.choice(["", "\n"])


@pytest.mark.parametrize(("card", "fields"), [(LIBSVM, False), (LIBFFM, True)])
@pytest.mark.parametrize("chunk_bytes", [300, 1 << 20])
def test_sparse_lines_say_what_the_table_says(tmp_path, card, fields, chunk_bytes):
    (tmp_path / "t.csv").write_text(as_csv())
    expected = manifest_of(prepare(write_card(tmp_path, CSV), tmp_path / "t.csv", tmp_path / "csv"))
    (tmp_path / "t.txt").write_text(as_sparse(fields))
    work = Settings(chunk_bytes=chunk_bytes)
    made = prepare(write_card(tmp_path, card.format(raw="")), tmp_path / "t.txt", tmp_path / "out", settings=work)
    assert manifest_of(made)["files"] == expected["files"]
    assert manifest_of(made)["scaling"] == expected["scaling"]


@pytest.mark.parametrize("labels", [("+1", "-1"), ("1", "-1")])
def test_labels_of_other_words(tmp_path, labels):
    (tmp_path / "t.txt").write_text("".join(f"{labels[i % 2]} {1 + i % 5}:1\n" for i in range(60)))
    card = write_card(tmp_path, LIBSVM.format(raw=f'positive = ["{labels[0]}"]'))
    assert manifest_of(prepare(card, tmp_path / "t.txt", tmp_path / "out"))["positives"] == 30


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 qid:3 1:1", "holds 'qid:3', which ranks queries"),
        ("1 1", "holds '1', which is not of the form index:value"),
        ("1 1:1:1", "holds '1:1:1', which is not of the form index:value"),
        ("1 a:1", "holds 'a:1', which is not of the form"),
        ("1 -1:1", "holds '-1:1', which is not of the form"),
        ("1 100:a", "holds '100:a', which is not of the form"),
        ("1 150:1", "has the index 150, which no column of the card holds"),
        ("1 0:1", "has the index 0, which no column of the card holds"),
        ("1 2:0.5", "gives index 2 of the categorical column '1-50' the value 0.5"),
        ("1 2:1 3:1", "has several values of the column '1-50': multi = .combination. .* multi = .first."),
        ("1 100:1 100:2", "has several values of the column '100': a column of numbers has one"),
        ("1 101:1.5", "has the value 1.5 in '101', which is not an integer"),
        ("# nothing", "has no label; take it out"),
        ("1 é:1", "holds letters beyond ASCII"),
        ("2 1:1", "the label is '2', not 0 or 1"),
        ("1 100:inf", "is no finite number"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, line, message):
    lines = [f"{i % 2} {1 + i % 5}:1" for i in range(60)]
    lines[40] = line
    (tmp_path / "t.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=f"t.txt: line 41.*{message}"):
        prepare(
            write_card(tmp_path, LIBSVM.format(raw="")), tmp_path / "t.txt", tmp_path / "out", settings=Settings(100)
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"libsvm"', '"libsvn"', "Did you mean 'libsvm'"),
        ('"51-99"', '"50-99"', "the indices '50-99' begin before others end"),
        ('"51-99"', '"99-51"', "the indices '99-51' begin before others end"),
        ('"51-99"', "tags", "column 'tags' must be an index, as 7, or a range"),
        ('"100"', '"100-100000"', "begin before|numeric cannot be made of it; give one index"),
    ],
)
def test_cards_that_cannot_be(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        write_card(tmp_path, LIBSVM.format(raw="").replace(old, new))
