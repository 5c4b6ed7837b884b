"""Whether the machine does nothing else, so that what is timed on it is the method's own."""

from __future__ import annotations

import os
import time

from bench.engine import disturbance
from bench.errors import BusyError

LOOK_S = 1.0
"""Seconds of a look."""
LOOKS = 3
"""Looks before a pass: what has just ended need not be waited for."""


def require_idle(looks: int = LOOKS) -> None:
    """Return as soon as the machine is idle, at once where that cannot be known.

    Idle is one whose other processes, and other guests of whose host, take less than the share of its cores from which
    a phase counts as disturbed.

    Raises:
        BusyError: they take more, at each of so many ``looks``.
    """
    cores = os.cpu_count() or 1
    least = cores * 1.0
    for _ in range(looks):
        before, start = disturbance.reading(), time.perf_counter()
        time.sleep(LOOK_S)
        after, took = disturbance.reading(), time.perf_counter() - start
        if before is None or after is None:
            return
        least = min(least, disturbance.taken_s(before, after) / took)
        if least < disturbance.SHARE * cores:
            return
    raise BusyError(
        f"the machine is busy: other processes have {least:.1f} of its {cores} cores, and --timing allows less "
        f"than {disturbance.SHARE * cores:g}. End them or wait, then repeat the command: what is done is kept."
    )
