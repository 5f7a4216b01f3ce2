"""Networks from noise to pictures."""

from __future__ import annotations

from torch import Tensor, nn

from gapfill.nets.layers import BatchNorm2d, up


class Generator(nn.Sequential):
    """DCGAN's generator: a code becomes a small map, and transposed convolutions widen it.

    Args:
        code: length of the code.
        size: side of the pictures, a multiple of 16.
        width: channels before the last convolution.
    """

    def __init__(self, code: int, size: int, width: int) -> None:
        w = width
        super().__init__(
            nn.Sequential(
                nn.ConvTranspose2d(code, 8 * w, size // 16, bias=False),
                BatchNorm2d(8 * w),
                nn.ReLU(),
            ),
            up(8 * w, 4 * w, nn.ReLU()),
            up(4 * w, 2 * w, nn.ReLU()),
            up(2 * w, w, nn.ReLU()),
            up(w, 3, nn.Tanh(), norm=False),
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """Pictures [N, 3, S, S] in [-1, 1] of codes [N, code]."""
        return super().forward(input[:, :, None, None])
