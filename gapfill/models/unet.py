"""U-Net: a deterministic regression with skip connections, over any encoder of timm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._perceptual import Perceptive
from gapfill.optim import optimizer
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("unet")
class UNet(Perceptive):
    """U-Net over any timm encoder: the strong deterministic baseline, sharpened by LPIPS.

    Source: Ronneberger et al. 2015 for the shape; residual blocks and self-attention at an eighth
    of the side as diffusion models have them (Ho et al. 2020), with BatchNorm. The recipe is ours:
    the mask as a fourth channel, L1 and L2 in the hole.
    """

    about = About(
        group="modern",
        title="U-Net: Convolutional Networks for Biomedical Image Segmentation",
        authors="Ronneberger et al.",
        year=2015,
        read="recalled; the recipe is gapfill's own, no reproduction",
    )

    usual: ClassVar = {"perceptual": 2.0}

    @dataclass(frozen=True)
    class Config:
        """Settings of `unet`.

        Attributes:
            size: side of the training pictures.
            width: channels at half resolution; twice as many at each level below.
            encoder: any timm model that has `features_only`, untrained; empty for the own one.
            lr: learning rate of AdamW.
            weight_decay: of AdamW.
            l1: weight of the mean absolute error in the hole.
            l2: weight of the mean squared error in the hole.
            perceptual: weight of LPIPS between composite and truth; by default 2 where the network
                that LPIPS looks through is on this machine, 0 elsewhere.
            dropout: share of the coarse feature maps that training hides; without it a few thousand
                faces are learnt by heart within minutes.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        encoder: str = ""
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        weight_decay: Annotated[float, Range(0)] = 0.01
        l1: Annotated[float, Range(0)] = 1.0
        l2: Annotated[float, Range(0)] = 10.0
        perceptual: Annotated[float | None, Range(0)] = None
        dropout: Annotated[float, Range(0, 0.9)] = 0.3

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        encoder = None
        if config.encoder:
            encoder = nets.Backbone(config.encoder, 4, nets.rounded(config.size), config.width)
        self.network = nets.UNet(4, config.width, dropout=config.dropout, encoder=encoder)
        self.multiple = None if encoder and encoder.fixed else 4

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return self.network(nets.with_mask(known, mask))

    def updates(self) -> list[Update]:
        """One: all weights, down the reconstruction error."""
        config = self.config
        self.open_eye()
        network = optimizer(self, config.lr, "adamw", weight_decay=config.weight_decay)
        return [Update("network", network, self.loss)]

    def loss(self, batch: Batch) -> Terms:
        """L1 and L2 in the hole."""
        config, filled = self.config, self.filled(batch)
        return {
            "l1": config.l1 * losses.l1(filled, batch.image, batch.mask),
            "l2": config.l2 * losses.l2(filled, batch.image, batch.mask),
        } | self.perceived(batch)
