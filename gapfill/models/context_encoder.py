"""The context encoder whole: `cnn` against a discriminator of what it puts into the hole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from torch import nn

from gapfill import nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial
from gapfill.models.cnn import CNN
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("context_encoder")
class ContextEncoder(Adversarial, CNN):
    """Context encoder with its adversary, which judges the hole alone; sharper than `cnn`.

    Source: Pathak et al. 2016, "Context Encoders". Deviations: those of `cnn`; and the
    discriminator sees the part of half the side around the hole, which is the hole itself where
    that is the central square, and for other holes has known pixels in it.
    """

    about = About(
        group="foundations",
        title="Context Encoders: Feature Learning by Inpainting",
        authors="Pathak et al.",
        year=2016,
        read="its published train.lua",
        holes="square",
    )

    @dataclass(frozen=True)
    class Config(CNN.Config):
        """Settings of `context_encoder`: those of `cnn`, and the discriminator's.

        Attributes:
            critic_width: channels after the discriminator's first convolution.
            lr_critic: learning rate of the discriminator, a tenth of the generator's.
            adversarial: weight of the adversarial loss.
        """

        critic_width: Annotated[int, Range(4, 512)] = 64
        lr_critic: Annotated[float, Range(1e-7, 1)] = 1e-4
        adversarial: Annotated[float, Range(0)] = 0.001

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        leaky = partial(nn.LeakyReLU, 0.2)
        self.critic = nets.Critics(
            lambda size: nets.Critic(size, config.critic_width, leaky), config.size, "local"
        )
        nets.initialise(self.critic)

    def updates(self) -> list[Update]:
        """Those of the two players."""
        self.open_eye()
        return Adversarial.updates(self)

    def loss(self, batch: Batch) -> Terms:
        """The reconstruction loss of `cnn` and the adversarial loss of the hole."""
        return CNN.loss(self, batch) | {
            "adversarial": self.config.adversarial * self.fooling(batch)
        }
