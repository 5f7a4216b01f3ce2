"""How long work takes: rounds of whole blocks, with one wait for the device at their end."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from typing import Any

import torch

LEAST = 32  # calls in a round of training steps on a GPU, so that waiting for it weighs nothing


def whole_blocks(ahead: int, device: torch.device) -> int:
    """How many training steps make a round.

    A GPU's batches are made `ahead` steps at a time; a round of whole blocks has its share of that.

    Args:
        ahead: steps whose batches are made together.
        device: a CPU makes each step's own and waits for nothing, so that one step is a round.
    """
    return 1 if device.type == "cpu" else -(-LEAST // ahead) * ahead


def round_of(
    function: Callable[[], Any], device: torch.device, calls: int = 1
) -> Callable[[], None]:
    """Some calls, ended when the device has done all that it was told: a single wait."""

    def made() -> None:
        for _ in range(calls):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return made


def best_seconds(function: Callable[[], Any], device: torch.device, rounds: int = 10) -> float:
    """The shortest of some calls, after two that warm up."""
    made = round_of(function, device)
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        made()
        times.append(time.perf_counter() - start)
    return min(times[2:])


def forget_peak(device: torch.device) -> None:
    """Begin to look for the peak of memory: before the first call, which a capture is one of."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """The most memory since `forget_peak` on a GPU; on a CPU that of the process so far.

    What PyTorch reserved is counted, since a graph keeps its pool of memory between replays.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
