"""Randomness as a function of numbers that name it, never of what ran before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def mix(*numbers: int | str) -> int:
    """One 63-bit seed from several numbers or words, such as a seed, a rank and a step.

    >>> mix(0, "step", 1) == mix(0, "step", 1) != mix(0, "step", 2)
    True
    """
    text = "/".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch inside the block and leave its generators outside as they were."""
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
