"""Work in threads whose results come back in order, with a bound on how much lies ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def map_ordered(work: Callable[[A], B], jobs: Iterable[A], pool: Executor, ahead: int = 3) -> Iterator[B]:
    """``map`` on a pool, with at most ``ahead`` jobs whose results have not been taken."""
    running: deque[Future[B]] = deque()
    try:
        for job in jobs:
            running.append(pool.submit(work, job))
            if len(running) >= ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
