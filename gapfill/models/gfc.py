"""An encoder with pooling, a decoder that undoes it, and two critics that join one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial, Judge
from gapfill.optim import optimizer
from gapfill.randomness import rand
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update, between


@register("gfc")
class GFC(Adversarial):
    """Generative face completion: noise in the hole, a local critic, then a global one too.

    Source: Li et al. 2017, "Generative Face Completion". Deviations: its loss by a network that
    names the parts of a face is left out, since that network would have to be downloaded; the
    critics have one convolution a stage instead of two; fewer channels by default; BatchNorm in the
    generator, which learns a third as fast without; tanh at the end; the shares of the run
    that its three phases take, and all weights of losses, are ours.
    """

    about = About(
        group="foundations",
        title="Generative Face Completion",
        authors="Li et al.",
        year=2017,
        read="its published network definitions",
        holes="square",
    )
    stochastic = True

    @dataclass(frozen=True)
    class Config:
        """Settings of `gfc`.

        Attributes:
            size: side of the pictures; the dense layers are built for it.
            width: channels after the first convolution; the source has 32.
            critic_width: channels after the critics' first convolution; the source has 64.
            lr: learning rate of the generator.
            lr_critic: learning rate of the critics.
            l2: weight of the mean squared error in the hole.
            known: weight of the mean squared error outside it.
            adversarial: weight of the adversarial loss.
            alone: share of the run in which the generator learns without a critic.
            local: share of the run, after that, in which it learns with the local one.
        """

        size: Annotated[int, Range(32, 128, 16)] = 64
        width: Annotated[int, Range(4, 256)] = 24
        critic_width: Annotated[int, Range(4, 512)] = 32
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        lr_critic: Annotated[float, Range(1e-7, 1)] = 1e-4
        l2: Annotated[float, Range(0)] = 2.0
        known: Annotated[float, Range(0)] = 0.2
        adversarial: Annotated[float, Range(0)] = 3e-4
        alone: Annotated[float, Range(0, 1)] = 0.3
        local: Annotated[float, Range(0, 1)] = 0.2

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        leaky = partial(nn.LeakyReLU, 0.2)
        self.generator = nets.Unpooling(config.size, config.width)
        self.critic = nets.Critics(
            lambda size: nets.Critic(size, config.critic_width, leaky, norm=False),
            config.size,
            "both",
        )
        nets.initialise_relu(self.generator)
        nets.initialise(self.critic)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture from the known pixels and noise in the hole."""
        draw = torch.rand if self.training else rand
        noise = 2 * draw(*known.shape, device=known.device) - 1
        return self.generator(known + mask * noise)

    def updates(self) -> list[Update]:
        """Three phases: no critic, the local one, both."""
        alone, both = self.config.alone, min(1, self.config.alone + self.config.local)
        critics = self.critic
        assert isinstance(critics, nets.Critics)
        whole, part = partial(critics.judge, "global"), partial(critics.judge, "local")
        lr, betas = self.config.lr_critic, self.betas
        generator = optimizer(self.generator, self.config.lr, betas=betas)
        return [
            Update(
                "local_critic",
                optimizer(critics["local"], lr, betas=betas),
                partial(self.critic_loss, critic=part),
                between(alone),
            ),
            Update(
                "critic",
                optimizer(critics["global"], lr, betas=betas),
                partial(self.critic_loss, critic=whole),
                between(both),
            ),
            Update("reconstruction", generator, self.reconstruction, between(0, alone)),
            Update("local", generator, partial(self.loss, critic=part), between(alone, both)),
            Update("generator", generator, self.loss, between(both)),
        ]

    def reconstruction(self, batch: Batch) -> Terms:
        """L2 in the hole and, less, outside it."""
        config, filled = self.config, self.filled(batch)
        return {
            "l2": config.l2 * losses.l2(filled, batch.image, batch.mask),
            "known": config.known * losses.l2(filled, batch.image, 1 - batch.mask),
        }

    def loss(self, batch: Batch, critic: Judge | None = None) -> Terms:
        """L2 and the adversarial loss, of both critics where none is named."""
        adversarial = self.config.adversarial * self.fooling(batch, critic)
        return self.reconstruction(batch) | {"adversarial": adversarial}
