"""OpenCV's two inpainters, which continue what stands at the hole's border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from gapfill.about import About
from gapfill.config import Range
from gapfill.inpainter import Inpainter
from gapfill.registry import register


class OpenCV(Inpainter):
    """`cv2.inpaint` on 8-bit pictures; a subclass names the method."""

    multiple = 1
    no_graph = "OpenCV computes its fills outside of PyTorch"
    method: ClassVar[str]

    @dataclass(frozen=True)
    class Config:
        """Settings of `telea` and `navier_stokes`.

        Attributes:
            radius: neighbourhood of a point, in pixels.
        """

        radius: Annotated[float, Range(1, 100)] = 3.0

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Fill one picture after the other, on the CPU."""
        import cv2

        method = getattr(cv2, self.method)
        pictures = ((known + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        pairs = zip(
            pictures.cpu().contiguous().numpy(), mask[:, 0].byte().cpu().numpy(), strict=True
        )
        filled = [cv2.inpaint(picture, hole, self.config.radius, method) for picture, hole in pairs]
        result = torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2)
        return (result.float() / 127.5 - 1).to(known.device)


@register("telea")
class Telea(OpenCV):
    """Fast marching from the hole's border inwards; it learns nothing.

    Source: Telea 2004, "An Image Inpainting Technique Based on the Fast Marching Method".
    """

    about = About(
        group="classical",
        title="An Image Inpainting Technique Based on the Fast Marching Method",
        authors="Telea",
        year=2004,
        read="OpenCV's documentation; OpenCV computes it",
        baseline="line",
    )
    method = "INPAINT_TELEA"


@register("navier_stokes")
class NavierStokes(OpenCV):
    """Continues the lines of equal brightness as a fluid flows; it learns nothing.

    Source: Bertalmio et al. 2001, "Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting".
    """

    about = About(
        group="classical",
        title="Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting",
        authors="Bertalmio et al.",
        year=2001,
        read="OpenCV's documentation; OpenCV computes it",
    )
    method = "INPAINT_NS"
