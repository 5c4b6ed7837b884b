"""What a captured step has taken from Python: plain values, and which tensors its modules held.

A graph repeats kernels, not Python. A number that a module, a loss or an optimiser holds is frozen into it, and so
is the memory of a parameter or buffer. Whoever changes one of these would train on with the old one: hence the watch.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bench.engine.table import EmbeddingTable

Place = tuple[str, MutableMapping[str, Any]]
"""A name for messages, and what is held there by name."""

_SCALARS = (bool, int, float, str, type(None))
_LONGEST = 16
"""Entries of a list or tuple that is still watched."""
_TORCH = frozenset(vars(nn.Module())) - {"training"}


def places(model: nn.Module, loss: Any, optimizers: Sequence[torch.optim.Optimizer]) -> list[Place]:
    """Where a step may look while it runs: the model's modules, what its loss encloses, the optimisers' groups."""
    found = [*_of_module("model", model), *_of_loss("loss", loss, set())]
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    return [*found, *((f"optimizer group {i}", group) for i, group in enumerate(groups))]


def _of_module(name: str, module: nn.Module) -> Iterator[Place]:
    for path, part in module.named_modules():
        where = f"{name}.{path}" if path else name
        if not isinstance(part, EmbeddingTable):  # whose own bookkeeping changes with every eager step
            yield where, vars(part)
            for key, value in vars(part).items():
                if key not in _TORCH and _has_values(value):
                    yield f"{where}.{key}", vars(value)
        yield where, part._parameters
        yield where, part._buffers


def _of_loss(name: str, value: Any, seen: set[int]) -> Iterator[Place]:
    """What a function, method, partial or object carries along: its own values and those of what it encloses."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        yield from _of_module(name, value)
    elif isinstance(value, MethodType):
        yield from _of_loss(name, value.__self__, seen)
    elif isinstance(value, partial):
        for inner in (value.func, *value.args, *value.keywords.values()):
            yield from _of_loss(name, inner, seen)
    elif isinstance(value, FunctionType):
        for key, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if cell != CellType():
                yield key, _Cell(cell)
                yield from _of_loss(key, cell.cell_contents, seen)
    elif _has_values(value):
        yield name, vars(value)


def _has_values(value: Any) -> bool:
    """Whether ``value`` is an object of attributes that are its own."""
    return hasattr(value, "__dict__") and not isinstance(value, type | ModuleType | Tensor | nn.Module)


class _Cell(MutableMapping[str, Any]):
    """A variable of an enclosing function as a mapping of one entry."""

    def __init__(self, cell: CellType) -> None:
        self._cell = cell

    def __getitem__(self, key: str) -> Any:
        return self._cell.cell_contents

    def __setitem__(self, key: str, value: Any) -> None:
        self._cell.cell_contents = value

    def __delitem__(self, key: str) -> None:
        raise TypeError("a variable of an enclosing function stays")

    def __iter__(self) -> Iterator[str]:
        return iter(("value",))

    def __len__(self) -> int:
        return 1


class Watch:
    """The plain values and tensors at ``places`` at one moment."""

    def __init__(self, found: list[Place]) -> None:
        """Note what is there now."""
        self._plain: list[tuple[str, MutableMapping[str, Any], str, Any]] = []
        self._tensors: list[tuple[str, MutableMapping[str, Any], str, Tensor, int]] = []
        self._left: list[tuple[MutableMapping[str, Any], str, Tensor]] = []
        for where, held in found:
            for key, value in held.items():
                name = where if isinstance(held, _Cell) else f"{where}.{key}"
                if isinstance(value, Tensor):
                    self._tensors.append((name, held, key, value, value.data_ptr()))
                elif key not in _TORCH and (known := _plain(value)) is not _NOT_PLAIN:
                    self._plain.append((name, held, key, known))

    def change(self) -> str | None:
        """The first plain value or tensor that is no longer what it was, in words; None: nothing has changed."""
        return self.changed_value() or self._changed_tensor()

    def changed_value(self) -> str | None:
        """The first plain value that has changed, in words."""
        for name, held, key, known in self._plain:
            value = held.get(key)
            if value is not known and _plain(value) != known:
                return f"{name} changed from {known!r} to {value!r} without being a buffer changed in place"
        return None

    def _changed_tensor(self) -> str | None:
        for name, held, key, tensor, address in self._tensors:
            if held.get(key) is not tensor or tensor.data_ptr() != address:
                return f"{name} is another tensor than before, instead of being changed in place"
        return None

    def restore_values(self) -> None:
        """Give plain values back what they were."""
        for _, held, key, known in self._plain:
            if held.get(key) is not known and _plain(held.get(key)) != known:
                held[key] = list(known) if isinstance(held[key], list) else known

    def leave(self, before: Watch) -> None:
        """Take tensors that are others than ``before`` for what the step leaves behind, not for what it reads."""
        known = {(id(held), key): tensor for _, held, key, tensor, _ in before._tensors}
        kept = [entry for entry in self._tensors if known.get((id(entry[1]), entry[2])) is entry[3]]
        names = {(id(held), key) for _, held, key, _, _ in kept}
        self._left = [(held, key, t) for _, held, key, t, _ in self._tensors if (id(held), key) not in names]
        self._tensors = kept

    def put_back(self) -> None:
        """Let the places show the tensors that the captured step has left behind, which a replay fills."""
        for held, key, tensor in self._left:
            held[key] = tensor


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """A value that may be compared later: a scalar as it is, a short list or tuple of them as a tuple."""
    if type(value) in _SCALARS:
        return value
    short = isinstance(value, list | tuple) and len(value) <= _LONGEST
    return tuple(value) if short and all(type(one) in _SCALARS for one in value) else _NOT_PLAIN
