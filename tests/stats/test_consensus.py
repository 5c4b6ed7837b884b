from __future__ import annotations

import numpy as np
import pytest

from bench.stats.consensus import consensus, mean_ranks, ranks_of, reciprocal_ranks


def test_ranks_share_ties_and_put_fields_without_a_score_last() -> None:
    assert ranks_of([0.5, 2.0, 0.5, None]).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_the_consensus_is_the_mean_of_reciprocal_ranks() -> None:
    found = consensus({"a": [[4, 3, 2, 1]], "b": [[1, 2, 4, 3], [1, 4, 3, 2]]})
    # 1 / (5 + rank), ranker by ranker: b's two seeds count as one
    of_a = 1 / np.array([6, 7, 8, 9])
    of_b = (1 / np.array([9, 8, 6, 7]) + 1 / np.array([9, 6, 7, 8])) / 2
    assert found.order == tuple(np.argsort(-(of_a + of_b)))
    assert found.low.tolist() == [1, 1, 1, 2]
    assert found.high.tolist() == [4, 3, 3, 4]
    assert found.place(found.order[2]) == 3


def test_means_of_ranks_count_every_ranker_once() -> None:
    ranks = {"a": np.array([[1.0, 2.0]]), "b": np.array([[2.0, 1.0], [1.0, 2.0]])}
    assert mean_ranks(ranks).tolist() == [(1 + 1.5) / 2, (2 + 1.5) / 2]
    first, second = 1 / 6, 1 / 7
    half = (first + second) / 2
    assert reciprocal_ranks(ranks) == pytest.approx([(first + half) / 2, (second + half) / 2])


def test_what_one_ranker_alone_sees_is_not_buried() -> None:
    """Fields 0 to 3 tell something alone, 8 and 9 together, which one of three rankers sees; 4 to 7 are noise."""
    blind, sees = [10, 9, 8, 7, 6, 5, 4, 1, 3, 2], [8, 7, 6, 5, 4, 3, 2, 1, 10, 9]
    found = consensus({"a": [blind], "b": [blind], "c": [sees]})
    assert set(found.order[:6]) == {0, 1, 2, 3, 8, 9}  # 9: 2/14 + 1/7 = .2857; 4: 2/10 + 1/12 = .2833
    plain = np.mean([ranks_of(scores) for scores in (blind, blind, sees)], axis=0)
    assert plain[4] < plain[9], "the mean of ranks puts noise before one of the pair"


def test_equal_fields_keep_their_order() -> None:
    assert consensus({"a": [[1.0, 1.0, 1.0]]}).order == (0, 1, 2)


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_field_has_a_place(seeds: int) -> None:
    draw = np.random.default_rng(0)
    found = consensus({name: draw.normal(size=(seeds, 6)).tolist() for name in "ab"})
    assert sorted(found.order) == list(range(6))
