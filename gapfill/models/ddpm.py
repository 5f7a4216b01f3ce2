"""Diffusion over whole pictures: a denoiser that never saw a hole, and RePaint to fill one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from gapfill import nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.inpainter import Inpainter
from gapfill.models._diffusion import SIGNAL, TIMES, path
from gapfill.optim import optimizer
from gapfill.randomness import randn
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("ddpm")
class DDPM(Inpainter):
    """Diffusion over whole pictures, which fills any hole by RePaint: another seed, another fill.

    Source: Ho et al. 2020 for the model, Song et al. 2021 (DDIM) for few steps, Lugmayr et al. 2022
    (RePaint) for the fill. Deviations: the network guesses the velocity of Salimans and Ho 2022
    instead of the noise, and has BatchNorm.
    """

    about = About(
        group="modern",
        title="Denoising Diffusion Probabilistic Models",
        authors="Ho et al.",
        year=2020,
        read="recalled, as RePaint is (Lugmayr et al. 2022); no reproduction",
    )
    stochastic = True
    multiple = 4
    watched = 24

    @dataclass(frozen=True)
    class Config:
        """Settings of `ddpm`.

        Attributes:
            size: side of the training pictures.
            width: channels at half resolution; twice as many at each level below.
            steps: levels of noise that a fill passes, of a thousand.
            jump: by how many of these levels a fill goes back to more noise, and how often.
            resamplings: how often each stretch of so many levels is walked; 1 goes straight.
            eta: fresh noise at each step: 1 as much as Ho et al. have, 0 none (DDIM).
            lr: learning rate of AdamW.
            weight_decay: of AdamW.
            dropout: share of the coarse feature maps that training hides.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        steps: Annotated[int, Range(1, 1000)] = 20
        jump: Annotated[int, Range(1, 1000)] = 5
        resamplings: Annotated[int, Range(1, 100)] = 3
        eta: Annotated[float, Range(0, 1)] = 1.0
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        weight_decay: Annotated[float, Range(0)] = 0.01
        dropout: Annotated[float, Range(0, 0.9)] = 0.05

    signal: Tensor
    """`SIGNAL`, where a training step looks up a time for each picture."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.network = nets.UNet(3, config.width, timed=True, dropout=config.dropout)
        self.register_buffer("signal", torch.tensor(SIGNAL), persistent=False)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """From noise to a picture; what is known is as noisy as the rest at every level."""
        config = self.config
        levels = path(config.steps, config.jump, config.resamplings)
        x = randn(*known.shape, device=known.device)
        for here, there in pairwise(levels):
            now, then = self._time(here), self._time(there)
            if there > here:
                x = self.noisier(x, now, then)
            else:
                x = mask * self.cleaner(x, now, then) + (1 - mask) * self.noisier(known, 0, then)
        return x

    def _time(self, level: int) -> int:
        return round(level * TIMES / self.config.steps)

    def noisier(self, x: Tensor, now: int, then: int) -> Tensor:
        """The state at time `then` of a state at an earlier time; a picture is one at time 0."""
        share = SIGNAL[then] / SIGNAL[now]
        return share * x + math.sqrt(1 - share**2) * randn(*x.shape, device=x.device)

    def cleaner(self, x: Tensor, now: int, then: int) -> Tensor:
        """The state at an earlier time `then`: the guessed picture and as much noise as there is.

        Source: Song et al. 2021, equations 12 and 16.
        """
        a, b = SIGNAL[now], SIGNAL[then]
        left, less = math.sqrt(1 - a**2), math.sqrt(1 - b**2)
        time = x.new_full((len(x),), now / TIMES)
        picture = (a * x - left * self.network(x, time).float()).clamp(-1, 1)
        noise = (x - a * picture) / left
        fresh = self.config.eta * less / left * math.sqrt(1 - (a / b) ** 2)
        kept = math.sqrt(max(0.0, less**2 - fresh**2))
        return b * picture + kept * noise + fresh * randn(*x.shape, device=x.device)

    def updates(self) -> list[Update]:
        """One: all weights, down the velocity's error."""
        config = self.config
        network = optimizer(self, config.lr, "adamw", weight_decay=config.weight_decay)
        return [Update("network", network, self.loss)]

    def loss(self, batch: Batch) -> Terms:
        """The squared error of the velocity over the whole picture; no mask takes part."""
        image = batch.image
        time = torch.randint(1, TIMES + 1, (len(image),), device=image.device)
        share = self.signal[time][:, None, None, None]
        left, noise = (1 - share.square()).sqrt(), torch.randn_like(image)
        guess = self.network(share * image + left * noise, time / TIMES)
        return {"velocity": F.mse_loss(guess.float(), share * noise - left * image)}
