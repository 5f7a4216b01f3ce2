"""Networks from pictures to pictures."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from gapfill.nets.convolution import Conv2d
from gapfill.nets.layers import BatchNorm2d, down, up


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
