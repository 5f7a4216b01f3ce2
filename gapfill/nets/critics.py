"""Networks from pictures to logits."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from gapfill.nets.convolution import Conv2d
from gapfill.nets.layers import down


class Critic(nn.Sequential):
    """DCGAN's discriminator: strided convolutions down to one logit a picture, no dense layer.

    Args:
        size: side of the pictures, a multiple of 16.
        width: channels after the first convolution.
        act: makes the activation.
        norm: BatchNorm after every convolution but the first and the last.
    """

    def __init__(
        self, size: int, width: int, act: Callable[[], nn.Module], norm: bool = True
    ) -> None:
        w = width
        super().__init__(
            down(3, w, act(), norm=False),
            down(w, 2 * w, act(), norm),
            down(2 * w, 4 * w, act(), norm),
            down(4 * w, 8 * w, act(), norm),
            Conv2d(8 * w, 1, size // 16),
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """Logits [N] of pictures [N, 3, S, S] in [-1, 1]."""
        return super().forward(input).flatten()
