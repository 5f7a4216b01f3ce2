"""Processes that train together, started by `torchrun`; alone, every function is a no-op."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from gapfill.errors import UsageError

_PIECE = 8 * 2**20  # bytes of gradients that are exchanged together, at least


def start(device: str = "auto") -> torch.device:
    """Join the processes that `torchrun` started, if it did, and return this one's device.

    Args:
        device: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:<index>` or `mps`, on which
            gapfill has not been tested.

    Raises:
        UsageError: no such device here.
    """
    chosen = resolve(device)
    if distributed.is_available() and distributed.is_initialized():
        return (
            torch.device("cuda", torch.cuda.current_device()) if chosen.type == "cuda" else chosen
        )
    if not launched():
        return chosen
    from timm.utils.distributed import init_distributed_device_so

    return torch.device(init_distributed_device_so(chosen.type)["device"])


def join(device: str = "auto") -> None:
    """Join the processes that `torchrun` started, for as long as this one lives, if it did."""
    if launched() and world() == 1:
        start(device)
        atexit.register(stop)


def launched() -> bool:
    """Whether this process is one of several that `torchrun` started."""
    # Slurm's own variables are there for a single process of an allocation too.
    number = os.environ.get("WORLD_SIZE", "1")
    return "RANK" in os.environ and number.isdecimal() and int(number) > 1


def stop() -> None:
    """Leave the other processes."""
    if world() > 1:
        distributed.destroy_process_group()


def resolve(device: str | torch.device) -> torch.device:
    """The torch device that a name means, checked against this machine.

    Raises:
        UsageError: an unknown name, or CUDA where PyTorch sees none.
    """
    name = str(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda", "mps"):
        raise UsageError(
            f"unknown device '{name[:60]}'. Known: auto, cpu, cuda, cuda:<index>, mps (untested)."
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"--device {name} asked, but this PyTorch sees no GPU of Apple's.")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name} asked, but this PyTorch sees no CUDA device.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"--device {name} asked, but there are {count} CUDA devices, from cuda:0.")
    return chosen


def world() -> int:
    """How many processes train together."""
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if ready else 1


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if world() > 1 else 0


def over_nccl() -> bool:
    """Whether the processes exchange tensors of GPUs, which a CUDA graph can hold."""
    return distributed.get_backend() == "nccl"


def broadcast(module: nn.Module) -> None:
    """Give every process the weights and buffers of the first."""
    if world() > 1:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, 0)


@contextmanager
def averaging(weights: Sequence[Tensor]) -> Iterator[None]:
    """Make the gradients of a backward pass inside the block their means over the processes.

    They are exchanged in pieces, each as soon as it is complete, while the pass goes on; those of
    the last layers come first. Every process must compute gradients of the same weights.
    """
    if world() == 1:
        yield
        return
    exchange = _Exchange(weights)
    hooks = [weight.register_post_accumulate_grad_hook(exchange.arrived) for weight in weights]
    try:
        yield
        exchange.finish()
    finally:
        for hook in hooks:
            hook.remove()


class _Exchange:
    """The gradients of one backward pass, in pieces, on their way through the processes."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.pieces: list[list[Tensor]] = [[]]
        size = 0
        for weight in reversed(weights):  # about the order in which a backward pass comes to them
            if size >= _PIECE:
                self.pieces.append([])
                size = 0
            self.pieces[-1].append(weight)
            size += weight.numel() * weight.element_size()
        self._place = {weight: at for at, each in enumerate(self.pieces) for weight in each}
        self._missing = [len(each) for each in self.pieces]
        self._sent: list[tuple[list[Tensor], Tensor, Any]] = []
        self._next = 0

    def arrived(self, weight: Tensor) -> None:
        """Note that a gradient is there; send what is complete, in the order that all keep."""
        self._missing[self._place[weight]] -= 1
        while self._next < len(self.pieces) and not self._missing[self._next]:
            self._send()

    def _send(self) -> None:
        piece = self.pieces[self._next]
        self._next += 1
        gradients = [weight.grad for weight in piece if weight.grad is not None]
        if gradients:
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            self._sent.append((gradients, flat, distributed.all_reduce(flat, async_op=True)))

    def finish(self) -> None:
        """Send the rest, wait for all, and put the means in the gradients' places."""
        while self._next < len(self.pieces):  # some weights had no part in the loss
            self._send()
        for gradients, flat, work in self._sent:
            work.wait()  # on a GPU its stream waits, this thread does not
            flat /= world()
            means = flat.split([gradient.numel() for gradient in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))


def agree(value: Any) -> Any:
    """The first process's `value`, for decisions that all must take alike."""
    if world() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, 0)
    return box[0]


def anyone(flag: bool) -> bool:
    """Whether `flag` holds in any process."""
    if world() == 1:
        return flag
    box = torch.tensor(float(flag), device=_meeting_place())
    distributed.all_reduce(box, distributed.ReduceOp.MAX)
    return bool(box.item())


class Vote:
    """Whether a flag holds in any process, asked at every step and answered at the next.

    So no step waits for the others, nor, on a GPU, for its own work to be done.
    """

    def __init__(self) -> None:
        self._asked: _Asked | None = None

    def __call__(self, flag: bool) -> bool:
        """Ask, and return the answer to what was asked before; alone, the flag itself."""
        if world() == 1:
            return flag
        answer = self.close()
        self._asked = _Asked(flag)
        return answer

    def close(self) -> bool:
        """The answer to what was asked last."""
        asked, self._asked = self._asked, None
        return asked is not None and asked.answer()


class _Asked:
    """A flag on its way through the processes."""

    def __init__(self, flag: bool) -> None:
        self.box = torch.full((), float(flag), device=_meeting_place())
        self.work = distributed.all_reduce(self.box, distributed.ReduceOp.MAX, async_op=True)
        self.event: torch.cuda.Event | None = None
        if self.box.is_cuda:
            assert self.work is not None
            self.work.wait()  # its stream waits for the answer, this thread does not
            self.box = self.box.to("cpu", non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record()

    def answer(self) -> bool:
        if self.event is not None:
            self.event.synchronize()
        elif self.work is not None:
            self.work.wait()
        return bool(self.box.item())


def _meeting_place() -> torch.device:
    """Where the tensors lie that the processes exchange."""
    if over_nccl():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def total(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over the processes; gradients flow through it."""
    return tensor if world() == 1 else _Sum.apply(tensor)  # type: ignore[no-any-return]


class _Sum(torch.autograd.Function):
    """A sum over processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        del ctx
        result = tensor.clone()
        distributed.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        result = gradients[0].contiguous().clone()
        distributed.all_reduce(result)
        return result
