"""Layers and small stacks of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gapfill import ranks
from gapfill.nets.products import Conv2d, ConvTranspose2d


class BatchNorm2d(nn.SyncBatchNorm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose statistics are those of the global batch.

    With one process it is that, to the bit. With several, each normalises by the mean and variance
    over all of them, so that two processes train as one with the same global batch: on GPUs by the
    kernels of `torch.nn.SyncBatchNorm`, which there are for no CPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002, the parents' name
        nn.BatchNorm2d._check_input_dim(self, input)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parents' name
        """Normalise [N, C, H, W]."""
        if not self.training or ranks.world() == 1:
            return nn.BatchNorm2d.forward(self, input)
        if input.is_cuda:
            return nn.SyncBatchNorm.forward(self, input)
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


def convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution that keeps the side but for its stride, BatchNorm, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
        BatchNorm2d(outputs),
        nn.ReLU(),
    )


def down(inputs: int, outputs: int, act: nn.Module, norm: bool = True) -> nn.Sequential:
    """Halve the resolution: convolution k4 s2 p1, BatchNorm, activation."""
    convolution = Conv2d(inputs, outputs, 4, 2, 1, bias=not norm)
    return nn.Sequential(convolution, *([BatchNorm2d(outputs)] if norm else []), act)


def up(inputs: int, outputs: int, act: nn.Module, norm: bool = True) -> nn.Sequential:
    """Double the resolution: transposed convolution k4 s2 p1, BatchNorm, activation."""
    convolution = ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=not norm)
    return nn.Sequential(convolution, *([BatchNorm2d(outputs)] if norm else []), act)


def upsample(inputs: int, outputs: int, act: nn.Module) -> nn.Sequential:
    """Double the resolution without transposed convolution: nearest neighbour, then k3 s1 p1."""
    return nn.Sequential(Upsample(), Conv2d(inputs, outputs, 3, 1, 1), act)


class Upsample(nn.Upsample):
    """Twice the resolution, by nearest neighbours."""

    def __init__(self) -> None:
        super().__init__(scale_factor=2)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """[N, C, H, W] to [N, C, 2·H, 2·W]."""
        height, width = input.shape[-2:]
        return upsampled(input, (2 * height, 2 * width))


def upsampled(x: Tensor, size: Sequence[int]) -> Tensor:
    """Maps enlarged by nearest neighbours, of the dtype that came: CUDA's autocast has float32."""
    if x.device.type != "cuda":
        return F.interpolate(x, size)
    with torch.autocast("cuda", enabled=False):
        return F.interpolate(x, size)


def pooled(channels: Sequence[int], act: Callable[[], nn.Module]) -> nn.Sequential:
    """Convolution k3 s1 p1, activation and 2×2 max pooling, once for each pair of `channels`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [Conv2d(inputs, outputs, 3, 1, 1), act(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def convolutions(*channels: int) -> nn.Sequential:
    """Convolutions k3 s1 p1 with BatchNorm and ReLU, one for each pair of `channels`."""
    return nn.Sequential(*(convolution(*pair) for pair in pairwise(channels)))


def with_mask(known: Tensor, mask: Tensor) -> Tensor:
    """Pictures with the mask as a fourth channel, [N, 4, H, W], in the pictures' memory format.

    One channel has no format, so that `cat` alone would leave channels_last. A graph that is
    exported keeps the plain operator.
    """
    parts = [known, mask.to(known.dtype)]
    last = known.is_contiguous(memory_format=torch.channels_last)
    if torch.compiler.is_exporting() or not last:
        return torch.cat(parts, 1)
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], -1).permute(0, 3, 1, 2)


class PixelShuffle(nn.PixelShuffle):
    """`torch.nn.PixelShuffle`, whose pictures are channels_last on CUDA too."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """[N, C · factor², H, W] to [N, C, factor · H, factor · W]."""
        return pixel_shuffle(input, self.upscale_factor)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """`torch.nn.functional.pixel_shuffle`, whose pictures are channels_last on CUDA too."""
    if x.device.type != "cuda":
        return F.pixel_shuffle(x, factor)
    return in_rows(x, factor)


def in_rows(x: Tensor, factor: int) -> Tensor:
    """What `pixel_shuffle` gives, in channels_last by one copy."""
    count, _, height, width = x.shape
    parts = x.permute(0, 2, 3, 1).unflatten(-1, (-1, factor, factor))
    rows = parts.permute(0, 1, 4, 2, 5, 3)  # N, H, factor, W, factor, C
    return rows.reshape(count, factor * height, factor * width, -1).permute(0, 3, 1, 2)


def at_least_float32(x: Tensor) -> Tensor:
    """Halves as float32, everything else as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
