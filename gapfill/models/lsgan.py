"""DCGAN's networks with the least-squares objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gapfill import losses
from gapfill.about import About
from gapfill.config import Range
from gapfill.models.dcgan import DCGAN
from gapfill.registry import register


@register("lsgan")
class LSGAN(DCGAN):
    """Least-squares GAN: `dcgan` whose discriminator pulls to labels, and so never saturates.

    After Ren et al. 2018, whose text could not be read: no reproduction. The objective is that of
    Mao et al. 2017, with the labels 1 for real and 0 for made; networks and other losses are those
    of `dcgan`.
    """

    about = About(
        group="foundations",
        title="Least Squares Generative Adversarial Networks",
        authors="Mao et al.",
        year=2017,
        read="not Ren et al. 2018, which it follows; the objective is as widely published",
    )

    @dataclass(frozen=True)
    class Config(DCGAN.Config):
        """Settings of `lsgan`: those of `dcgan`; `recipe` chooses its networks alone.

        Attributes:
            adversarial: weight of the adversarial loss.
        """

        adversarial: Annotated[float, Range(0)] = 0.003

    @property
    def objective(self) -> losses.Objective:
        """Least squares, whatever the recipe."""
        return losses.LEAST_SQUARES
