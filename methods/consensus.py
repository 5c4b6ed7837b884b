"""Consensus: an ensemble of other methods, which orders fields by the mean of their ranks.

    rank_m(f)   place of field f in the ranking of member m, 1 is best, ties share their mean
    score_f     minus the mean over members of rank_m(f), all of equal weight; with rule=reciprocal the mean of
                1 / (5 + rank_m(f)) (reciprocal rank fusion, Cormack et al., SIGIR 2009)

It is no selector of its own: it runs every member as the member's own cell would, on the same rows and seed, and its PT
is the sum of theirs. What all members are blind to, it is too. A member whose scores are all equal says nothing and is
noted. A cell in which one of the members has no part is skipped, with that member's reason: name others, as
``members=lasso+xgboost`` on data with pooled fields, of which the categorical trees read one value.

There is no paper of this very ensemble. The default members are the rankers of the command ``advise``, which orders
fields by the reciprocal rule, over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.api import (
    Context,
    Method,
    Rows,
    Selection,
    mean_ranks,
    ranks_of,
    reciprocal_ranks,
    split_outside,
)


@dataclass(frozen=True)
class ConsensusParams:
    """Who is asked, and how ranks become one order."""

    members: str = "lasso+xgboost+xgboost[variant=categorical]"
    """Methods with ``+`` between them, parameters in brackets (default: the rankers of ``advise``)."""
    rule: Literal["mean", "reciprocal"] = "mean"
    """Mean of ranks, or of reciprocal ranks, by which a field that one member alone puts on top stays near it."""

    def __post_init__(self) -> None:
        names = self.names()
        if len(names) < 2 or not all(names) or len(set(names)) < len(names):
            raise ValueError(f"members={self.members} must be two or more different methods, as in lasso+xgboost")

    def names(self) -> list[str]:
        """The members, each as on a command line."""
        return [part.strip() for part in split_outside(self.members, "+")]


class Consensus(Method[ConsensusParams]):
    """Ranks fields by the mean rank of other methods."""

    Params = ConsensusParams

    def members(self) -> Mapping[str, float]:
        return dict.fromkeys(self.params.names(), 1.0)

    def select(self, ctx: Context[ConsensusParams], train: Rows, selection_rows: Rows) -> Selection:
        found = {name: ctx.rank(name, train, selection_rows) for name in self.members()}
        scores = {name: np.asarray(one.scores) for name, one in found.items()}
        ranks = {name: ranks_of(values.tolist())[None] for name, values in scores.items()}
        seen = [one.rows_seen for one in found.values() if one.rows_seen is not None]
        return Selection(
            scores=reciprocal_ranks(ranks) if self.params.rule == "reciprocal" else -mean_ranks(ranks),
            rows_seen=max(seen) if len(seen) == len(found) else None,
            hint="no member tells them apart",
            notes={
                "member_ranks": {name: values[0].tolist() for name, values in ranks.items()},
                "members_without_ranking": [name for name, values in scores.items() if np.ptp(values) == 0],
            },
        )
