from __future__ import annotations

import math

import numpy as np
import pytest

from bench.data.raw.buckets import bucket_keys, key_texts


def test_buckets_are_the_floor_of_the_squared_logarithm():
    values = np.concatenate([np.arange(-3, 5000), np.array([10**6, 10**9, 2**31, 2**62])])
    expected = [2 + math.floor(math.log(x) ** 2) if x > 2 else x for x in values.tolist()]
    assert bucket_keys(values, merged=False).tolist() == expected


def test_merged_buckets_let_three_four_fall_onto_one_and_five_onto_two():
    values = np.array([1, 2, 3, 4, 5, 8, 100])
    assert bucket_keys(values, merged=True).tolist() == [1, 2, 1, 1, 2, 4, math.floor(math.log(100) ** 2)]


def test_a_bucket_is_shown_as_its_range():
    values = np.array([-2, 0, 2, 3, 4, 5, 7])
    texts = key_texts(bucket_keys(values, merged=False), merged=False)
    assert texts == ["-2", "0", "2", "3..4", "3..4", "5..5", "6..7"]
    assert key_texts(bucket_keys(values, merged=True), merged=True) == ["-2", "0", "2", "1", "1", "2", "3"]


@pytest.mark.parametrize("x", [3, 4, 5, 6, 12345, 10**12])
def test_every_value_lies_in_the_range_shown(x):
    low, high = key_texts(bucket_keys(np.array([x]), False), False)[0].split("..")
    assert int(low) <= x <= int(high)
