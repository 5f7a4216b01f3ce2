"""A masked autoencoder: a transformer over patches that fills, and convolutions that refine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._perceptual import Perceptive
from gapfill.optim import optimizer
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("mae")
class MAE(Perceptive):
    """Masked autoencoder: a transformer guesses hidden patches, a small U-Net refines the whole.

    Source: He et al. 2022 for the autoencoder, whose encoder attends to known patches alone, and
    for hiding more patches than the hole does; Cao et al. 2022 for the convolutions behind it.
    Deviations: all is trained at once, for the hole; a patch that is partly known is a known one,
    with the mask beside its pixels; the convolutions see the autoencoder's picture, not its
    features. The blocks are timm's.
    """

    about = About(
        group="modern",
        title="Masked Autoencoders Are Scalable Vision Learners",
        authors="He et al.",
        year=2022,
        read="recalled; inpainting by it is gapfill's own, no reproduction",
    )
    multiple = 4
    usual: ClassVar = {"perceptual": 2.0}

    @dataclass(frozen=True)
    class Config:
        """Settings of `mae`.

        Attributes:
            size: side of the training pictures.
            patch: side of a patch, 4 or 8; with 4 there are four times as many, and the attention
                costs sixteen times as much.
            width: length of a token.
            depth: blocks of the encoder.
            decoder_depth: blocks of the decoder.
            refine: channels of the refining U-Net at half resolution.
            hidden: share of the known patches that training hides from the transformer too.
            lr: learning rate of AdamW.
            weight_decay: of AdamW.
            l1: weight of the mean absolute error in the hole.
            l2: weight of the mean squared error in the hole.
            coarse: weight of the autoencoder's own mean squared error in the hole.
            perceptual: weight of LPIPS between composite and truth; by default 2 where the network
                that LPIPS looks through is on this machine, 0 elsewhere.
            dropout: share of the U-Net's coarse feature maps that training hides.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        patch: Literal[4, 8] = 8
        width: Annotated[int, Range(4, 1024, 4)] = 192
        depth: Annotated[int, Range(1, 48)] = 4
        decoder_depth: Annotated[int, Range(1, 48)] = 2
        refine: Annotated[int, Range(4, 256)] = 24
        hidden: Annotated[float, Range(0, 0.9)] = 0.25
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        weight_decay: Annotated[float, Range(0)] = 0.05
        l1: Annotated[float, Range(0)] = 1.0
        l2: Annotated[float, Range(0)] = 10.0
        coarse: Annotated[float, Range(0)] = 5.0
        perceptual: Annotated[float | None, Range(0)] = None
        dropout: Annotated[float, Range(0, 0.9)] = 0.3

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.autoencoder = nets.MaskedAutoencoder(
            config.patch, config.width, config.depth, config.decoder_depth, config.hidden
        )
        self.refine = nets.UNet(4, config.refine, dropout=config.dropout)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Guess the hidden patches, then refine the picture that they complete."""
        return self.stages(known, mask)[1]

    def filled(self, batch: Batch) -> Tensor:
        """`fill`, of which the loss looks at both stages."""
        return batch.once("stages", lambda: self.stages(batch.known, batch.mask))[1]

    def stages(self, known: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The autoencoder's picture and the refined one."""
        coarse = nets.padded(self.autoencoder, nets.with_mask(known, mask), self.config.patch)
        composite = known + coarse * mask
        return coarse, composite + self.refine(nets.with_mask(composite, mask))

    def updates(self) -> list[Update]:
        """One: all weights, down the reconstruction error."""
        self.open_eye()
        config = self.config
        network = optimizer(self, config.lr, "adamw", weight_decay=config.weight_decay)
        return [Update("network", network, self.loss)]

    def loss(self, batch: Batch) -> Terms:
        """L1 and L2 in the hole of the refined picture, and L2 of the autoencoder's."""
        config, filled = self.config, self.filled(batch)
        coarse = batch.once("stages", lambda: self.stages(batch.known, batch.mask))[0]
        return {
            "l1": config.l1 * losses.l1(filled, batch.image, batch.mask),
            "l2": config.l2 * losses.l2(filled, batch.image, batch.mask),
            "coarse": config.coarse * losses.l2(coarse, batch.image, batch.mask),
        } | self.perceived(batch)
