"""Posterior-mean rectified flow: first the mean of all fills, then from there to a sharp one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.inpainter import evaluating
from gapfill.models._flow import HoleFlow
from gapfill.optim import optimizer
from gapfill.registry import register
from gapfill.types import Batch, Terms, Update, between


@register("pmrf")
class PMRF(HoleFlow):
    """Posterior-mean rectified flow: a U-Net's blurred mean, then a short flow to a sharp fill.

    Source: Ohayon et al. 2024. Deviations: only the hole flows; the flow sees the mean and the
    known pixels beside its state; it guesses the end of the line instead of the velocity; both
    stages are trained in one run.
    """

    about = About(
        group="modern",
        title="Posterior-Mean Rectified Flow: Towards Minimum MSE Photo-Realistic Image "
        "Restoration",
        authors="Ohayon et al.",
        year=2024,
        read="recalled, sigma included",
    )
    spread = 0.05

    @dataclass(frozen=True)
    class Config:
        """Settings of `pmrf`.

        Attributes:
            size: side of the training pictures.
            width: channels of both networks at half resolution.
            mean_share: share of the run in which the mean is learnt; then it stays as it is.
            sigma: standard deviation of the noise on the mean, in units of [-1, 1].
            steps: Euler steps from the mean to the fill; more are sharper and slower.
            lr: learning rate of AdamW.
            weight_decay: of AdamW.
            dropout: share of the mean's coarse feature maps that training hides.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        mean_share: Annotated[float, Range(0.01, 0.99)] = 0.7
        sigma: Annotated[float, Range(1e-3, 1)] = 0.1
        steps: Annotated[int, Range(1, 1000)] = 3
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        weight_decay: Annotated[float, Range(0)] = 0.01
        dropout: Annotated[float, Range(0, 0.9)] = 0.3

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.noise = config.sigma
        self.mean = nets.UNet(4, config.width, dropout=config.dropout)
        self.flow = nets.UNet(7, config.width, timed=True)

    @torch.no_grad()
    def centre(self, known: Tensor, mask: Tensor) -> Tensor:
        """The first stage's fill, as it is when nothing is trained."""
        with evaluating(self.mean):
            return self.mean(nets.with_mask(known, mask)).float()

    def seen(self, linear: Tensor, known: Tensor, mask: Tensor, centre: Tensor) -> Tensor:
        """The mean, and beside it how far the guess is from it, in a size that layers can see."""
        mean = nets.with_mask(known + centre * mask, mask)
        return torch.cat([mean, (linear - centre) / self.spread * mask], 1)

    def updates(self) -> list[Update]:
        """Two phases: the mean, then the flow from it."""
        config = self.config
        mean, flow = (
            optimizer(network, config.lr, "adamw", weight_decay=config.weight_decay)
            for network in (self.mean, self.flow)
        )
        return [
            Update("mean", mean, self.mean_loss, between(0, config.mean_share)),
            Update("flow", flow, self.flow_loss, between(config.mean_share)),
        ]

    def mean_loss(self, batch: Batch) -> Terms:
        """L2 in the hole, whose best answer is the mean of all that could be there."""
        filled = self.mean(nets.with_mask(batch.known, batch.mask))
        return {"l2": losses.l2(filled, batch.image, batch.mask)}
