"""The processes that compute one cell together, its workers; a cell has one, as a rule, and then there is no crew.

All workers run the same code on the same rows with the same random numbers. Each holds table, gates and optimisers,
and does with them what a single process does; what the backbone does with a batch is divided
(``bench.engine.divided``), and so is the scoring of rows. Whatever a worker decides by is therefore the same in all of
them, to the last bit on a CPU.

The first worker speaks for the cell: it alone writes files, tells of progress, and measures inference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from bench.engine import disturbance

__all__ = ["Crew", "CrewError", "PartDone", "alone", "current", "divides", "joined", "leads", "once"]

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a worker waits for the others: who started them ends all when one dies, and the first may work alone for
hours."""

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers by their bytes."""


class CrewError(RuntimeError):
    """Workers of one cell came to different numbers, or a model cannot be divided among them."""


class PartDone(BaseException):
    """A worker other than the first has done its part: what is left is for the first alone."""


class Crew:
    """The workers of a cell, as one of them sees it."""

    def __init__(self, rank: int, size: int) -> None:
        """Be worker ``rank`` of ``size``; they have met in ``torch.distributed``."""
        self.rank, self.size = rank, size

    def part(self, n: int, rank: int | None = None) -> slice:
        """The rows of ``n`` that a worker, this one if none is named, takes: parts differ by one row at most."""
        rank = self.rank if rank is None else rank
        return slice(n * rank // self.size, n * (rank + 1) // self.size)

    def join(self, own: Tensor, n: int) -> Tensor:
        """The parts of all workers, one below the other: own [n of ``part``, ...] -> [n, ...]."""
        counts = [part.stop - part.start for part in (self.part(n, rank) for rank in range(self.size))]
        longest = max(counts)
        sent = own.detach().contiguous()
        if len(own) < longest:  # messages have one length
            sent = torch.cat([sent, sent.new_zeros(longest - len(own), *own.shape[1:])])
        whole = sent.new_empty(self.size * longest, *own.shape[1:])
        dist.all_gather(list(torch.split(whole, longest)), sent)
        if min(counts) == longest:
            return whole
        return torch.cat([part[:count] for part, count in zip(torch.split(whole, longest), counts, strict=True)])

    def total(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over all workers of tensors of one type, in one message."""
        flat = torch.cat([one.detach().reshape(-1) for one in tensors])
        dist.all_reduce(flat)
        sizes = [one.numel() for one in tensors]
        return [part.view_as(one) for part, one in zip(torch.split(flat, sizes), tensors, strict=True)]

    def meet(self) -> None:
        """Wait until all workers have come to this point."""
        dist.all_reduce(torch.zeros(()))  # a barrier would go by way of the GPUs

    def told(self, text: str) -> str:
        """What the first worker says, to all of them."""
        said = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = torch.tensor(len(said))
        dist.broadcast(length, 0)
        if self.rank:
            said = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(said, 0)
        return bytes(said.tolist()).decode()

    @torch.no_grad()
    def agree(self, tensors: Iterable[Tensor], what: str) -> None:
        """Make sure that all workers hold the same numbers; on a GPU, whose sums hang on chance, take the first one's.

        Raises:
            CrewError: on a CPU they do not.
        """
        held = [one for one in tensors if one.numel()]
        for one in held:
            if not one.is_cpu:
                dist.broadcast(one, 0)
        sums = [one.reshape(-1).view(_BITS[one.element_size()]).sum(dtype=torch.int64) for one in held if one.is_cpu]
        own = torch.stack([*sums, torch.get_rng_state().sum(dtype=torch.int64)])
        all_sums = self.join(own[None], self.size)
        if not bool((all_sums == all_sums[0]).all()):
            raise CrewError(
                f"{what}: the {self.size} workers of this cell came to different numbers. Something in it draws random "
                "numbers that are not seeded, or goes by time or place; run it without --workers-per-cell."
            )


_crew: Crew | None = None


def current() -> Crew | None:
    """The crew that works together now; None where this process works alone."""
    return _crew


def leads() -> bool:
    """Whether this process speaks for its cell."""
    return _crew is None or _crew.rank == 0


@contextmanager
def alone() -> Iterator[None]:
    """Work in the body without the others, who wait."""
    global _crew  # noqa: PLW0603 - as the process group of torch.distributed, a fact of the process
    before, _crew = _crew, None
    try:
        yield
    finally:
        _crew = before


def once(fn: Callable[[], T], write: Callable[[T], str | None], read: Callable[[str], T]) -> T:
    """What ``fn`` returns in the first worker, in all of them; alone, ``fn()``.

    Args:
        fn: is computed by the first worker alone while the others wait.
        write: its result as text; None where there is no text for it, so that each has to compute its own.
        read: the result of a text.
    """
    crew = _crew
    if crew is None:
        return fn()
    with alone():
        result = fn() if crew.rank == 0 else None
        said: str | None = json.loads(crew.told(json.dumps(None if result is None else write(result))))
        if result is not None:
            return result
        return fn() if said is None else read(said)


@contextmanager
def joined(meeting: Path, rank: int, size: int) -> Iterator[None]:
    """Be worker ``rank`` of ``size`` in the body, until their common part is done.

    Args:
        meeting: a file that does not exist yet, by which the workers find each other.
        rank: which of them this process is; 0 is the first.
        size: how many they are.
    """
    global _crew  # noqa: PLW0603
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, f"file://{meeting}", timeout=PATIENCE, rank=rank, world_size=size)
    _crew = Crew(rank, size)
    pids = _crew.join(torch.tensor([os.getpid()]), size).tolist()
    disturbance.count_as_own(pid for pid in pids if pid != os.getpid())
    try:
        yield
    finally:
        _crew = None
        disturbance.count_as_own(())
        if dist.is_initialized():
            dist.destroy_process_group()


def divides(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: ``function`` is the common part of all workers, after which the first goes on alone.

    In the others it ends with ``PartDone``, once all have come to its end.
    """

    @wraps(function)
    def part(*args: P.args, **options: P.kwargs) -> T:
        global _crew  # noqa: PLW0603
        crew = _crew
        result = function(*args, **options)
        if crew is not None:
            crew.meet()
            _crew = None
            disturbance.count_as_own(())
            if crew.rank:
                raise PartDone
        return result

    return part
