"""DCGAN: a convolutional generator and discriminator, in the paper's reading or in Radford's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from gapfill import losses, masks, nets
from gapfill.about import About
from gapfill.config import Range
from gapfill.models._adversarial import Adversarial
from gapfill.models._perceptual import Perceptive
from gapfill.registry import register
from gapfill.types import Batch, Terms


@register("dcgan")
class DCGAN(Perceptive, Adversarial):
    """DCGAN: strided convolutions, BatchNorm, no dense layer; sharper than `cnn`, still unstable.

    Source: "Image Semantic Inpainting with DCGAN", which lists seven changes from a plain GAN and
    names four losses without weights. `recipe` chooses its words to the letter (`paper`: ReLU in
    the discriminator, LeakyReLU in the generator, no mask channel, the saturating loss) or those of
    Radford et al. 2016 (`radford`: the other way round, a mask channel, the non-saturating loss).
    """

    about = About(
        group="paper",
        title="Image Semantic Inpainting with DCGAN",
        read="the paper, which gives no weights; Radford et al. 2016",
        short_run="width=16,critic_width=16,lr=0.002,adversarial=0.01,dropout=0,batch_size=32",
    )
    multiple = 4
    critic_norm: ClassVar[bool] = True
    """Whether the discriminator has BatchNorm."""

    @dataclass(frozen=True)
    class Config:
        """Settings of `dcgan`.

        Attributes:
            size: side of the training pictures.
            width: channels after the generator's first convolution.
            critic_width: channels after the discriminator's first convolution.
            recipe: `paper` or `radford`.
            lr: learning rate of the generator.
            lr_critic: learning rate of the discriminator, a tenth (Pathak et al. 2016's code).
            dropout: share of the bottleneck's feature maps that training hides, as in `cnn`.
            l1: weight of the content loss's mean absolute error in the hole.
            l2: weight of the content loss's mean squared error in the hole.
            gradient: weight of the gradient loss, in the hole and two pixels around it.
            adversarial: weight of the prior loss.
            perceptual: weight of LPIPS between composite and truth, beyond the paper.
            critics: what is discriminated: whole composites (`global`), the part around the hole
                (`local`), or both, each by a network of its own.
        """

        size: Annotated[int, Range(28, 256, 4)] = 64
        width: Annotated[int, Range(4, 512)] = 64
        critic_width: Annotated[int, Range(4, 512)] = 64
        recipe: Literal["paper", "radford"] = "radford"
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3
        lr_critic: Annotated[float, Range(1e-7, 1)] = 1e-4
        dropout: Annotated[float, Range(0, 0.9)] = 0.3
        l1: Annotated[float, Range(0)] = 1.0
        l2: Annotated[float, Range(0)] = 2.0
        gradient: Annotated[float, Range(0)] = 0.1
        adversarial: Annotated[float, Range(0)] = 0.0015
        perceptual: Annotated[float, Range(0)] = 0.0
        critics: nets.View = "global"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        leaky: Callable[[], nn.Module] = partial(nn.LeakyReLU, 0.2)
        paper = config.recipe == "paper"
        act, critic_act = (leaky, nn.ReLU) if paper else (nn.ReLU, leaky)
        self.generator = nets.EncoderDecoder(
            3 if paper else 4, config.width, act, act, norm_first=True, dropout=config.dropout
        )
        self.critic = nets.Critics(
            lambda size: nets.Critic(size, config.critic_width, critic_act, self.critic_norm),
            config.size,
            config.critics,
        )
        nets.initialise(self)

    @property
    def objective(self) -> losses.Objective:
        """The saturating one in the paper's words."""
        return losses.SATURATING if self.config.recipe == "paper" else losses.NON_SATURATING

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        if self.config.recipe == "paper":
            return self.generator(known)
        return self.generator(nets.with_mask(known, mask))

    def loss(self, batch: Batch) -> Terms:
        """Content, gradient and prior loss."""
        config, filled, adversarial = self.config, self.filled(batch), self.fooling(batch)
        around = torch.maximum(batch.mask, masks.ring(batch.mask, 2))
        return {
            "l1": config.l1 * losses.l1(filled, batch.image, batch.mask),
            "l2": config.l2 * losses.l2(filled, batch.image, batch.mask),
            "gradient": config.gradient * losses.gradient(filled, batch.image, around),
            "adversarial": config.adversarial * adversarial,
        } | self.perceived(batch)
