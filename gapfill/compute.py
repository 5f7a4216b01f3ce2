"""How a device computes: its precision, its kernels, and work recorded to be done again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch

from gapfill.errors import GapfillError

T = TypeVar("T")


class CaptureError(GapfillError):
    """Work cannot be recorded as a CUDA graph; the message is the reason alone."""


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
    """On CUDA inside the block, the fastest kernels for fixed sizes; with bf16, TF32 beside it.

    Without bf16 float32 is float32 in convolutions too, where cuDNN has TF32 unless it is told.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with _tf32(precision == "bf16"):
            yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Float32 that is float32 inside the block, neither bf16 nor TF32, whatever is around it."""
    with torch.autocast(device.type, enabled=False), true_float32(device):
        yield


def true_float32(device: torch.device) -> AbstractContextManager[object]:
    """Without TF32 inside the block, where cuDNN's convolutions have it unless they are told."""
    return _tf32(False) if device.type == "cuda" else nullcontext()


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether CUDA's products and convolutions may round float32 to TF32 inside the block.

    It is said by the older of PyTorch's two interfaces, which inductor reads, and which cannot be
    read where somebody used the newer one; what that said is there again afterwards.
    """
    backends: Any = torch.backends
    cudnn = backends.cudnn
    newer = (cudnn.conv, cudnn.rnn, backends.cuda.matmul, backends.mkldnn.matmul)
    before = [each.fp32_precision for each in newer]
    older: list[Callable[[], None]] = []
    with contextlib.suppress(RuntimeError):
        convolutions = cudnn.allow_tf32
        older.append(lambda: setattr(cudnn, "allow_tf32", convolutions))
    with contextlib.suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
        older.append(lambda: torch.set_float32_matmul_precision(products))
    cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        for restore in older:
            restore()
        for each, precision in zip(newer, before, strict=True):
            each.fp32_precision = precision


def on(device: torch.device) -> AbstractContextManager[object]:
    """Makes a GPU the current one inside the block: some calls know no other."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def capture(function: Callable[[], T], stream: torch.cuda.Stream) -> tuple[T, Callable[[], None]]:
    """Record what `function` does on a GPU as a CUDA graph, without doing it.

    Args:
        function: what is recorded; it was called before, `aside` on the same stream.
        stream: of the GPU that does it.

    Returns:
        What it returned, with tensors whose values each replay writes anew, and the replay.

    Raises:
        CaptureError: it does what no graph can hold, such as waiting for the GPU.
    """
    graph = torch.cuda.CUDAGraph()
    # The blocks around the graph are left in order even where its own end raises. Other threads,
    # such as one that pins a loader's batches, may use the GPU meanwhile.
    with torch.cuda.device(stream.device), torch.cuda.stream(stream):
        recording = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")
        try:
            with recording:
                result = function()
        except RuntimeError as error:
            _after_failure(stream.device)
            raise CaptureError(reason(error)) from error
    return result, graph.replay


def _after_failure(device: torch.device) -> None:
    """Make a GPU usable again on which a capture broke off."""
    torch.cuda.synchronize(device)
    try:
        torch.rand(1, device=device)
    except RuntimeError:
        # In some versions of PyTorch the generator goes on counting for the graph that never came
        # to be, and gives no numbers to others; a copy of its state does.
        generator = torch.cuda.default_generators[device.index]
        generator.graphsafe_set_state(generator.clone_state())


@contextmanager
def aside(stream: torch.cuda.Stream) -> Iterator[None]:
    """On `stream`, where work that is captured there later has to begin."""
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        current.wait_stream(stream)


def reason(error: BaseException) -> str:
    """The first line of what went wrong first.

    The end of a broken capture fails once more, and PyTorch's compiler wraps what it met.
    """
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    error = getattr(error, "inner_exception", error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
