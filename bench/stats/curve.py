"""AUKC: the area under the curve of AUC over the number of kept fields, as one number of robustness.

The printed formula could not be had; this is the area between the curve and a useless model, by trapezoids, as a share
of the largest such area. With the points (k_i, AUC_i), a = AUC of a useless model and the curve begun at (0, a):

    AUKC = Σ_i (k_{i+1} - k_i) (AUC_i + AUC_{i+1} - 2 a) / (2 (1 - a) k_max)

k_max is the largest k of the curve or the number of all fields; all points are recorded, so that another scale can be
had from them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.checks import NotTestable, vector

__all__ = ["aukc"]


def aukc(
    n_kept: ArrayLike, auc: ArrayLike, *, include_origin: bool = True, k_max: int | None = None, baseline: float = 0.5
) -> float:
    """Area under AUC over kept fields, above ``baseline``, as a share of the largest possible.

    Args:
        n_kept: numbers of kept fields, increasing, [n].
        auc: AUC of a model on that many fields, [n].
        include_origin: begin the curve with a useless model on no field; otherwise at its first point, and the
            largest area begins there too.
        k_max: end of the largest area; by default the last of ``n_kept``.
        baseline: AUC of a useless model; 0 without the origin gives the mean AUC over k.

    Raises:
        NotTestable: too few points, missing ones, or numbers of fields that do not increase up to ``k_max``.
    """
    k, a = vector(n_kept, "points", 1 if include_origin else 2), vector(auc, "points")
    if len(k) != len(a):
        raise NotTestable(f"{len(k)} numbers of fields for {len(a)} AUCs")
    if k[0] <= 0 or (np.diff(k) <= 0).any():
        raise NotTestable("numbers of kept fields: not positive and increasing")
    end = float(k[-1] if k_max is None else k_max)
    if end < k[-1]:
        raise NotTestable(f"k_max={end:g} is below the largest number of kept fields, {k[-1]:g}")
    if include_origin:
        k, a = np.concatenate([[0.0], k]), np.concatenate([[baseline], a])
    area = float(np.trapezoid(a - baseline, k))
    return area / ((1 - baseline) * (end - float(k[0])))
