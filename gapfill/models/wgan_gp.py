"""DCGAN's generator against a Wasserstein critic with a gradient penalty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Judge
from gapfill.models.dcgan import DCGAN
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update, every


@register("wgan_gp")
class WGANGP(DCGAN):
    """Wasserstein GAN with gradient penalty: a critic that scores, without BatchNorm; steadier.

    After Xia et al. 2019, which is about the silhouettes of walkers: no reproduction. The objective
    and the penalty are those of Gulrajani et al. 2017; content, gradient and prior loss are those
    of Vitoria et al. 2018, as in `dcgan`, and so is the generator. Deviation: one step of the
    critic for each of the generator's by default instead of five, since the content loss leads.
    """

    about = About(
        group="foundations",
        title="Improved Training of Wasserstein GANs",
        authors="Gulrajani et al.",
        year=2017,
        read="not Xia et al. 2019, which it follows; the penalty is as widely published",
    )
    critic_norm = False
    betas = (0.0, 0.9)

    @dataclass(frozen=True)
    class Config(DCGAN.Config):
        """Settings of `wgan_gp`: those of `dcgan`, and the penalty's; `recipe` is of networks.

        Attributes:
            adversarial: weight of the adversarial loss.
            penalty: weight of the gradient penalty.
            critic_steps: steps of the critic for each of the generator's.
        """

        adversarial: Annotated[float, Range(0)] = 0.001
        penalty: Annotated[float, Range(0)] = 10.0
        critic_steps: Annotated[int, Range(1, 1000)] = 1

    @property
    def objective(self) -> losses.Objective:
        """Wasserstein, whatever the recipe."""
        return losses.WASSERSTEIN

    def updates(self) -> list[Update]:
        """Two, of which the generator's waits for its turn."""
        critic, generator = super().updates()
        return [critic, replace(generator, when=every(self.config.critic_steps))]

    def critic_loss(self, batch: Batch, critic: Judge | None = None) -> Terms:
        """The distance between real pictures and composites, and the penalty on the way between."""
        made = batch.paste(self.filled(batch).detach())
        assert isinstance(self.critic, nets.Critics)
        judges = [critic] if critic else [partial(self.critic.judge, view) for view in self.critic]
        penalties = [
            losses.gradient_penalty(partial(self._seen, judge, batch.mask), batch.image, made)
            for judge in judges  # each is to have a slope of 1
        ]
        penalty = self.config.penalty * torch.stack(penalties).mean()
        return super().critic_loss(batch, critic) | {"penalty": penalty}

    @staticmethod
    def _seen(judge: Judge, mask: Tensor, pictures: Tensor) -> Tensor:
        return judge(pictures, mask)
