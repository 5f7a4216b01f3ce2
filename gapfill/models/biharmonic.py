"""Biharmonic inpainting, from scikit-image."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gapfill.about import About
from gapfill.errors import GapfillError
from gapfill.inpainter import Inpainter
from gapfill.registry import register


@register("biharmonic")
class Biharmonic(Inpainter):
    """The smoothest surface through the hole's border and its slopes; it learns nothing.

    Source: Damelin and Hoang 2018, "On Surface Completion and Image Inpainting by Biharmonic
    Functions", as scikit-image solves it.
    """

    about = About(
        group="classical",
        title="On Surface Completion and Image Inpainting by Biharmonic Functions",
        authors="Damelin and Hoang",
        year=2018,
        read="scikit-image's documentation; scikit-image solves it",
    )
    multiple = 1
    no_graph = "scikit-image computes its fills outside of PyTorch"

    @dataclass(frozen=True)
    class Config:
        """Settings of `biharmonic`: none."""

    @classmethod
    def lacking(cls) -> str:
        """scikit-image, which is an extra."""
        there = importlib.util.find_spec("skimage") is not None
        return "" if there else "scikit-image: pip install scikit-image"

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Solve one linear system a picture, on the CPU."""
        try:
            from skimage.restoration import inpaint_biharmonic
        except ImportError as error:
            raise GapfillError("biharmonic needs scikit-image: pip install scikit-image") from error
        pictures = known.permute(0, 2, 3, 1).cpu().double().numpy()
        holes = mask[:, 0].bool().cpu().numpy()
        filled = [
            inpaint_biharmonic(picture, hole, channel_axis=-1)
            for picture, hole in zip(pictures, holes, strict=True)
        ]
        return torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2).float().to(known.device)
