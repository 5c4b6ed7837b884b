"""Many rankings as one.

Each ranker and seed gives ranks 1, 2, ... (ties share their mean). The consensus orders fields by

    score_f = mean over rankers of mean over seeds of 1 / (5 + rank)

(reciprocal rank fusion, Cormack et al., SIGIR 2009, with 5 instead of 60, which is for long lists): what one ranker
alone puts on top stays near the top. Rankers that look at one field at a time put a pair of interacting fields
anywhere; on planted draws the plain mean of ranks left noise above such a pair that this did not (``PROTOCOL.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

__all__ = ["Consensus", "consensus", "mean_ranks", "ranks_of", "reciprocal_ranks"]

OFFSET = 5.0


@dataclass(frozen=True)
class Consensus:
    """The order of the fields, and how far rankers and seeds agree on each."""

    order: tuple[int, ...]
    """Fields, best first."""
    ranks: dict[str, np.ndarray]
    """By ranker: [seeds, F]."""

    @property
    def low(self) -> np.ndarray:
        """Best rank of each field over rankers and seeds, [F]."""
        return np.asarray(np.concatenate(list(self.ranks.values())).min(axis=0))

    @property
    def high(self) -> np.ndarray:
        """Worst rank, [F]."""
        return np.asarray(np.concatenate(list(self.ranks.values())).max(axis=0))

    def place(self, field: int) -> int:
        """Place of a field in the order, from 1 on."""
        return self.order.index(field) + 1


def ranks_of(scores: Sequence[float | None]) -> np.ndarray:
    """Ranks of field scores, 1 is best, ties share their mean; a field without a score is last. Float64 [F]."""
    values = np.array([-np.inf if score is None else score for score in scores], dtype=np.float64)
    return np.asarray(rankdata(-values), dtype=np.float64)


def mean_ranks(ranks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean over rankers of the mean over seeds of ranks [seeds, F]; [F], lower is better."""
    return np.asarray(np.mean([of_seeds.mean(axis=0) for of_seeds in ranks.values()], axis=0))


def reciprocal_ranks(ranks: Mapping[str, np.ndarray]) -> np.ndarray:
    """The same mean of 1 / (5 + rank); [F], higher is better."""
    return mean_ranks({ranker: 1 / (OFFSET + of_seeds) for ranker, of_seeds in ranks.items()})


def consensus(rankings: Mapping[str, Sequence[Sequence[float | None]]]) -> Consensus:
    """One order out of many.

    Args:
        rankings: field scores by ranker, one list [F] a seed; at least one ranker with at least one seed.
    """
    ranks = {ranker: np.array([ranks_of(scores) for scores in seeds]) for ranker, seeds in rankings.items()}
    score, mean = reciprocal_ranks(ranks), mean_ranks(ranks)
    order = np.lexsort((np.arange(len(mean)), mean, -np.round(score, 12)))
    return Consensus(tuple(int(field) for field in order), ranks)
