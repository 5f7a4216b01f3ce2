"""How a device computes: its precision, its kernels, and work recorded to be done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


def resolve_precision(precision: str, device: torch.device) -> str:
    """What `auto` means on `device`: bf16 where the hardware multiplies it, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    # PyTorch has no public question for the CPU's bf16 instructions.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    fast = any(getattr(torch.cpu, test, bool)() for test in tests)
    return "bf16" if fast else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Multiplies in bf16 inside the block, if that is the precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def fast_math(device: torch.device, precision: str) -> Iterator[None]:
    """On CUDA inside the block, the fastest kernels for fixed sizes; with bf16, TF32 beside it."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = True
    if precision == "bf16":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before[0]
        torch.set_float32_matmul_precision(before[1])


def capture(function: Callable[[], T]) -> tuple[T, Callable[[], None]]:
    """Record what `function` does on the GPU as a CUDA graph, without doing it.

    Returns:
        What it returned, with tensors whose values each replay writes anew, and the replay.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return result, graph.replay


@contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """On another stream than the current one, where work that is captured later has to begin."""
    current, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield
    current.wait_stream(side)
