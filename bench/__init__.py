"""Compare feature-selection methods for click-through-rate models; which fields to drop, and what that costs.

>>> import bench
>>> data = bench.dataset(frame, label="clicked")
>>> bench.rank(data).top(10)
>>> bench.compare(data, methods=["lasso", "light-fmp"], seeds=3).table()
>>> print(bench.advise(data, tolerance=0.001))

``bench.sklearn.FieldSelector`` is the same as a step of a scikit-learn pipeline; bench/PYTHON.md shows all of it. Names
are imported when they are asked for, so that ``import bench`` loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.errors import UserError
    from bench.python.advice import Advice, advise
    from bench.python.comparing import Results, compare
    from bench.python.data import Data, dataset
    from bench.python.ranking import Ranking, rank

_LAZY = {
    "Advice": "bench.python.advice",
    "Data": "bench.python.data",
    "Ranking": "bench.python.ranking",
    "Results": "bench.python.comparing",
    "UserError": "bench.errors",
    "advise": "bench.python.advice",
    "compare": "bench.python.comparing",
    "dataset": "bench.python.data",
    "rank": "bench.python.ranking",
}

__all__ = ["Advice", "Data", "Ranking", "Results", "UserError", "advise", "compare", "dataset", "rank"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "sklearn":  # a module that users reach as an attribute, as they do in scikit-learn
        return importlib.import_module("bench.sklearn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
