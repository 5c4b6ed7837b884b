"""Columns of several values that are pooled: their ids in the store, against plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from plain_reference import manifest_of, write_card
from test_multi import CARD, lists, write_lists, write_text

from bench.data.card.card import DatasetCard
from bench.data.prepare.prepare import Settings, prepare
from bench.data.schema import FIRST_VALUE, MISSING, RARE, Field, Schema
from bench.data.store.fields import describe
from bench.errors import ConfigError
from bench.rows.load import load

MEAN = '{ kind = "categorical", multi = "mean", separator = "|", positions = 3 }'
N = 3


def cut(row):
    """The first N values of a row that are there."""
    return [value for value in row or [] if value not in (None, "", "NULL")][:N]


def expected(rows, split, min_count):
    """The values with an id in their order, and the N local ids of each row."""
    train = Counter(value for row, part in zip(rows, split, strict=True) if part == 0 for value in cut(row))
    kept = sorted((value for value, count in train.items() if count >= min_count), key=str.encode)
    ids = {value: FIRST_VALUE + i for i, value in enumerate(kept)}
    coded = [[ids.get(value, RARE) for value in cut(row)] for row in rows]
    return kept, np.array([row + [MISSING] * (N - len(row)) for row in coded])


def local_ids(store):
    """Of the pooled field, which comes first."""
    further = np.load(store / "pooled.npy")
    assert further.dtype == np.int32
    return np.concatenate([np.load(store / "ids.npy")[:, :1], further], axis=1)


@pytest.mark.parametrize("write", [write_text, write_lists])
@pytest.mark.parametrize("chunk_bytes", [300, 1 << 20])
@pytest.mark.parametrize("min_count", [1, 100])
def test_the_first_values_that_are_there_have_ids_of_one_field(tmp_path, write, chunk_bytes, min_count):
    rows = lists()
    card = write_card(tmp_path, f"min_count = {min_count}" + CARD.format(raw="", tags=MEAN))
    store = prepare(card, write(tmp_path, rows), tmp_path / "out", settings=Settings(chunk_bytes=chunk_bytes))
    kept, ids = expected(rows, np.load(store / "split.npy"), min_count)
    assert 0 < len(kept) < 5
    np.testing.assert_array_equal(local_ids(store), ids)
    first, other = manifest_of(store)["fields"]
    assert first == {"name": "tags", "kind": "categorical", "cardinality": FIRST_VALUE + len(kept), "positions": N}
    assert other.keys() == {"name", "kind", "cardinality"}


def test_a_second_field_has_columns_behind_the_first(tmp_path):
    rows = lists(seed=1)
    text = CARD.format(raw="", tags=MEAN).replace('c = "categorical"', "c = " + MEAN.replace("3", "2"))
    store = prepare(write_card(tmp_path, text), write_text(tmp_path, rows), tmp_path / "out")
    size = manifest_of(store)["fields"][0]["cardinality"]
    further = np.load(store / "pooled.npy")
    assert further.shape == (len(rows), N - 1 + 1)
    assert (further[:, -1] == size + MISSING).all()  # of one value, nothing comes after it


def test_without_pooled_fields_no_file_and_no_key_is_new(tmp_path):
    card = write_card(tmp_path, CARD.format(raw="", tags='"categorical"'))
    store = prepare(card, write_text(tmp_path, lists()), tmp_path / "out")
    assert not (store / "pooled.npy").exists()
    assert "pooled" not in (store / "manifest.json").read_text()
    assert "positions" not in (store / "manifest.json").read_text()


def test_fewer_rows_of_a_store_are_what_preparing_them_alone_gives(tmp_path):
    rows = lists(n=600)
    card = write_card(tmp_path, "min_count = 20" + CARD.format(raw="", tags=MEAN))
    store = prepare(card, write_text(tmp_path, rows), tmp_path / "out")
    data = load(store, card, 200)
    parts = (data.train, data.valid, data.test)
    split = np.repeat([0, 1, 2], [len(part) for part in parts])
    mine = [rows[i] for part in parts for i in part.index.tolist()]
    kept, ids = expected(mine, split, 20)
    assert data.schema.fields[0] == Field("tags", "categorical", FIRST_VALUE + len(kept), N)
    found = [np.concatenate([part.ids[:, :1].numpy(), part.pooled.numpy()], axis=1) for part in parts]
    np.testing.assert_array_equal(np.concatenate(found), ids)


def test_facts_take_the_values_of_a_row_as_one(tmp_path):
    rows = [["a", "b"], ["b", "a"], ["a"], None] * 50
    card = write_card(tmp_path, CARD.format(raw="", tags=MEAN))
    store = prepare(card, write_text(tmp_path, rows), tmp_path / "out")
    tags = describe(store, card).by_name["tags"]
    train = [rows[i] for i in np.flatnonzero(np.load(store / "split.npy") == 0)]
    count = Counter(tuple(sorted(row or [])) for row in train)
    assert tags.values == 2
    assert tags.missing == count[()] / len(train)
    assert tags.top == count["a", "b"] / len(train)


def test_a_field_whose_first_value_alone_is_constant_is_not(tmp_path):
    rows = [["a", "b"], ["a"]] * 50
    card = write_card(tmp_path, CARD.format(raw="", tags=MEAN))
    store = prepare(card, write_text(tmp_path, rows), tmp_path / "out")
    assert not describe(store, card).by_name["tags"].constant


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (MEAN.replace("3", "1"), "positions = 1 must be from 2 to 100"),
        (MEAN.replace("mean", "meen"), "Did you mean 'mean'"),
        (MEAN.replace('"categorical"', '"numeric"'), "multi is a key of the kind 'categorical', not of 'numeric'"),
    ],
)
def test_keys_that_do_not_belong_together(tmp_path, tags, message):
    with pytest.raises(ConfigError, match=message):
        write_card(tmp_path, CARD.format(raw="", tags=tags))


def test_positions_are_five_unless_the_card_says_otherwise(tmp_path):
    card: DatasetCard = write_card(tmp_path, CARD.format(raw="", tags=MEAN.replace(", positions = 3", "")))
    assert card.layouts[0].positions("tags") == 5
    assert card.layouts[0].positions("c") == 1
    assert card.layouts[0].described["columns"][1]["positions"] == 5


def test_columns_of_further_values_by_hand():
    schema = Schema((Field("a", "categorical", 4, 3), Field("b", "categorical", 5), Field("c", "categorical", 6, 2)))
    assert schema.pooled_fields == (0, 2)
    assert schema.column_fields.tolist() == [0, 1, 2, 0, 0, 2]
    assert schema.padding.tolist() == [1, 1, 4 + 5 + 1]
    assert schema.keep([1, 2]).padding.tolist() == [5 + 1]


def test_indices_of_a_line_are_pooled(tmp_path):
    """Of libsvm, where a row names several indices of one field."""
    draw = np.random.default_rng(0)
    rows = [sorted(draw.choice(np.arange(1, 9), draw.integers(5), replace=False).tolist()) for _ in range(200)]
    lines = [f"{i % 2} " + " ".join(f"{index}:1" for index in row) for i, row in enumerate(rows)]
    (tmp_path / "t.svm").write_text("\n".join(lines) + "\n")
    text = 'name = "mine"\n[raw]\nformat = "libsvm"\n[raw.columns]\ny = "label"\n'
    card = write_card(
        tmp_path, text + '"1-9" = { kind = "categorical", field = "seen", multi = "mean", positions = 3 }'
    )
    store = prepare(card, tmp_path / "t.svm", tmp_path / "out")
    _, ids = expected([[str(index) for index in row] for row in rows], np.load(store / "split.npy"), 1)
    np.testing.assert_array_equal(local_ids(store), ids)
