"""Gated convolutions: each layer learns where its input is worth something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial
from gapfill.registry import register
from gapfill.types import Batch, Terms


@register("gated")
class Gated(Adversarial):
    """DeepFill v2's coarse network: gated convolutions, SN-PatchGAN, made for free-form holes.

    Source: Yu et al. 2019. Deviations: the coarse network alone, without the refining one and its
    contextual attention, and with the adversarial loss that trains the latter; no dilation of 16,
    which would see only padding at this size; L1 in the hole; the critic has four strided layers
    in place of six, and one logit a patch.
    """

    about = About(
        group="modern",
        title="Free-Form Image Inpainting with Gated Convolution",
        authors="Yu et al.",
        year=2019,
        read="recalled; no reproduction, since the second stage is left out",
    )
    multiple = 4

    @dataclass(frozen=True)
    class Config:
        """Settings of `gated`.

        Attributes:
            size: side of the training pictures.
            width: channels at full resolution; 32 is nearer to the paper and slow on a CPU.
            critic_width: channels after the critic's first convolution.
            lr: learning rate of the generator.
            lr_critic: learning rate of the critic.
            l1: weight of the mean absolute error in the hole.
            adversarial: weight of the hinge loss.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256, 2)] = 16
        critic_width: Annotated[int, Range(4, 256)] = 32
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        lr_critic: Annotated[float, Range(1e-7, 1)] = 4e-4
        l1: Annotated[float, Range(0)] = 1.0
        adversarial: Annotated[float, Range(0)] = 0.002

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        w = config.width
        self.generator = nn.Sequential(
            nets.GatedConv(4, w, 5),
            nets.GatedConv(w, 2 * w, stride=2),
            nets.GatedConv(2 * w, 2 * w),
            nets.GatedConv(2 * w, 4 * w, stride=2),
            *(nets.GatedConv(4 * w, 4 * w, dilation=d) for d in (1, 1, 2, 4, 8, 1, 1)),
            nets.Upsample(),
            nets.GatedConv(4 * w, 2 * w),
            nets.GatedConv(2 * w, 2 * w),
            nets.Upsample(),
            nets.GatedConv(2 * w, w),
            nets.GatedConv(w, w // 2),
            nn.Conv2d(w // 2, 3, 3, padding=1),
            nn.Tanh(),
        )
        self.critic = nets.PatchCritic(config.critic_width, spectral=True, masked=True)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return self.generator(nets.with_mask(known, mask))

    @property
    def objective(self) -> losses.Objective:
        """The hinge, on the logits of patches."""
        return losses.HINGE

    def loss(self, batch: Batch) -> Terms:
        """L1 in the hole, and the adversarial loss."""
        l1 = losses.l1(self.filled(batch), batch.image, batch.mask)
        adversarial = self.config.adversarial * self.fooling(batch)
        return {"l1": self.config.l1 * l1, "adversarial": adversarial}
