"""Networks from pictures to pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from gapfill.nets.layers import BatchNorm2d, convolutions, down, up
from gapfill.nets.padding import padded
from gapfill.nets.products import Conv2d


class EncoderDecoder(nn.Sequential):
    """A fully convolutional encoder and decoder with a 1/16 bottleneck and tanh at the end.

    Args:
        channels: input channels, 3 or, with a mask channel, 4.
        width: channels after the first convolution; the bottleneck has eight times as many.
        encode: makes the encoder's activation.
        decode: makes the decoder's activation.
        norm_first: BatchNorm after the first convolution too.
        dropout: share of the bottleneck's feature maps that training hides.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        encode: Callable[[], nn.Module],
        decode: Callable[[], nn.Module],
        norm_first: bool = False,
        dropout: float = 0.0,
    ) -> None:
        w = width
        super().__init__(
            down(channels, w, encode(), norm_first),
            down(w, 2 * w, encode()),
            down(2 * w, 4 * w, encode()),
            down(4 * w, 8 * w, encode()),
            nn.Sequential(
                Conv2d(8 * w, 8 * w, 3, 1, 1, bias=False),
                BatchNorm2d(8 * w),
                decode(),
                nn.Dropout2d(dropout),
            ),
            up(8 * w, 4 * w, decode()),
            up(4 * w, 2 * w, decode()),
            up(2 * w, w, decode()),
            up(w, 3, nn.Tanh(), norm=False),
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """[N, channels, H, W] to [N, 3, H, W] in [-1, 1], padded inside to multiples of 16."""
        return padded(super().forward, input)


class Unpooling(nn.Module):
    """VGG's first stages, two dense layers, and stages that put each maximum back in its place.

    Args:
        size: side of the pictures, a multiple of 16.
        width: channels after the first convolution.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        w, side = width, size // 16
        code = 8 * w * side**2
        self.encoder = nn.ModuleList(
            [
                convolutions(3, w, w),
                convolutions(w, 2 * w, 2 * w),
                convolutions(2 * w, 4 * w, 4 * w),
                convolutions(4 * w, 8 * w, 8 * w, 8 * w, 8 * w),
            ]
        )
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(code, code // 4),
            nn.ReLU(),
            nn.Linear(code // 4, code),
            nn.ReLU(),
            nn.Unflatten(1, (8 * w, side, side)),
        )
        self.decoder = nn.ModuleList(
            [
                convolutions(8 * w, 2 * w, 2 * w, 2 * w, 4 * w),
                convolutions(4 * w, 2 * w, 2 * w),
                convolutions(2 * w, 2 * w, w),
                convolutions(w, w, w),
            ]
        )
        self.last = nn.Sequential(nn.Conv2d(w, 3, 3, 1, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Pictures [N, 3, S, S] in [-1, 1] of pictures."""
        places = []
        for each in self.encoder:
            x, place = F.max_pool2d(each(x), (2, 2), return_indices=True)
            places.append(place)
        x = self.dense(x)
        for each in self.decoder:
            x = each(F.max_unpool2d(x, places.pop(), (2, 2)))
        return self.last(x)
