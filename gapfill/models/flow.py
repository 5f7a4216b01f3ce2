"""Flow matching in the hole: from noise to one of many fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from gapfill import nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._flow import HoleFlow
from gapfill.models._perceptual import Perceptive
from gapfill.optim import optimizer
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update


@register("flow")
class Flow(Perceptive, HoleFlow):
    """Rectified flow from noise in the hole: another seed, another fill, each of them sharp.

    Source: Liu et al. 2022 and Lipman et al. 2023 for flows along straight lines, conditional on
    what is known. Deviations: only the hole flows, and the network guesses the end of the line
    instead of the velocity, which is the same up to scale and spares it learning the noise by
    heart.
    """

    about = About(
        group="modern",
        title="Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
        authors="Liu et al.",
        year=2022,
        read="recalled; inpainting by it is gapfill's own, no reproduction",
    )
    spread = 0.5
    usual: ClassVar = {"perceptual": 2.0}

    @dataclass(frozen=True)
    class Config:
        """Settings of `flow`.

        Attributes:
            size: side of the training pictures.
            width: channels at half resolution; twice as many at each level below.
            steps: Euler steps from noise to picture; more are slower, differ more and are rougher.
                One alone makes the same fill each time.
            lr: learning rate of AdamW.
            weight_decay: of AdamW.
            dropout: share of the coarse feature maps that training hides.
            perceptual: weight of LPIPS between the guessed ends of the lines and the truth; by
                default 2 where the network that LPIPS looks through is on this machine, 0
                elsewhere.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        steps: Annotated[int, Range(1, 1000)] = 2
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        weight_decay: Annotated[float, Range(0)] = 0.01
        dropout: Annotated[float, Range(0, 0.9)] = 0.1
        perceptual: Annotated[float | None, Range(0)] = None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.noise = 1.0
        self.flow = nets.UNet(4, config.width, timed=True, dropout=config.dropout)

    def centre(self, known: Tensor, mask: Tensor) -> Tensor:
        """Mid-grey: pure noise is where the lines start."""
        del mask
        return torch.zeros_like(known)

    def judged(self, batch: Batch, end: Tensor) -> Terms:
        """LPIPS of the guesses, pasted, if it has a weight."""
        return self.perceived_in(batch, lambda: end)

    def updates(self) -> list[Update]:
        """One: all weights, down the velocity's error."""
        config = self.config
        self.open_eye()
        network = optimizer(self, config.lr, "adamw", weight_decay=config.weight_decay)
        return [Update("flow", network, self.flow_loss)]
