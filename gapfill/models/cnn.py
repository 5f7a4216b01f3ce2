"""CNN only: a context encoder trained to reconstruct, with no adversary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from gapfill import losses, masks, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._perceptual import Perceptive
from gapfill.optim import optimizer
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("cnn")
class CNN(Perceptive):
    """Context encoder, reconstruction only: can repair any hole, and repairs it blurred.

    Source: Pathak et al. 2016, "Context Encoders", without its adversarial loss. Deviations: fully
    convolutional (its 4000-wide channel-wise bottleneck would be nine tenths of the weights at
    this size), the mask as a fourth input channel, and L1 beside L2.
    """

    about = About(
        group="paper",
        title="Context Encoders: Feature Learning by Inpainting",
        authors="Pathak et al.",
        year=2016,
        read="its published train.lua",
        short_run="width=32,batch_size=32",
    )
    multiple = 4

    @dataclass(frozen=True)
    class Config:
        """Settings of `cnn`.

        Attributes:
            size: side of the training pictures.
            width: channels after the first convolution.
            lr: learning rate of Adam.
            l1: weight of the mean absolute error in the hole.
            l2: weight of the mean squared error in the hole.
            perceptual: weight of LPIPS between composite and truth, beyond the paper.
            dropout: share of the bottleneck's feature maps that training hides; without it a few
                thousand faces are learnt by heart within minutes.
            ring: weight of the squared error on the known pixels around the hole.
            ring_width: width of that ring, in pixels.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 512)] = 64
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        l1: Annotated[float, Range(0)] = 1.0
        l2: Annotated[float, Range(0)] = 2.0
        perceptual: Annotated[float, Range(0)] = 0.0
        dropout: Annotated[float, Range(0, 0.9)] = 0.3
        ring: Annotated[float, Range(0)] = 0.5
        ring_width: Annotated[int, Range(1, 64)] = 2

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.generator = nets.EncoderDecoder(
            4, config.width, lambda: nn.LeakyReLU(0.2), nn.ReLU, dropout=config.dropout
        )
        nets.initialise(self)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return self.generator(nets.with_mask(known, mask))

    def updates(self) -> list[Update]:
        """One: all weights, down the reconstruction error."""
        self.open_eye()
        return [Update("network", optimizer(self, self.config.lr, betas=(0.5, 0.999)), self.loss)]

    def loss(self, batch: Batch) -> Terms:
        """L1 and L2 in the hole, and L2 in a ring around it so that the seam closes."""
        config, filled = self.config, self.filled(batch)
        ring = masks.ring(batch.mask, config.ring_width)
        return {
            "l1": config.l1 * losses.l1(filled, batch.image, batch.mask),
            "l2": config.l2 * losses.l2(filled, batch.image, batch.mask),
            "ring": config.ring * losses.l2(filled, batch.image, ring),
        } | self.perceived(batch)
