"""Telea's fast marching inpainting, from OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from gapfill.config import Range
from gapfill.inpainter import Inpainter
from gapfill.registry import register


@register("telea")
class Telea(Inpainter):
    """Fast marching: continues what stands at the hole's border; it learns nothing.

    Source: Telea 2004, "An Image Inpainting Technique Based on the Fast Marching Method", as
    `cv2.inpaint` does it, on 8-bit pictures.
    """

    multiple = 1

    @dataclass(frozen=True)
    class Config:
        """Settings of `telea`.

        Attributes:
            radius: neighbourhood of a point, in pixels.
        """

        radius: Annotated[float, Range(1, 100)] = 3.0

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Fill one picture after the other, on the CPU."""
        import cv2

        pictures = ((known + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        holes = mask[:, 0].byte()
        filled = [
            cv2.inpaint(picture, hole, self.config.radius, cv2.INPAINT_TELEA)
            for picture, hole in zip(
                pictures.cpu().contiguous().numpy(), holes.cpu().numpy(), strict=True
            )
        ]
        result = torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2)
        return (result.float() / 127.5 - 1).to(known.device)
