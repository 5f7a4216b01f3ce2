"""R3GAN: a relativistic pairing loss with slopes held flat on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from gapfill import losses, nets, ranks
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial, Judge
from gapfill.models._perceptual import Perceptive
from gapfill.registry import register
from gapfill.types import REPORTED, Batch, Terms


@register("r3gan")
class R3GAN(Perceptive, Adversarial):
    """R3GAN: each picture against its own fill, R1 and R2, a critic without normalisation.

    Source: Huang et al. 2024 for the loss, the penalties, the critic's residual blocks without
    normalisation, which begin as their skips, and Adam's averages. Deviations: the generator is
    `unet`'s network with a content loss, BatchNorm included (`normed`); a fill is paired with the
    picture that it completes, not with another; the blocks are two full convolutions instead of
    grouped ones between narrow ones; the penalties' weight stays what it is, and they are estimated
    on a part of the batch.
    """

    about = About(
        group="modern",
        title="The GAN is dead; long live the GAN! A Modern GAN Baseline",
        authors="Huang et al.",
        year=2024,
        read="recalled; inpainting by it is gapfill's own, no reproduction",
    )
    multiple = 4
    betas = (0.0, 0.99)
    usual: ClassVar = {"perceptual": 2.0}

    @dataclass(frozen=True)
    class Config:
        """Settings of `r3gan`.

        Attributes:
            size: side of the training pictures.
            width: the generator's channels at half resolution; twice as many at each level below.
            critic_width: the critic's channels at half resolution, likewise.
            lr: learning rate of the generator.
            lr_critic: learning rate of the critic.
            dropout: share of the coarse feature maps that training hides, as in `unet`.
            l1: weight of the mean absolute error in the hole.
            l2: weight of the mean squared error in the hole.
            perceptual: weight of LPIPS between composite and truth; by default 2 where the network
                that LPIPS looks through is on this machine, 0 elsewhere.
            adversarial: weight of the generator's relativistic loss.
            penalty: weight of the critic's squared slopes, halved: at real pictures (R1) and at
                composites (R2).
            penalised: how many pictures of a whole batch the slopes are taken at, since a picture
                costs the critic five times as much with one as without.
            normed: whether the generator has BatchNorm; without it, as in the source, it learns
                several times as slowly, and needs a lower learning rate.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        critic_width: Annotated[int, Range(4, 256)] = 8
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        lr_critic: Annotated[float, Range(1e-7, 1)] = 4e-4
        dropout: Annotated[float, Range(0, 0.9)] = 0.2
        l1: Annotated[float, Range(0)] = 1.0
        l2: Annotated[float, Range(0)] = 5.0
        perceptual: Annotated[float | None, Range(0)] = None
        adversarial: Annotated[float, Range(0)] = 0.5
        penalty: Annotated[float, Range(0)] = 1.0
        penalised: Annotated[int, Range(1)] = 16
        normed: bool = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.generator = nets.UNet(4, config.width, dropout=config.dropout, normed=config.normed)
        self.critic = nets.ResidualCritic(config.size, config.critic_width)
        # Else the pixels of its patches show as a grid for long.
        nn.init.zeros_(self.generator.head[2].weight)  # pyright: ignore[reportArgumentType]
        if not config.normed:
            nets.initialise_residual(self.generator)
        nets.initialise_residual(self.critic)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return self.generator(nets.with_mask(known, mask))

    def critic_loss(self, batch: Batch, critic: Judge | None = None) -> Terms:
        """Each picture is to stand above its own composite, by a function that is flat at both."""
        judge = critic or self.critic
        made = batch.paste(self.filled(batch).detach())
        on_real, on_fake = judge(batch.image, batch.mask), judge(made, batch.mask)
        some = slice(max(1, self.config.penalised // ranks.world()))
        r1, r2 = (self._steepness(judge, x[some], batch.mask[some]) for x in (batch.image, made))
        return {
            "relativistic": losses.ahead(on_real, on_fake),
            "r1": self.config.penalty / 2 * r1,
            "r2": self.config.penalty / 2 * r2,
            REPORTED + "accuracy": (on_real > on_fake).float().mean(),
        }

    @staticmethod
    def _steepness(judge: Judge, pictures: Tensor, mask: Tensor) -> Tensor:
        """The critic's squared slope, the mean over pictures."""
        _, slope = losses.with_slope(lambda x: judge(x, mask), pictures)
        return slope.square().sum((1, 2, 3)).mean()

    def loss(self, batch: Batch) -> Terms:
        """The content loss, and the composite is to stand above the picture that it completes."""
        config, filled = self.config, self.filled(batch)
        made = self.critic(batch.paste(filled), batch.mask)
        with torch.no_grad():
            real = self.critic(batch.image, batch.mask)
        return {
            "l1": config.l1 * losses.l1(filled, batch.image, batch.mask),
            "l2": config.l2 * losses.l2(filled, batch.image, batch.mask),
            "adversarial": config.adversarial * losses.ahead(made, real),
        } | self.perceived(batch)
