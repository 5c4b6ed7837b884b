"""Integer arithmetic of generated rows, with numpy or on a torch device: the same bits everywhere.

An array is a numpy array or a tensor of int64. Hashes are unsigned numbers kept in the bits of signed ones, because
torch has no arithmetic of unsigned ones: products wrap around alike, and shifts to the right are masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.store.splits import GOLDEN, MIX_1, MIX_2, hash_start, row_hash

if TYPE_CHECKING:
    import torch

Array = Any
"""A numpy array or a tensor."""
_LOW_32 = 0xFFFFFFFF
_ROUNDS = ((0x7FEB352D, 15), (0x846CA68B, 16))
"""Factor and shift of the rounds that scramble 32 bits."""
_SPREAD = 0x9E3779B1


class Draws:
    """Draws with numpy."""

    def put(self, array: np.ndarray) -> Array:
        """A table, where the rows are made."""
        return array

    def get(self, array: Array) -> np.ndarray:
        """A result, where the rows are used."""
        found: np.ndarray = array
        return found

    def rows(self, start: int, stop: int) -> Array:
        """Row numbers from ``start`` to before ``stop``."""
        return np.arange(start, stop)

    def hashes(self, seed: int, rows: Array) -> Array:
        """The bits of ``row_hash``."""
        return row_hash(seed, rows).view(np.int64)

    def scrambled(self, numbers: Array, salt: int) -> Array:
        """A bijection of the numbers below 2^32."""
        codes = numbers.astype(np.uint32)
        codes ^= np.uint32(salt)
        for factor, shift in _ROUNDS:
            codes ^= codes >> np.uint32(16)
            codes *= np.uint32(factor)
            codes ^= codes >> np.uint32(shift)
        return codes.astype(np.int64)

    def byte(self, codes: Array) -> Array:
        """A number below 256 of each code below 2^32, as good as drawn."""
        return codes.astype(np.uint32) * np.uint32(_SPREAD) >> np.uint32(24)

    def floats(self, numbers: Array) -> Array:
        """Float64 of integers."""
        return numbers.astype(np.float64)

    def where(self, condition: Array, one: Array | float, other: Array) -> Array:
        """``one`` where the condition holds, else ``other``."""
        return np.where(condition, one, other)


class TorchDraws(Draws):
    """Draws on a torch device."""

    def __init__(self, device: torch.device) -> None:
        """Draw on ``device``."""
        import torch  # noqa: PLC0415 - rows made with numpy need none

        self._torch, self._device = torch, device

    def put(self, array: np.ndarray) -> Array:
        """A copy on the device."""
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def get(self, array: Array) -> np.ndarray:
        """A copy in the memory of the CPU."""
        found: np.ndarray = array.cpu().numpy()
        return found

    def rows(self, start: int, stop: int) -> Array:
        """Row numbers on the device."""
        return self._torch.arange(start, stop, device=self._device)

    def hashes(self, seed: int, rows: Array) -> Array:
        """``row_hash``, step by step."""
        state = rows * _signed(GOLDEN)
        state += _signed(hash_start(seed))
        for shift, factor in ((30, MIX_1), (27, MIX_2)):
            state ^= _right(state, shift)
            state *= _signed(factor)
        state ^= _right(state, 31)
        return state

    def scrambled(self, numbers: Array, salt: int) -> Array:
        """The low 32 bits of each product are what a product of 32 bits would be."""
        codes = (numbers & _LOW_32) ^ salt
        for factor, shift in _ROUNDS:
            codes ^= codes >> 16
            codes *= factor
            codes &= _LOW_32
            codes ^= codes >> shift
        return codes

    def byte(self, codes: Array) -> Array:
        """Bits 24 to 31 of the product."""
        return (codes * _SPREAD & _LOW_32) >> 24

    def floats(self, numbers: Array) -> Array:
        """Float64 of integers."""
        return numbers.to(self._torch.float64)

    def where(self, condition: Array, one: Array | float, other: Array) -> Array:
        """``one`` where the condition holds, else ``other``."""
        return self._torch.where(condition, one, other)


def draws_on(device: str) -> Draws:
    """Draws with numpy for ``cpu``, else on the device.

    Raises:
        ConfigError: no such device on this machine.
    """
    if device == "cpu":
        return Draws()
    from bench.engine.device import choose_device  # noqa: PLC0415 - loads torch

    return TorchDraws(choose_device(device))


def _signed(number: int) -> int:
    """The signed number of the same 64 bits."""
    return number - (1 << 64) if number >> 63 else number


def _right(state: Array, shift: int) -> Array:
    """The shift of an unsigned number."""
    return state >> shift & (1 << 64 - shift) - 1
