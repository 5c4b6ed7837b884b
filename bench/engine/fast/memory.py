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


def free_memory() -> int | None:
    """Bytes of main memory that may still be taken, by the machine's account and its container's; None: unknown."""
    limits = [_account(Path("/proc/meminfo"), "MemAvailable:"), _left_in_group(Path("/sys/fs/cgroup"))]
    return min((limit for limit in limits if limit is not None), default=None)


def total_memory() -> int | None:
    """Bytes of main memory, those of the machine or of its container; None: unknown."""
    limits = [_account(Path("/proc/meminfo"), "MemTotal:"), _limit(Path("/sys/fs/cgroup"))]
    return min((limit for limit in limits if limit is not None), default=None)


def _account(meminfo: Path, name: str) -> int | None:
    if not meminfo.is_file():
        return None
    lines = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == name), None)


def _limit(group: Path) -> int | None:
    file = group / "memory.max"
    text = file.read_text(encoding="ascii").strip() if file.is_file() else "max"
    return None if text == "max" else int(text)


def _left_in_group(group: Path) -> int | None:
    """What a control group of version 2 leaves, file pages that can be dropped included; None without a limit."""
    files = [group / name for name in ("memory.max", "memory.current", "memory.stat")]
    if not all(file.is_file() for file in files):
        return None
    limit, used, stat = (file.read_text(encoding="ascii") for file in files)
    if limit.strip() == "max":
        return None
    droppable = dict(line.split() for line in stat.splitlines()).get("inactive_file", "0")
    return int(limit) - int(used) + int(droppable)
