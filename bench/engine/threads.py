"""One number of CPU threads for everybody: torch's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["as_many_as_torch"]


@contextmanager
def as_many_as_torch() -> Iterator[None]:
    """Within it, what is loaded of BLAS and OpenMP (NumPy's, SciPy's, scikit-learn's) has the threads that torch has.

    Left alone they take every core, whatever ``--threads`` says: times would be those of other threads than the record
    tells, and sums would be split as the machine has cores.
    """
    with threadpool_limits(limits=torch.get_num_threads()):
        yield
