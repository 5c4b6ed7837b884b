from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reference import plain_hash, plain_split

from bench.data.store.splits import assign_splits, check_splits, class_cuts, row_hash, smallest_hashes
from bench.errors import DataError

CRITEO = (0.72, 0.18, 0.1)
OTHERS = (0.8, 0.1, 0.1)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_hash_is_splitmix64_of_seed_and_row(seed):
    rows = [0, 1, 2, 1000, 45_840_616]
    expected = [plain_hash(seed, row) for row in rows]
    assert row_hash(seed, np.array(rows)).tolist() == expected


def test_hash_has_no_ties_and_depends_on_the_seed():
    rows = np.arange(200_000)
    assert len(np.unique(row_hash(0, rows))) == len(rows)
    assert not np.intersect1d(row_hash(0, rows), row_hash(1, rows)).size


@given(st.lists(st.integers(0, 1), min_size=1, max_size=300), st.integers(0, 2**40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_splits_equal_the_plain_ones(labels, seed, criteo):
    shares = CRITEO if criteo else OTHERS
    found = assign_splits(np.array(labels, dtype=np.uint8), seed, shares)
    assert found.tolist() == plain_split(labels, seed, [str(share) for share in shares])


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.booleans())
def test_totals_are_exact_wherever_they_can_be(positives, negatives, criteo):
    shares = CRITEO if criteo else OTHERS
    total = positives + negatives
    train = class_cuts(positives, shares, True)[0] + class_cuts(negatives, shares, False)[0]
    percent = 72 if criteo else 80
    assert abs(100 * train - percent * total) < 100
    if percent * total % 100 == 0:
        assert 100 * train == percent * total


def test_paper_counts_of_criteo():
    positives, total = 11_745_438, 45_840_617
    cuts = np.add(class_cuts(positives, CRITEO, True), class_cuts(total - positives, CRITEO, False))
    train, valid, test = cuts[0], cuts[1] - cuts[0], total - cuts[1]
    assert (round(train / 1e6, 1), round(valid / 1e6, 2), round(test / 1e6, 2)) == (33.0, 8.25, 4.58)


@given(st.lists(st.integers(0, 1), min_size=20, max_size=200), st.integers(0, 99), st.data())
@settings(max_examples=60, deadline=None)
def test_train_of_the_smallest_hashes_is_train_of_the_whole(labels, seed, data):
    labels = np.array(labels, dtype=np.uint8)
    wanted = data.draw(st.integers(1, len(labels)))
    rows = smallest_hashes(len(labels), seed, wanted)
    hashes = [plain_hash(seed, row) for row in range(len(labels))]
    assert rows.tolist() == sorted(sorted(range(len(labels)), key=hashes.__getitem__)[:wanted])
    subset = assign_splits(labels[rows], seed, CRITEO, rows)
    whole = assign_splits(labels, seed, CRITEO)
    assert set(rows[subset == 0]) <= set(np.flatnonzero(whole == 0))


def test_a_split_without_both_classes_is_refused():
    labels = np.array([1, 0] * 10)
    splits = np.array([0] * 16 + [1] * 2 + [2] * 2)
    check_splits(labels, splits, "data")
    with pytest.raises(
        DataError, match=r"data: the test split has 2 rows and 0 of label 1; .*9 of label 1, 11 of label 0"
    ):
        check_splits(np.where(splits == 2, 0, labels), splits, "data", OTHERS)
    with pytest.raises(DataError, match=r"the test split .*; rows are split by time: give more rows, .* split=tempo"):
        check_splits(np.where(splits == 2, 0, labels), splits, "data")
    with pytest.raises(DataError, match=r"data: 9 rows are too few to split; give at least 10"):
        check_splits(labels[:9], splits[:9], "data")


@pytest.mark.parametrize("shares", [CRITEO, OTHERS, (0.6, 0.2, 0.2), (0.98, 0.01, 0.01), (0.1, 0.2, 0.7)])
def test_as_many_rows_of_a_class_as_said_are_enough_and_fewer_are_not(shares):
    labels = np.array([1] + [0] * 500)
    with pytest.raises(DataError) as caught:
        check_splits(labels, assign_splits(labels, 0, shares), "data", shares)
    found = re.search(r"need at least (\d+) of label 1 and (\d+) of label 0: give more rows", str(caught.value))
    ones, zeros = int(found[1]), int(found[2])
    for few, fine in (((ones, zeros), True), ((ones - 1, zeros), False), ((ones, zeros - 1), False)):
        labels = np.repeat(np.array([1, 0]), few)
        splits = assign_splits(labels, 0, shares)
        counts = [set(labels[splits == split].tolist()) for split in range(3)]
        assert (counts == [{0, 1}] * 3) == fine


def test_blocks_of_rows_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    labels = (rng.random(5000) < 0.3).astype(np.uint8)
    whole, some = assign_splits(labels, 3, CRITEO), smallest_hashes(5000, 3, 777)
    monkeypatch.setattr("bench.data.store.splits._BLOCK", 64)
    np.testing.assert_array_equal(assign_splits(labels, 3, CRITEO), whole)
    np.testing.assert_array_equal(smallest_hashes(5000, 3, 777), some)
