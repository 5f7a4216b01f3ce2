"""LaMa, small: fast Fourier convolutions, so that the first block sees past a large hole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gapfill import losses, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial, Judge
from gapfill.models._perceptual import Perceptive
from gapfill.registry import register
from gapfill.types import REPORTED, Batch, Terms


@register("lama")
class LaMa(Perceptive, Adversarial):
    """LaMa in small: a ResNet of fast Fourier convolutions against a critic of patches.

    Source: Suvorov et al. 2022. Deviations: the perceptual loss is LPIPS by AlexNet in place of a
    dilated ResNet's features, and without AlexNet on the machine it is left out; L1 in the hole,
    where it was the only one besides the adversary's; the critic sees composites and has no
    BatchNorm; six blocks of a width that a CPU can train.
    """

    about = About(
        group="modern",
        title="Resolution-robust Large Mask Inpainting with Fourier Convolutions",
        authors="Suvorov et al.",
        year=2022,
        read="recalled; no reproduction, since another network sees for the perceptual loss",
    )
    multiple = 4
    usual: ClassVar = {"perceptual": 30.0}

    @dataclass(frozen=True)
    class Config:
        """Settings of `lama`.

        Attributes:
            size: side of the training pictures.
            width: channels at full resolution; 48 is nearer to the paper and slow on a CPU.
            blocks: how many residual blocks at a quarter of the side.
            critic_width: channels after the critic's first convolution.
            lr: learning rate of the generator.
            lr_critic: learning rate of the critic.
            l1: weight of the mean absolute error on known pixels.
            l1_hole: weight of the mean absolute error in the hole.
            adversarial: weight of the adversarial loss.
            matching: weight of the squared distance between the critic's features.
            perceptual: weight of LPIPS between composite and truth; by default 30 where the network
                that LPIPS looks through is on this machine, 0 elsewhere.
            r1: weight of the critic's squared slope on real pictures.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 256)] = 16
        blocks: Annotated[int, Range(1, 18)] = 6
        critic_width: Annotated[int, Range(4, 256)] = 32
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        lr_critic: Annotated[float, Range(1e-7, 1)] = 1e-4
        l1: Annotated[float, Range(0)] = 10.0
        l1_hole: Annotated[float, Range(0)] = 100.0
        adversarial: Annotated[float, Range(0)] = 10.0
        matching: Annotated[float, Range(0)] = 100.0
        perceptual: Annotated[float | None, Range(0)] = None
        r1: Annotated[float, Range(0)] = 0.001

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        w = config.width
        self.generator = nn.Sequential(
            nn.Conv2d(4, w, 7, padding=3, padding_mode="reflect", bias=False),
            nets.BatchNorm2d(w),
            nn.ReLU(),
            nets.down(w, 2 * w, nn.ReLU()),
            nets.down(2 * w, 4 * w, nn.ReLU()),
            *(nets.FFCBlock(4 * w) for _ in range(config.blocks)),
            nets.up(4 * w, 2 * w, nn.ReLU()),
            nets.up(2 * w, w, nn.ReLU()),
            nn.Conv2d(w, 3, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        self.critic = nets.PatchCritic(config.critic_width, kernel=4)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return self.generator(nets.with_mask(known, mask))

    def critic_loss(self, batch: Batch, critic: Judge | None = None) -> Terms:
        """Cross-entropy by patches, those without a hole being real ones, and R1."""
        mask, judge = batch.mask, critic or self.critic
        made = batch.paste(self.filled(batch).detach())
        on_real, slope = losses.with_slope(lambda x: judge(x, mask), batch.image)
        on_fake = judge(made, mask).float()
        whole = 1 - F.adaptive_max_pool2d(mask, on_fake.shape[-2:])
        return {
            "real": losses.real(on_real),
            "fake": F.binary_cross_entropy_with_logits(on_fake, whole),
            "r1": self.config.r1 * slope.square().sum((1, 2, 3)).mean(),
            REPORTED + "accuracy": losses.told_apart(on_real, on_fake),
        }

    def loss(self, batch: Batch) -> Terms:
        """L1 around the hole and in it, the adversarial loss, and the critic's features."""
        config, filled = self.config, self.filled(batch)
        assert isinstance(self.critic, nets.PatchCritic)
        made = self.critic.maps(batch.paste(filled), batch.mask)
        with torch.no_grad():
            real = self.critic.maps(batch.image, batch.mask)
        return {
            "l1": config.l1 * losses.l1(filled, batch.image, 1 - batch.mask),
            "l1_hole": config.l1_hole * losses.l1(filled, batch.image, batch.mask),
            "adversarial": config.adversarial * losses.real(made[-1]),
            "matching": config.matching * losses.matching(made[:-1], real[:-1]),
        } | self.perceived(batch)
