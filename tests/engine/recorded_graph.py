"""A CUDA graph on a CPU: the kernels of one run of Python, repeated on the same memory without Python.

Capturing runs the work once, notes every kernel with its arguments, and then undoes what it did. A replay runs the
kernels again; numbers that Python has passed stay what they were, and results go where they went. What would have to
wait for the device is refused, as a device refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero", "equal")
"""Kernels whose result decides what Python does next."""

SHAPES = ("squeeze_", "unsqueeze_", "t_", "transpose_", "detach_")
"""What changes how memory is seen, and no memory."""


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def memory(tensor: Tensor) -> Tensor:
    """The memory of ``tensor`` as it is seen now, without autograd and with a version counter of its own."""
    return tensor.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


class Recorder(TorchDispatchMode):
    """Runs kernels and notes them."""

    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.undo: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in SHAPES:
            return func(*args, **kwargs)
        if name in WAITS or (name == "index" and any(t.dtype == torch.bool for t in tensors(args[1]))):
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing: {name}")
        given = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | kwargs
        infos = [argument for argument in func._schema.arguments if argument.alias_info is not None]
        written = tensors([given.get(argument.name) for argument in infos if argument.alias_info.is_write])
        self.undo += [(memory(tensor), tensor.clone()) for tensor in written]
        seen = tree_map_only(Tensor, memory, (args, kwargs))
        out = func(*args, **kwargs)
        if not infos or written:  # a view costs a device nothing
            self.tape.append((func, *seen, [] if written else [memory(one) for one in tensors(out)]))
        return out


class RecordedGraphs:
    """The backend of ``bench.engine.fast.graph`` for tests."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.captures = self.replays = 0
        self.lanes = 0

    @contextmanager
    def lane(self) -> Iterator[None]:
        self.lanes += 1
        yield
        self.lanes -= 1

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        assert self.lanes == 1
        self.captures += 1
        random = torch.get_rng_state()
        recorder = Recorder()
        try:
            with recorder:
                work()
        finally:
            torch.set_rng_state(random)
            for tensor, before in reversed(recorder.undo):
                tensor.copy_(before)

        def replay() -> None:
            assert self.lanes == 1
            self.replays += 1
            for func, args, kwargs, own in recorder.tape:
                made = tensors(func(*args, **kwargs))
                for target, value in zip(own, made, strict=bool(own)):
                    target.copy_(value)

        return replay
