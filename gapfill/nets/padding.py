"""Pictures whose sides a network cannot halve often enough, made larger for it."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

HALVED = 16
"""What the sides of a network's pictures are multiples of if it halves them four times."""


def rounded(side: int, multiple: int = HALVED) -> int:
    """The side that a picture of this side is enlarged to.

    >>> rounded(28), rounded(64)
    (32, 64)
    """
    return -(-side // multiple) * multiple


def enlarged(x: Tensor, multiple: int = HALVED) -> Tensor:
    """Pictures with their border repeated outwards until both sides are multiples of `multiple`."""
    height, width = x.shape[-2:]
    down, right = rounded(height, multiple) - height, rounded(width, multiple) - width
    if not (down or right):
        return x
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2), mode="replicate")


def padded(network: Callable[[Tensor], Tensor], x: Tensor, multiple: int = HALVED) -> Tensor:
    """What a network from pictures to pictures makes of these, `enlarged` for it alone.

    Args:
        network: keeps the sides of pictures whose sides are multiples of `multiple`.
        x: [N, C, H, W] of any sides.
        multiple: of what.

    Returns:
        [N, C', H, W].
    """
    height, width = x.shape[-2:]
    made = network(enlarged(x, multiple))
    top, left = (made.shape[-2] - height) // 2, (made.shape[-1] - width) // 2
    return made[..., top : top + height, left : left + width]
