"""What a piece of work asks of the machine: multiplications counted, bytes added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_UNAVOIDABLE = (
    "convolution",
    "mm",
    "bmm",
    "addmm",
    "_fused_adam",
    "_fused_sgd",
    "_foreach_lerp",
    "_foreach_copy",
)


class Work(NamedTuple):
    """What some work asks for.

    Attributes:
        flops: floating-point operations of products and convolutions, two a multiplication.
        bytes: of every operator's inputs and results, as if nothing stayed in a cache.
        least_bytes: the same of products, convolutions and updates of weights alone, as if all
            that lies between them were fused into them.
    """

    flops: int
    bytes: int
    least_bytes: int


def count(function: Callable[[], Any]) -> Work:
    """Do the work once, counted."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        function()
    return Work(flops.get_total_flops(), traffic.bytes, traffic.least)


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.least = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, result))
            tensors = {id(leaf): leaf for leaf in leaves if isinstance(leaf, Tensor)}
            moved = sum(tensor.nbytes for tensor in tensors.values())
            self.bytes += moved
            if func._schema.name.removeprefix("aten::").startswith(_UNAVOIDABLE):
                self.least += moved
        return result


def shares(work: Work, seconds: float, ceilings: dict[str, float]) -> dict[str, float]:
    """Rates that were reached, and their shares of what the machine can do.

    Args:
        work: what was done.
        seconds: the time it took.
        ceilings: `ceiling_flops` and `ceiling_bytes` a second.
    """
    return {
        **work._asdict(),
        "flops_per_second": work.flops / seconds,
        "bytes_per_second": work.bytes / seconds,
        "share_of_flops": work.flops / seconds / ceilings["ceiling_flops"],
        "share_of_bytes": work.bytes / seconds / ceilings["ceiling_bytes"],
        **ceilings,
    }
