"""rcGAN: pix2pix's players, and two fills of each picture that are rewarded for their distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models.pix2pix import Pix2Pix
from gapfill.randomness import randn
from gapfill.registry import register
from gapfill.types import Batch, Terms

REWARD = 1 / math.sqrt(12)
"""Of the distance of two samples: what makes their L1 loss least where a Gaussian truth's spread
is theirs."""
CELL = 4
"""The side of a square of equal noise, in pixels; finer noise would show in the fill."""


@register("rcgan")
class RcGAN(Pix2Pix):
    """rcGAN: noise in the hole makes another fill each time, all of them in one pass.

    Source: Bendel et al. 2023 for the regularisation: the loss is L1 of the mean of two fills, less
    a reward for their distance that would give Gaussian fills the truth's own spread. Deviations:
    networks and adversarial loss are those of `pix2pix`; LPIPS judges both fills, with a reward of
    its own; the rewards have a weight, `spread`, instead of one that adapts.
    """

    about = About(
        group="modern",
        title="A Regularized Conditional GAN for Posterior Sampling in Image Recovery Problems",
        authors="Bendel et al.",
        year=2023,
        read="recalled; inpainting by these networks is gapfill's own, no reproduction",
    )
    stochastic = True

    @dataclass(frozen=True)
    class Config(Pix2Pix.Config):
        """Settings of `rcgan`: those of `pix2pix`, and one more.

        Attributes:
            spread: weight of the reward for fills that differ: 1 is the source's, less makes them
                more alike and each of them nearer to what is likely.
        """

        spread: Annotated[float, Range(0, 1)] = 0.5

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass, from noise in the hole."""
        count, colours, height, width = known.shape
        noise = randn(count, colours, height // CELL, width // CELL, device=known.device)
        noise = nets.upsampled(noise, (height, width))
        return self.generator(nets.with_mask(known + noise * mask, mask))

    def other(self, batch: Batch) -> Tensor:
        """A second fill of each picture, from other noise."""
        return batch.once("other", lambda: self.fill(batch.known, batch.mask))

    def loss(self, batch: Batch) -> Terms:
        """L1 of the mean of two fills, less the reward for their distance; the adversarial loss."""
        config, one, other = self.config, self.filled(batch), self.other(batch)
        middle = losses.l1((one + other) / 2, batch.image, batch.mask)
        apart = losses.l1(one, other, batch.mask)
        terms = {
            "l1": config.l1 * middle,
            "spread": -config.l1 * config.spread * REWARD * apart,
            "adversarial": config.adversarial * self.fooling(batch),
        }
        return terms | self.perceived(batch)

    def perceived(self, batch: Batch) -> Terms:
        """LPIPS of both fills, less the reward for their distance in it."""
        if self.eye is None or not self.config.perceptual:
            return {}
        one, other = batch.paste(self.filled(batch)), batch.paste(self.other(batch))
        score = self.eye.score(one, other, batch.image, self.config.spread)
        return {"perceptual": self.config.perceptual * score}
