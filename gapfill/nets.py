"""Blocks that several models are made of; nothing here knows a model or a trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from gapfill import ranks


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose statistics are those of the global batch.

    With one process it is the parent, to the bit. With several, each normalises by the mean and
    variance over all of them, so that two processes train as one with the same global batch.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """Normalise [N, C, H, W]."""
        if not self.training or ranks.world() == 1:
            return super().forward(input)
        x = input.float()
        count = x.numel() // x.shape[1] * ranks.world()
        mean = ranks.total(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = ranks.total(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            momentum = self.momentum if self.momentum is not None else 0.1
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


def down(inputs: int, outputs: int, act: nn.Module, norm: bool = True) -> nn.Sequential:
    """Halve the resolution: convolution k4 s2 p1, BatchNorm, activation."""
    convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not norm)
    return nn.Sequential(convolution, *([BatchNorm2d(outputs)] if norm else []), act)


def up(inputs: int, outputs: int, act: nn.Module, norm: bool = True) -> nn.Sequential:
    """Double the resolution: transposed convolution k4 s2 p1, BatchNorm, activation."""
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=not norm)
    return nn.Sequential(convolution, *([BatchNorm2d(outputs)] if norm else []), act)


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
                nn.Conv2d(8 * w, 8 * w, 3, 1, 1, bias=False),
                BatchNorm2d(8 * w),
                decode(),
                nn.Dropout2d(dropout),
            ),
            up(8 * w, 4 * w, decode()),
            up(4 * w, 2 * w, decode()),
            up(2 * w, w, decode()),
            up(w, 3, nn.Tanh(), norm=False),
        )


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
            nn.Conv2d(8 * w, 1, size // 16),
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """Logits [N] of pictures [N, 3, S, S] in [-1, 1]."""
        return super().forward(input).flatten()


def with_mask(known: Tensor, mask: Tensor) -> Tensor:
    """Pictures with the mask as a fourth channel, [N, 4, H, W]."""
    return torch.cat([known, mask.to(known.dtype)], 1)


def upsample(inputs: int, outputs: int, act: nn.Module) -> nn.Sequential:
    """Double the resolution without transposed convolution: nearest neighbour, then k3 s1 p1."""
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, 1, 1), act)


def pooled(channels: Sequence[int], act: Callable[[], nn.Module]) -> nn.Sequential:
    """Convolution k3 s1 p1, activation and 2×2 max pooling, once for each pair of `channels`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), act(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def initialise_relu(module: nn.Module) -> None:
    """Initial weights that keep the signal's size through ReLU layers without BatchNorm.

    Source: He et al. 2015, "Delving Deep into Rectifiers".
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def initialise(module: nn.Module) -> None:
    """DCGAN's initial weights: N(0, 0.02), BatchNorm's gain N(1, 0.02), biases zero.

    Source: Radford et al. 2016, section 4, and the gain of its published code.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
