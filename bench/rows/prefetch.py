"""Parts of tensors in main memory, on their way to a device while the part before is worked on.

A thread gathers a part into a buffer of locked memory and starts its copy on a stream of its own. The consumer's
stream waits for the copy, the copy for whatever was queued when its destination was taken: nobody waits on the host.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

AHEAD = 2
"""Parts under way: one with the consumer, one on its way."""

Part = Tensor | slice
"""Positions in the order wanted, int [n] on the CPU, or a run of rows with both ends given."""


def stream(sources: Sequence[Tensor], parts: Iterable[Part], device: torch.device) -> Iterator[list[Tensor]]:
    """The same rows of all ``sources`` [N, ...], part by part, as new tensors on ``device``."""
    copier = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    lanes = deque(_Lane(sources, copier) for _ in range(AHEAD))
    waiting: deque[tuple[list[Tensor], Future[torch.cuda.Event | None]]] = deque()
    worker = ThreadPoolExecutor(1)
    try:
        for part in parts:
            lanes.rotate()
            out = [source.new_empty(_length(part), *source.shape[1:], device=device) for source in sources]
            free = None if copier is None else torch.cuda.current_stream(device).record_event()
            waiting.append((out, worker.submit(lanes[0].send, part, out, free)))
            if len(waiting) == AHEAD:
                yield _arrived(*waiting.popleft())
        while waiting:
            yield _arrived(*waiting.popleft())
    finally:
        for sent in waiting:  # memory that a copy still writes to must not be handed out again
            _arrived(*sent)
        worker.shutdown(wait=False)  # the collector may be the caller, in a thread that holds a lock of threading's


def _length(part: Part) -> int:
    return part.stop - part.start if isinstance(part, slice) else len(part)


def _arrived(out: list[Tensor], sent: Future[torch.cuda.Event | None]) -> list[Tensor]:
    """``out``, to be used by the current stream once it is filled."""
    copied = sent.result()
    if copied is not None:
        torch.cuda.current_stream(out[0].device).wait_event(copied)
    return out


class _Lane:
    """A buffer of locked memory for one part, filled again as soon as its last copy is done."""

    def __init__(self, sources: Sequence[Tensor], copier: torch.cuda.Stream | None) -> None:
        self._sources, self._copier = sources, copier
        self._rooms: list[Tensor] = []
        self._copied: torch.cuda.Event | None = None

    @torch.inference_mode()  # so that a consumer's inference tensors may be written
    def send(self, part: Part, out: list[Tensor], free: torch.cuda.Event | None) -> torch.cuda.Event | None:
        """Gather ``part`` and copy it to ``out`` once ``free`` has passed; the event after which it is there."""
        if self._copier is None:
            for source, target in zip(self._sources, out, strict=True):
                _gather(source, part, target)
            return None
        if self._copied is not None:
            self._copied.synchronize()
        if not self._rooms or len(self._rooms[0]) < len(out[0]):
            self._rooms = [torch.empty_like(target, device="cpu", pin_memory=True) for target in out]
        rooms = [room[: len(out[0])] for room in self._rooms]
        for source, room in zip(self._sources, rooms, strict=True):
            _gather(source, part, room)
        assert free is not None
        with torch.cuda.stream(self._copier):
            self._copier.wait_event(free)
            for room, target in zip(rooms, out, strict=True):
                target.copy_(room, non_blocking=True)
            self._copied = self._copier.record_event()
        return self._copied


def _gather(source: Tensor, part: Part, target: Tensor) -> None:
    if isinstance(part, slice):
        target.copy_(source[part])
    else:
        torch.index_select(source, 0, part, out=target)
