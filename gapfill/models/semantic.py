"""Search in a generator of whole pictures for the one that fits what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.inpainter import Inpainter
from gapfill.optim import optimizer
from gapfill.randomness import rand
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("semantic")
class Semantic(Inpainter):
    """Learns to make pictures without seeing a hole, then searches for the one that fits; slow.

    Source: Yeh et al. 2017, "Semantic Image Inpainting with Deep Generative Models": a DCGAN as
    prior, a context loss weighted by the nearness of the hole, a prior loss, Poisson blending.
    Deviations: fewer iterations and a narrower prior by default, for a CPU's sake; and the search
    starts anew several times and keeps, for each picture, what fits its known pixels best.
    """

    about = About(
        group="foundations",
        title="Semantic Image Inpainting with Deep Generative Models",
        authors="Yeh et al.",
        year=2017,
        read="two published reimplementations, not the text itself",
    )
    stochastic = True
    watched = 16
    iterated = "iterations"

    @dataclass(frozen=True)
    class Config:
        """Settings of `semantic`.

        Attributes:
            size: side of the pictures.
            width: channels before the generator's last convolution.
            critic_width: channels after the discriminator's first convolution.
            code: length of the code that a picture is made of.
            lr: learning rate of both networks.
            iterations: steps of a search; the source has up to 1500.
            restarts: searches for each picture, from other codes.
            search_lr: step size of the search.
            prior: weight of the prior loss in the search.
            reach: how far to each side a known pixel looks for missing ones, in pixels.
            blend: close the seam by Poisson blending.
        """

        size: Annotated[int, Range(32, 128, 16)] = 64
        width: Annotated[int, Range(4, 512)] = 32
        critic_width: Annotated[int, Range(4, 512)] = 32
        code: Annotated[int, Range(1, 4096)] = 100
        lr: Annotated[float, Range(1e-7, 1)] = 2e-4
        iterations: Annotated[int, Range(1, 100_000)] = 200
        restarts: Annotated[int, Range(1, 1000)] = 2
        search_lr: Annotated[float, Range(1e-7, 1)] = 0.03
        prior: Annotated[float, Range(0)] = 0.003
        reach: Annotated[int, Range(1, 31)] = 3
        blend: bool = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        leaky = partial(nn.LeakyReLU, 0.2)
        self.generator = nets.Generator(config.code, config.size, config.width)
        self.critic = nets.Critic(config.size, config.critic_width, leaky)
        nets.initialise(self)

    def updates(self) -> list[Update]:
        """Two, of a generator of whole pictures: no mask takes part."""
        critic = optimizer(self.critic, self.config.lr, betas=(0.5, 0.999))
        generator = optimizer(self.generator, self.config.lr, betas=(0.5, 0.999))
        return [
            Update("critic", critic, self.critic_loss),
            Update("generator", generator, self.loss),
        ]

    def made(self, batch: Batch) -> Tensor:
        """Pictures of random codes, as many as the batch has."""
        return batch.once("made", lambda: self.generator(self.codes(len(batch.image))))

    def critic_loss(self, batch: Batch) -> Terms:
        """Training pictures are real, made ones are not."""
        return losses.discrimination(
            self.critic(batch.image), self.critic(self.made(batch).detach())
        )

    def loss(self, batch: Batch) -> Terms:
        """Made pictures are to be taken for real."""
        return {"adversarial": losses.real(self.critic(self.made(batch)))}

    def codes(self, count: int, draw: Callable[..., Tensor] = torch.rand) -> Tensor:
        """Random codes [N, code], uniform in [-1, 1]."""
        return 2 * draw(count, self.config.code, device=self.device) - 1

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """The best of several searches, blended into what is known."""
        weight = nearness(mask, self.config.reach)
        best = known.new_full((len(known),), torch.inf)
        filled = torch.zeros_like(known)
        for _ in range(self.config.restarts):
            codes = self.codes(len(known), rand).to(torch.promote_types(known.dtype, torch.float32))
            code = self.search(codes, known, weight)
            made = self.generator(code)
            error = context(made, known, weight)
            filled = torch.where((error < best)[:, None, None, None], made, filled)
            best = torch.minimum(error, best)
        return nets.poisson_blend(filled, known, mask) if self.config.blend else filled

    def search(self, code: Tensor, known: Tensor, weight: Tensor) -> Tensor:
        """Codes whose pictures fit, each picture on its own: losses are summed, never averaged."""
        adam = torch.optim.Adam([code], self.config.search_lr)
        for _ in range(self.config.iterations):
            with torch.enable_grad():
                made = self.generator(code.requires_grad_())
                # log(1 - D), which is small where the discriminator believes the picture.
                prior = -F.softplus(self.critic(made))
                loss = context(made, known, weight) + self.config.prior * prior
                (code.grad,) = torch.autograd.grad(loss.sum(), code)
            adam.step()
            code.detach_().clamp_(-1, 1)
        return code


def nearness(mask: Tensor, reach: int) -> Tensor:
    """How much a known pixel tells of the hole: the share of missing pixels around it.

    Zero in the hole, where nothing is known, and where nothing is missing nearby. Source: Yeh et
    al. 2017.
    """
    share = F.avg_pool2d(mask, 2 * reach + 1, 1, reach, count_include_pad=False)
    return share * (1 - mask)


def context(made: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Weighted absolute error on known pixels, summed in each picture: [N]."""
    return (weight * (made - known)).abs().sum((1, 2, 3))
