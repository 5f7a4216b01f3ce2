"""Dilated convolutions against a critic that sees the whole picture and the part at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial
from gapfill.optim import optimizer
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update, between


@register("glcic")
class GLCIC(Adversarial):
    """Globally and locally consistent completion: dilated convolutions, learnt in three phases.

    Source: Iizuka et al. 2017, "Globally and Locally Consistent Image Completion". Deviations:
    dilation up to 8 instead of 16, which would see padding alone at this size; half the channels by
    default, a quarter of its two thousand million multiplications, and half those of the critic;
    Adam instead of Adadelta. Its post-processing, off by default, lays Telea's fill under the hole
    and blends over it; Poisson's equation, solved with the known pixels as its boundary, has no use
    for what lies under the hole, so that the blending alone is left.
    """

    about = About(
        group="foundations",
        title="Globally and Locally Consistent Image Completion",
        authors="Iizuka et al.",
        year=2017,
        read="its published inpaint.lua, two published reimplementations",
    )
    multiple = 4

    @dataclass(frozen=True)
    class Config:
        """Settings of `glcic`.

        Attributes:
            size: side of the training pictures.
            width: channels after the first convolution; the source has 64.
            critic_width: channels after the critic's first convolutions; the source has 64.
            lr: learning rate of the generator.
            lr_critic: learning rate of the critic.
            l2: weight of the mean squared error in the hole.
            adversarial: weight of the adversarial loss.
            alone: share of the run in which the generator learns without the critic.
            warm: share of the run, after that, in which the critic learns without the generator.
            blend: close the seam by Poisson blending.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256, 2)] = 32
        critic_width: Annotated[int, Range(4, 256)] = 32
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        lr_critic: Annotated[float, Range(1e-7, 1)] = 1e-4
        l2: Annotated[float, Range(0)] = 1.0
        adversarial: Annotated[float, Range(0)] = 4e-4
        alone: Annotated[float, Range(0, 1)] = 0.18
        warm: Annotated[float, Range(0, 1)] = 0.02
        blend: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        w = config.width
        self.generator = nn.Sequential(
            nets.convolution(4, w, kernel=5),
            nets.convolution(w, 2 * w, stride=2),
            nets.convolution(2 * w, 2 * w),
            nets.convolution(2 * w, 4 * w, stride=2),
            nets.convolution(4 * w, 4 * w),
            nets.convolution(4 * w, 4 * w),
            *(nets.convolution(4 * w, 4 * w, dilation=rate) for rate in (1, 2, 4, 8)),
            nets.convolution(4 * w, 4 * w),
            nets.convolution(4 * w, 4 * w),
            nets.up(4 * w, 2 * w, nn.ReLU()),
            nets.convolution(2 * w, 2 * w),
            nets.up(2 * w, w, nn.ReLU()),
            nets.convolution(w, w // 2),
            nn.Conv2d(w // 2, 3, 3, padding=1),
            nn.Tanh(),
        )
        self.critic = nets.TwoEyed(config.size, config.critic_width)
        nets.initialise_relu(self)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass; blend it in, if that is wished."""
        filled = self.generator(nets.with_mask(known, mask))
        if self.config.blend and not self.training:
            return nets.poisson_blend(filled, known, mask)
        return filled

    def updates(self) -> list[Update]:
        """Three phases: the generator alone, the critic alone, both."""
        alone, both = self.config.alone, min(1, self.config.alone + self.config.warm)
        critic = optimizer(self.critic, self.config.lr_critic, betas=self.betas)
        generator = optimizer(self.generator, self.config.lr, betas=self.betas)
        return [
            Update("reconstruction", generator, self.reconstruction, between(0, alone)),
            Update("critic", critic, self.critic_loss, between(alone)),
            Update("generator", generator, self.loss, between(both)),
        ]

    def reconstruction(self, batch: Batch) -> Terms:
        """L2 in the hole."""
        return {"l2": self.config.l2 * losses.l2(self.filled(batch), batch.image, batch.mask)}

    def loss(self, batch: Batch) -> Terms:
        """L2 in the hole and the adversarial loss."""
        adversarial = self.config.adversarial * self.fooling(batch)
        return self.reconstruction(batch) | {"adversarial": adversarial}
