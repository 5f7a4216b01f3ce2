"""Randomness as a function of numbers that name it, never of what ran before."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.untraced import untraced

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # SplitMix64's constants, as signed 64-bit integers
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)

_lock = threading.RLock()


def _new_lock() -> None:
    """For a forked process, in which the thread that holds the lock does not go on."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def mix(*numbers: int | str) -> int:
    """One 63-bit seed from several numbers or words, such as a seed, a rank and a step.

    >>> mix(0, "step", 1) == mix(0, "step", 1) != mix(0, "step", 2)
    True
    """
    text = "/".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def seed_generators(seed: int, device: torch.device | str = "cpu") -> None:
    """Seed the CPU's generator and that of `device`, and no other device's.

    `torch.manual_seed` would seed those of all GPUs, and takes its time for it.
    """
    device = torch.device(device)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch inside the block and leave its generators outside as they were.

    Those of other devices than the CPU and `device` are not touched. They belong to the whole
    process: threads wait for each other before such a block.
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with _lock, torch.random.fork_rng(devices=devices):
        seed_generators(seed, device)
        yield


@contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Leave a GPU's generator as it was before the block; the CPU's is each `seeded` block's."""
    before = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    finally:
        if before is not None:
            torch.cuda.set_rng_state(before, device)


def uniform(seed: int, index: Tensor, count: int) -> Tensor:
    """Draws `count` numbers in [0, 1) for every index, by counting instead of by state.

    The numbers are 24 bits of a SplitMix64 hash of (seed, index, position), in integers that wrap
    around: the same on every device, whichever other indices are asked for beside it.

    Args:
        seed: any integer; it is taken modulo 2**64.
        index: int64 [N].
        count: numbers for each index; asking for more leaves the first ones as they are.

    Returns:
        float32 [N, count], on the device of `index`.

    >>> [round(number, 4) for number in uniform(0, torch.tensor([7]), 3)[0].tolist()]
    [0.5243, 0.3021, 0.941]
    """
    return _numbers(keys(seed, index), count)


def keys(seed: int, index: Tensor) -> Tensor:
    """What names the random numbers of every index under a seed: int64 [N]."""
    return _mix(_mix(torch.full_like(index, _signed(seed))) + index)


def _numbers(state: Tensor, count: int) -> Tensor:
    position = torch.arange(1, count + 1, device=state.device)
    bits = _shift(_mix(state[:, None] + position * _GOLDEN), 40)
    return bits.to(torch.float32) * 2.0**-24


def _signed(value: int) -> int:
    """The 64-bit two's complement value of any integer."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _shift(bits: Tensor, count: int) -> Tensor:
    """Shifts right without carrying the sign, which torch's `>>` would."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift(bits, 30)) * _FIRST
    bits = (bits ^ _shift(bits, 27)) * _SECOND
    return bits ^ _shift(bits, 31)


# Noise of a fill --------------------------------------------------------------------------------


class _Noise:
    """The pictures that are being filled, and how often noise was drawn for them."""

    def __init__(self, names: Tensor) -> None:
        self.names = names
        self.turn = 0

    def uniform(self, count: int, shape: tuple[int, ...]) -> Tensor:
        if count != len(self.names):
            raise UsageError(
                f"noise for {count} pictures was asked for where {len(self.names)} are filled."
            )
        self.turn += 1
        found = _numbers(_mix(self.names + _signed(self.turn * _SECOND)), math.prod(shape))
        return found.view(count, *shape)


_noise: ContextVar[_Noise | None] = ContextVar("noise", default=None)


@contextmanager
def filling(names: Tensor) -> Iterator[None]:
    """Inside the block, `rand` and `randn` draw for the pictures that `keys` gave these names."""
    token = _noise.set(_Noise(names))
    try:
        yield
    finally:
        _noise.reset(token)


def filled_names() -> Tensor | None:
    """The names of the pictures that are being filled, if they have noise: int64 [N]."""
    noise = _noise.get()
    return None if noise is None else noise.names


def rand(count: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Numbers in [0, 1), `shape` for each of `count` pictures: float32 [count, *shape].

    In a model's `fill` they belong to the picture: its seed and number name them, not the batch
    that it stands in, nor the device. Where nobody fills, as in training, they are torch's own.

    Raises:
        UsageError: `count` is not how many pictures are being filled.
    """
    found = _drawn_aside(count, shape)
    return torch.rand(count, *shape, device=device) if found is None else found.to(device)


def randn(count: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers, as `rand` draws them: float32 [count, *shape]."""
    found = _drawn_aside(count, shape)
    if found is None:
        return torch.randn(count, *shape, device=device)
    # The middles of the 2**24 steps that the uniform numbers have, so that none is infinite.
    return (torch.erfinv(2 * found - (1 - 2.0**-24)) * 2**0.5).to(device)


@untraced  # no compiler sees through a context variable
def _drawn_aside(count: int, shape: tuple[int, ...]) -> Tensor | None:
    noise = _noise.get()
    return None if noise is None else noise.uniform(count, shape)
