"""Memory of the process: what a training step frees and the next one needs again stays with it; and its peak."""

from __future__ import annotations

import ctypes
import platform
import resource
import sys
from functools import cache
from pathlib import Path

LARGEST_KEPT_BLOCK = 32 << 20
"""Bytes above which the C library always maps a block anew; glibc allows no more."""
KEPT = 512 << 20
"""Free bytes kept before any go back to the system."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h


@cache
def keep_freed_memory() -> bool:
    """Stop glibc from giving activations and gradients back to the system at every step.

    Otherwise each step of a few thousand rows touches some thousand fresh pages: 3 to 5 % of its time on a quiet
    machine, more on a busy one. Done once a process; elsewhere than on glibc nothing happens.

    Returns:
        Whether it took effect.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    set_option = ctypes.CDLL(None).mallopt
    return bool(set_option(_MMAP_THRESHOLD, LARGEST_KEPT_BLOCK) and set_option(_TRIM_THRESHOLD, KEPT))


def peak_rss() -> int:
    """Most resident bytes of this process; on Linux of this program alone, without those of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
