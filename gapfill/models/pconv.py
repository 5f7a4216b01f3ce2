"""Partial convolutions: each layer looks at what is known, and knows a little more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gapfill import losses, masks, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._perceptual import Perceptive
from gapfill.optim import optimizer
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("pconv")
class PConv(Perceptive):
    """A U-Net of partial convolutions, which never see what lies in the hole; for free-form holes.

    Source: Liu et al. 2018, with its losses and their weights; without VGG16 on the machine the
    perceptual and the style loss are left out. Deviations: four levels, at this size, in place of
    eight; more than three maps before the last convolution; a higher learning rate, and no second
    stage with BatchNorm at rest.
    """

    about = About(
        group="modern",
        title="Image Inpainting for Irregular Holes Using Partial Convolutions",
        authors="Liu et al.",
        year=2018,
        read="recalled, weights of the losses included",
    )
    multiple = 4
    trunk = "vgg16"
    usual: ClassVar = {"perceptual": 0.05, "style": 120.0}

    @dataclass(frozen=True)
    class Config:
        """Settings of `pconv`.

        Attributes:
            size: side of the training pictures.
            width: channels at half resolution; twice as many at each level below.
            lr: learning rate of Adam.
            known: weight of the mean absolute error outside the hole.
            hole: weight of the mean absolute error in the hole.
            perceptual: weight of the distance of VGG16's features from the truth's, of the fill and
                of the composite; by default 0.05 where VGG16 is on this machine, 0 elsewhere.
            style: weight of the distance of the features' correlations; by default 120 likewise.
            smooth: weight of the total variation of the hole with a border of one pixel.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256, 2)] = 48
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        known: Annotated[float, Range(0)] = 1.0
        hole: Annotated[float, Range(0)] = 6.0
        perceptual: Annotated[float | None, Range(0)] = None
        style: Annotated[float | None, Range(0)] = None
        smooth: Annotated[float, Range(0)] = 0.1

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        w = config.width
        channels = [3, w, 2 * w, 4 * w, 8 * w]
        self.down = nn.ModuleList(
            PartialConv(inputs, outputs, kernel, stride=2)
            for (inputs, outputs), kernel in zip(pairwise(channels), (7, 5, 3, 3), strict=True)
        )
        self.up = nn.ModuleList(
            PartialConv(below + beside, outputs, slope=0.2)
            for below, beside, outputs in (
                (8 * w, 4 * w, 4 * w),
                (4 * w, 2 * w, 2 * w),
                (2 * w, w, w),
                (w, 3, w // 2),
            )
        )
        self.last = nn.Conv2d(w // 2, 3, 1)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Down and up again, each time with a map of what is known."""
        return nets.padded(self._padded, nets.with_mask(known, 1 - mask))

    def _padded(self, x: Tensor) -> Tensor:
        levels = [(x[:, :3], x[:, 3:])]
        for layer in self.down:
            levels.append(layer(*levels[-1]))
        x, seen = levels.pop()
        for layer in self.up:
            beside, clear = levels.pop()
            x, seen = (nets.upsampled(each, beside.shape[-2:]) for each in (x, seen))
            share = (x.shape[1] * seen + beside.shape[1] * clear) / (x.shape[1] + beside.shape[1])
            x, seen = layer(torch.cat([x, beside.to(x.dtype)], 1), share)
        return self.last(x)

    def updates(self) -> list[Update]:
        """One: all weights, down all terms."""
        self.open_eye()
        return [Update("network", optimizer(self, self.config.lr), self.loss)]

    def loss(self, batch: Batch) -> Terms:
        """L1 outside the hole and, more, in it; what VGG16 sees; total variation."""
        config, filled = self.config, self.filled(batch)
        border = batch.mask + masks.ring(batch.mask, 1)
        flat = torch.zeros_like(batch.image)
        return {
            "known": config.known * losses.l1(filled, batch.image, 1 - batch.mask),
            "hole": config.hole * losses.l1(filled, batch.image, batch.mask),
            "smooth": config.smooth * losses.gradient(batch.paste(filled), flat, border),
        } | self.perceived(batch)

    def perceived(self, batch: Batch) -> Terms:
        """The perceptual and the style loss of the fill and of the composite."""
        if self.eye is None:
            return {}
        config, filled = self.config, self.filled(batch)
        with torch.no_grad():
            true = self.pools(batch.image)
        made = [self.pools(each) for each in (filled, batch.paste(filled))]
        features, style = (
            torch.stack([distance(each, true) for each in made]).sum()
            for distance in (losses.features, losses.style)
        )
        return {"perceptual": config.perceptual * features, "style": config.style * style}

    def pools(self, pictures: Tensor) -> list[Tensor]:
        """VGG16's first three poolings."""
        assert self.eye is not None
        return [F.max_pool2d(each, 2) for each in self.eye.maps(pictures, 3)]


class PartialConv(nn.Module):
    """A convolution over known values alone, scaled up by how few they are; then BatchNorm and act.

    Source: Liu et al. 2018, equations 1 and 2. `slope` is LeakyReLU's.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.window = (kernel, stride, kernel // 2)
        self.convolution = nn.Conv2d(inputs, outputs, *self.window, bias=False)
        self.norm = nets.BatchNorm2d(outputs)
        self.act = nn.LeakyReLU(slope)

    def forward(self, x: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [N, inputs, H, W], zero where unknown, and the share of them that is known.

        Returns:
            Maps [N, outputs, H', W'], zero where a window saw nothing, and where it saw something,
            [N, 1, H', W'].
        """
        share = F.avg_pool2d(share, *self.window)
        seen = (share > 0).to(share.dtype)
        x = self.convolution(x)
        x = x / (share + 1 - seen).to(x.dtype)  # which is of one channel: maps stay halves
        return self.act(self.norm(x)) * seen.to(x.dtype), seen
