"""pix2pix: a U-Net against a critic of patches, the model that image translation began with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial
from gapfill.models._perceptual import Perceptive
from gapfill.registry import register
from gapfill.types import Batch, Terms


@register("pix2pix")
class Pix2Pix(Perceptive, Adversarial):
    """pix2pix: a U-Net that hands every detail across, and a critic of patches with BatchNorm.

    Source: Isola et al. 2017 for the two players and the weight of the adversarial loss, a
    hundredth of L1's. Deviations: `unet`'s network as the generator; the critic's condition is the
    mask, since the known pixels stand in the composite; its patches are 38 pixels wide in place of
    70; LPIPS beside L1, where its network is on the machine.
    """

    about = About(
        group="foundations",
        title="Image-to-Image Translation with Conditional Adversarial Networks",
        authors="Isola et al.",
        year=2017,
        read="recalled; inpainting by it is gapfill's own, no reproduction",
    )
    multiple = 4
    usual: ClassVar = {"perceptual": 2.0}

    @dataclass(frozen=True)
    class Config:
        """Settings of `pix2pix`.

        Attributes:
            size: side of the training pictures.
            width: the generator's channels at half resolution; twice as many at each level below.
            critic_width: channels after the critic's first convolution.
            lr: learning rate of the generator.
            lr_critic: learning rate of the critic.
            dropout: share of the coarse feature maps that training hides, as in `unet`.
            l1: weight of the mean absolute error in the hole.
            perceptual: weight of LPIPS between composite and truth; by default 2 where the network
                that LPIPS looks through is on this machine, 0 elsewhere.
            adversarial: weight of the adversarial loss.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        critic_width: Annotated[int, Range(4, 512)] = 32
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        lr_critic: Annotated[float, Range(1e-7, 1)] = 2e-4
        dropout: Annotated[float, Range(0, 0.9)] = 0.2
        l1: Annotated[float, Range(0)] = 1.0
        perceptual: Annotated[float | None, Range(0)] = None
        adversarial: Annotated[float, Range(0)] = 0.01

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.generator = nets.UNet(4, config.width, dropout=config.dropout)
        self.critic = nets.PatchGAN(config.critic_width)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return self.generator(nets.with_mask(known, mask))

    def loss(self, batch: Batch) -> Terms:
        """L1 in the hole, and the adversarial loss."""
        config = self.config
        l1 = losses.l1(self.filled(batch), batch.image, batch.mask)
        terms = {"l1": config.l1 * l1, "adversarial": config.adversarial * self.fooling(batch)}
        return terms | self.perceived(batch)
