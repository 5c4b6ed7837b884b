"""Several values in one row: lists of Parquet and texts with a separator, against plain Python."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_reference import manifest_of, plain_ids, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.errors import ConfigError, DataError

CARD = """
name = "mine"
[raw]
missing = ["", "NULL"]
{raw}
[raw.columns]
y = "label"
tags = {tags}
c = "categorical"
"""
COMBINATION = '{{ kind = "categorical", multi = "combination"{more} }}'
FIRST = '{{ kind = "categorical", multi = "first", positions = 3{more} }}'
SEPARATOR = ', separator = "|"'


def lists(n=300, seed=0, values=("a", "b", "longer than eight", "é", "NULL")):
    """Lists of up to five of the values, which repeat; some empty, some missing."""
    rng = random.Random(seed)
    return [None if rng.random() < 0.1 else rng.choices(values, k=rng.randrange(6)) for _ in range(n)]


def table(rows):
    n = len(rows)
    return {"y": [i % 2 for i in range(n)], "tags": rows, "c": ["ab"[i % 3 % 2] for i in range(n)]}


def write_text(folder, rows, separator="|"):
    texts = ["" if row is None else separator.join(row) for row in rows]
    pd.DataFrame(table(texts)).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def write_lists(folder, rows, kind=None):
    tags = pa.array(rows, kind or pa.list_(pa.string()))
    pq.write_table(pa.table(table(rows) | {"tags": tags}), folder / "t.parquet", row_group_size=70)
    return folder / "t.parquet"


def combined(row):
    present = {value for value in row or [] if value not in (None, "", "NULL")}
    return "|".join(sorted(present, key=str.encode)) or None


def placed(row, place):
    value = (row or [])[place : place + 1]
    return value[0] if value and value[0] not in ("", "NULL") else None


def assert_store(store, rows, fields):
    """Ids of the store ``store`` against those of ``fields``, name -> texts, and of column c."""
    split = np.load(store / "split.npy").tolist()
    named = fields | {"c": table(rows)["c"]}
    plain = [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]
    ids, _ = plain_ids(plain, split, list(named), 1)
    assert [field["name"] for field in manifest_of(store)["fields"]] == list(named)
    np.testing.assert_array_equal(np.load(store / "ids.npy"), ids)


@pytest.mark.parametrize("write", [write_text, write_lists])
@pytest.mark.parametrize("chunk_bytes", [300, 1 << 20])
def test_a_combination_is_the_sorted_set(tmp_path, write, chunk_bytes):
    rows = lists()
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more=SEPARATOR)))
    store = prepare(card, write(tmp_path, rows), tmp_path / "out", settings=Settings(chunk_bytes=chunk_bytes))
    assert_store(store, rows, {"tags": [combined(row) for row in rows]})


@pytest.mark.parametrize("write", [write_text, write_lists])
def test_the_first_values_are_fields(tmp_path, write):
    rows = lists()
    card = write_card(tmp_path, CARD.format(raw="", tags=FIRST.format(more=SEPARATOR)))
    store = prepare(card, write(tmp_path, rows), tmp_path / "out")
    assert_store(store, rows, {f"tags_{i + 1}": [placed(row, i) for row in rows] for i in range(3)})


def test_one_position_keeps_the_name_and_a_field_may_have_another(tmp_path):
    rows = lists()
    first = '{ kind = "categorical", field = "tag", multi = "first", separator = "|" }'
    card = write_card(tmp_path, CARD.format(raw="", tags=first))
    assert_store(
        prepare(card, write_text(tmp_path, rows), tmp_path / "out"), rows, {"tag": [placed(r, 0) for r in rows]}
    )


@pytest.mark.parametrize("kind", [pa.large_list(pa.string()), pa.list_(pa.large_string()), pa.list_(pa.binary())])
def test_kinds_of_lists_mean_the_same(tmp_path, kind):
    rows = lists()
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    bytes_of = [row and [value.encode() for value in row] for row in rows]
    expected = manifest_of(prepare(card, write_lists(tmp_path, rows), tmp_path / "one"))["files"]
    assert (
        manifest_of(
            prepare(
                card,
                write_lists(tmp_path, bytes_of if kind.value_type == pa.binary() else rows, kind),
                tmp_path / "other",
            )
        )["files"]
        == expected
    )


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        (pa.int64(), [1, 20, 3], str),
        (pa.float32(), [0.1, 2.0, 3.5], str),
        (pa.bool_(), [True, False], str),
        (pa.timestamp("s"), [0, 86_400], lambda s: str(np.datetime64(s, "s").astype("M8[D]"))),
    ],
)
def test_lists_of_numbers_and_times_are_sets_of_their_texts_with_nulls_left_out(tmp_path, kind, values, text):
    rows = lists(values=(*values, None))
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    store = prepare(card, write_lists(tmp_path, rows, pa.list_(kind)), tmp_path / "out")
    written = [row and [None if value is None else text(value) for value in row] for row in rows]
    assert_store(store, rows, {"tags": [combined(row) for row in written]})


def test_lists_of_one_length_are_read(tmp_path):
    rows = [["a", "b"], ["b", None], None, ["b", "a"]] * 20
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    store = prepare(card, write_lists(tmp_path, rows, pa.list_(pa.string(), 2)), tmp_path / "out")
    assert_store(store, rows, {"tags": [combined(row) for row in rows]})


def test_a_separator_inside_a_value_keeps_sets_apart(tmp_path):
    rows = [["a|b"], ["a", "b"], ["a\\|b"], ["a\\", "b"]] * 20
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    store = prepare(card, write_lists(tmp_path, rows), tmp_path / "out")
    ids = np.load(store / "ids.npy")[:, 0].reshape(-1, 4)
    assert (ids == ids[0]).all()
    assert len(set(ids[0].tolist())) == 4


def test_the_delimiter_may_stand_between_values_inside_quotes(tmp_path):
    rows = lists()
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more=', separator = ","')))
    store = prepare(card, write_text(tmp_path, rows, ","), tmp_path / "out")
    found = [None if (text := combined(row)) is None else text.replace("|", ",") for row in rows]
    assert_store(store, rows, {"tags": found})


def test_without_a_word_in_the_card_a_list_is_refused_and_both_ways_are_named(tmp_path):
    card = write_card(tmp_path, CARD.format(raw="", tags='"categorical"'))
    both = r'multi = "combination" makes one value of all of them, multi = "first" with positions = 3 three fields'
    with pytest.raises(DataError, match=both):
        prepare(card, write_lists(tmp_path, lists()), tmp_path / "out")


def test_a_text_needs_a_separator(tmp_path):
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    with pytest.raises(DataError, match="column 'tags' holds texts, and the card does not say what stands between"):
        prepare(card, write_text(tmp_path, lists()), tmp_path / "out")


def test_a_value_that_is_no_text_is_named_with_its_row(tmp_path):
    rows = [[b"a"], [], [b"b", b"\xff"]] * 10
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    with pytest.raises(DataError, match=r"row 3, column 'tags': b'\\xff' is not utf-8 text"):
        prepare(card, write_lists(tmp_path, rows, pa.list_(pa.binary())), tmp_path / "out")


@pytest.mark.parametrize(
    "inner", [pa.dictionary(pa.int8(), pa.string()), pa.duration("s"), pa.struct({"a": pa.int8()})]
)
def test_lists_of_what_has_no_text_are_refused(tmp_path, inner):
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    with pytest.raises(DataError, match=r"column 'tags' of type list<.* cannot be read as categorical"):
        prepare(card, write_lists(tmp_path, [None] * 20, pa.list_(inner)), tmp_path / "out")


def test_lists_of_lists_are_refused(tmp_path):
    card = write_card(tmp_path, CARD.format(raw="", tags=COMBINATION.format(more="")))
    with pytest.raises(DataError, match="column 'tags' of type list"):
        prepare(card, write_lists(tmp_path, [[["a"]]] * 20, pa.list_(pa.list_(pa.string()))), tmp_path / "out")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ('{ kind = "categorical", separator = "|" }', "separator needs to know what several values become"),
        ('{ kind = "categorical", positions = 3 }', "positions needs to know what several values become"),
        ('{ kind = "categorical", multi = "frist" }', "Did you mean 'first'"),
        ('{ kind = "categorical", multi = "combination", positions = 3 }', 'positions = 3 needs multi = "first"'),
        ('{ kind = "categorical", multi = "first", positions = 0 }', "positions = 0 must be from 1 to 100"),
        ('{ kind = "categorical", multi = "first", separator = "" }', "must be what stands between two values"),
        ('{ kind = "integer", multi = "first" }', "multi is a key of the kind 'categorical', not of 'integer'"),
    ],
)
def test_keys_that_do_not_belong_together(tmp_path, tags, message):
    with pytest.raises(ConfigError, match=message):
        write_card(tmp_path, CARD.format(raw="", tags=tags))


def test_without_quotes_the_delimiter_cannot_part_values(tmp_path):
    with pytest.raises(ConfigError, match="holds the delimiter"):
        write_card(tmp_path, CARD.format(raw="quote = ''", tags=COMBINATION.format(more=', separator = ","')))


def test_fields_of_positions_may_not_have_the_name_of_another_column(tmp_path):
    text = CARD.format(raw="", tags=FIRST.format(more=SEPARATOR)).replace("c = ", "tags_2 = ")
    with pytest.raises(ConfigError, match="'tags_2' is made by two columns"):
        write_card(tmp_path, text)
