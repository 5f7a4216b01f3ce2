"""Plain GAN: pooling, dense layers and no normalisation, meant to be the harder one to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial
from gapfill.registry import register
from gapfill.types import Batch, Terms


@register("gan")
class GAN(Adversarial):
    """Plain GAN: max pooling, flatten and dense layers, no BatchNorm; sharp, and hard to train.

    Source: "Image Semantic Inpainting with DCGAN", whose list of seven changes says what a plain
    GAN is; Goodfellow et al. 2014 for the objective. The paper gives no sizes: they are ours.
    """

    about = About(
        group="paper",
        title="Image Semantic Inpainting with DCGAN",
        read="the paper, which gives no sizes and no weights",
        short_run="width=16",
    )

    @dataclass(frozen=True)
    class Config:
        """Settings of `gan`.

        Attributes:
            size: side of the pictures; the dense layers are built for it.
            width: channels after the first convolution of either network.
            lr: learning rate of the generator.
            lr_critic: learning rate of the discriminator.
            l1: weight of L1 in the hole.
            adversarial: weight of the adversarial loss.
        """

        size: Annotated[int, Range(28, 128, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        lr: Annotated[float, Range(1e-7, 1)] = 5e-4
        lr_critic: Annotated[float, Range(1e-7, 1)] = 2e-4
        l1: Annotated[float, Range(0)] = 1.0
        adversarial: Annotated[float, Range(0)] = 0.01

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        w, side = config.width, nets.rounded(config.size) // 16
        code = 8 * w * side * side
        self.generator = nn.Sequential(
            nets.pooled((4, w, 2 * w, 4 * w, 8 * w), nn.ReLU),
            nn.Flatten(),
            nn.Linear(code, 1024),
            nn.ReLU(),
            nn.Linear(1024, code),
            nn.ReLU(),
            nn.Unflatten(1, (8 * w, side, side)),
            nets.upsample(8 * w, 4 * w, nn.ReLU()),
            nets.upsample(4 * w, 2 * w, nn.ReLU()),
            nets.upsample(2 * w, w, nn.ReLU()),
            nets.upsample(w, 3, nn.Tanh()),
        )
        self.critic = nets.Critics(self.make_critic, config.size)
        nets.initialise_relu(self)

    def make_critic(self, size: int) -> nn.Module:
        """A discriminator of pictures of a side: pooling, dense layers, one logit."""
        w = self.config.width
        return nn.Sequential(
            nets.pooled((3, w, 2 * w, 4 * w, 8 * w), nn.ReLU),
            nn.Flatten(),
            nn.Linear(8 * w * (size // 16) ** 2, 256),
            nn.ReLU(),
            nn.Linear(256, 1),
            nn.Flatten(0),
        )

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return nets.padded(self.generator, nets.with_mask(known, mask))

    def loss(self, batch: Batch) -> Terms:
        """L1 in the hole and the non-saturating adversarial loss."""
        config, filled = self.config, self.filled(batch)
        return {
            "l1": config.l1 * losses.l1(filled, batch.image, batch.mask),
            "adversarial": config.adversarial * self.fooling(batch),
        }
