"""What flows in the hole have in common: the path, the network's reading of it, Euler's steps."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from gapfill import losses, nets
from gapfill.models._lifelike import Lifelike
from gapfill.randomness import randn
from gapfill.types import Batch, Terms

LATEST = 0.999
"""The last time that training sees: the velocity is a quotient that ends as 0/0."""


class HoleFlow(Lifelike):
    """A flow along straight lines z_t = (1 - t) z_0 + t x, in the hole, from a noisy `centre`.

    The network guesses the end x of the line; the velocity is then (guess - z_t) / (1 - t), and
    training makes its squared error small. The guess is put together as in Karras et al. 2022
    (EDM, section 5): the best linear one, plus the network's share of what that one misses, so
    that the network has the same size of work at every time. What the network sees of the state is
    that linear guess: at the start, when it tells nothing, it is the centre and hides nothing in
    noise. Its `Config` has `steps`.
    """

    stochastic = True
    multiple = 4
    iterated = "steps"
    flow: nn.Module
    noise: float
    """Standard deviation of the start around the centre."""
    spread: ClassVar[float]
    """Standard deviation around the centre that the linear guess expects of a pixel: the more, the
    more of the noise it keeps for the network to remove."""

    @abstractmethod
    def centre(self, known: Tensor, mask: Tensor) -> Tensor:
        """Where the lines start, up to noise; no gradient goes through it."""

    def seen(self, linear: Tensor, known: Tensor, mask: Tensor, centre: Tensor) -> Tensor:
        """What the network looks at: the linear guess, what is known around it, the mask."""
        del centre
        return nets.with_mask(known + linear * mask, mask)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Follow the flow from noise to the end of the line."""
        centre, steps = self.centre(known, mask), self.config.steps
        z = centre + self.noise * randn(*known.shape, device=known.device)
        for step in range(steps):
            time = known.new_full((len(known),), step / steps)
            z = z + (self.end(z, time, known, mask, centre) - z) / (steps - step)
        return z

    def end(self, z: Tensor, time: Tensor, known: Tensor, mask: Tensor, centre: Tensor) -> Tensor:
        """The network's guess at where the line through `z` [N, 3, H, W] at `time` [N] ends."""
        t = time[:, None, None, None]
        variance = ((1 - t) * self.noise).square() + (t * self.spread).square()
        keep = t * self.spread**2 / variance
        scale = (1 - t) * self.noise * self.spread / variance.sqrt()
        linear = centre + keep * (z - centre)
        return linear + scale * self.flow(self.seen(linear, known, mask, centre), time).float()

    def judged(self, batch: Batch, end: Tensor) -> Terms:
        """More terms, of a guess at the end of the line; none."""
        del batch, end
        return {}

    def flow_loss(self, batch: Batch) -> Terms:
        """The squared error of the velocity in the hole, at a time of its own for each picture."""
        image, centre = batch.image, self.centre(batch.known, batch.mask)
        time = LATEST * torch.rand(len(image), device=image.device)
        left = 1 - time[:, None, None, None]
        start = centre + self.noise * torch.randn_like(image)
        z = left * start + (1 - left) * image
        end = self.end(z, time, batch.known, batch.mask, centre)
        velocity = losses.l2(end / left, image / left, batch.mask)
        return {"velocity": velocity} | self.judged(batch, end)
