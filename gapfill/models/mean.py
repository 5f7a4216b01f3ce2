"""The training set's mean picture: the line that everything has to beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gapfill.about import About
from gapfill.config import Range
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.registry import register


@register("mean")
class Mean(Inpainter):
    """The mean of the training pictures, pixel by pixel; it never looks at what is known."""

    about = About(group="classical", baseline="floor")

    @dataclass(frozen=True)
    class Config:
        """Settings of `mean`.

        Attributes:
            size: side of the pictures.
        """

        size: Annotated[int, Range(8, 1024)] = 64

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.picture: Tensor
        self.register_buffer("picture", torch.zeros(3, config.size, config.size))

    def study(self, batches: Iterable[Tensor]) -> None:
        """Average the pictures, in float64."""
        total, count = torch.zeros_like(self.picture, dtype=torch.float64), 0
        for images in batches:
            self.check_size(*images.shape[-2:])
            scale = 255 if images.dtype == torch.uint8 else 1
            total += images.sum(0, dtype=torch.float64).to(total.device) / scale
            count += len(images)
        if not count:
            raise UsageError("the loader gave no image batches.")
        self.picture.copy_(total / count * 2 - 1)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """The mean picture, whatever is known."""
        del mask
        return self.picture.expand_as(known)
