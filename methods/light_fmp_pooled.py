"""Light-FMP with rare values pooled and noise drawn row by row: a variant of this project, not of the paper.

Where this differs from ``light-fmp``, all of whose departures are this one's too, as is the cost:

* ``pretrain_min_count=5``: values seen fewer than five times in the subset share the field's rare embedding while the
  gates are learned. Among 2,000 rows most values of a large field occur once or twice; an embedding of their own can
  memorise the labels of those rows, and the field's gate opens for that. A shared one cannot.
* ``noise=sample``: every row draws its own u. With one draw a step, a step's whole batch sees a field open or shut, so
  the gates' gradients are as noisy as one coin, in the few hundred steps that there are.

On planted fields the pooled form finds about twice as many true fields as the plain one. It is no cure for everything:
where the best fields are those of which each value is rare, as users and movies in MovieLens, pooling hides what they
know, and the plain form does better there (both in ``results/reference``). Rows are merged for the pretraining alone;
the kept fields have all their values again afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bench.api import Range
from methods.light_fmp import LightFMP, LightFMPParams


@dataclass(frozen=True)
class PooledLightFMPParams(LightFMPParams):
    """Parameters of Light-FMP with two other defaults."""

    pretrain_min_count: Annotated[int, Range(1)] = 5
    """Values seen fewer times in the subset share the field's rare embedding while pretraining; 1 keeps all."""
    noise: Literal["batch", "sample"] = "sample"
    """A field's draw of u serves a step's whole batch, or every row has its own."""


class PooledLightFMP(LightFMP):
    """Hard concrete field gates that rare values cannot open."""

    Params = PooledLightFMPParams
