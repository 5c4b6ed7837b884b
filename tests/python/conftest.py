"""A small table of clicks, in which two columns tell something."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bench


@pytest.fixture(scope="session")
def clicks() -> pd.DataFrame:
    """``ad`` and ``price`` tell something of ``clicked``, ``user`` and ``device`` nothing; ``row`` numbers the rows."""
    rng = np.random.default_rng(0)
    n = 1200
    frame = pd.DataFrame(
        {
            "ad": rng.integers(0, 20, n),
            "user": rng.integers(0, 30, n).astype(str),
            "price": rng.normal(size=n),
            "device": pd.Categorical(rng.choice(["phone", "tablet", "desk"], n)),
            "row": np.arange(n),
        }
    )
    p = 1 / (1 + np.exp(-(1.5 * (frame["ad"] % 3) + frame["price"] - 2)))
    frame["clicked"] = (rng.random(n) < p).astype(int)
    return frame


@pytest.fixture(scope="session")
def data(clicks: pd.DataFrame) -> bench.Data:
    return bench.dataset(clicks, label="clicked", verbose=False)
