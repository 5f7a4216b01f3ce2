"""The training set's mean picture: the line that everything has to beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from torch import Tensor

from gapfill.config import Range, build
from gapfill.data.stream import Replay, Stream
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.registry import register
from gapfill.train import Training


@register("mean")
class Mean(Inpainter):
    """The mean of the training pictures, pixel by pixel; it never looks at what is known."""

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

    @property
    def learns(self) -> bool:
        """True: it must see pictures first, though no optimiser takes part."""
        return True

    def fit(
        self,
        loader: Iterable[Any],
        *,
        mask: str = "center",
        val: Tensor | None = None,
        out: str | Path | None = None,
        quiet: bool = False,
        **training: Any,
    ) -> Self:
        """Average one pass over the pictures; the trainer's settings are checked, not used."""
        del mask, val, out, quiet
        build(Training, training, where="fit")
        if isinstance(loader, Stream):
            total, count = _sum(loader.images), len(loader.images)
        else:
            total, count = torch.zeros(3, self.config.size, self.config.size), 0
            for images in Replay(loader).epoch():
                self.check_size(*images.shape[-2:])
                total, count = total + _sum(images), count + len(images)
        if total.shape != self.picture.shape:
            self.check_size(*total.shape[-2:])
        if not count:
            raise UsageError("the loader gave no image batches.")
        self.picture.copy_(total / count * 2 - 1)
        self.trained = True
        return self

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """The mean picture, whatever is known."""
        del mask
        return self.picture.expand_as(known)


def _sum(images: Tensor) -> Tensor:
    """Sum over pictures in [0, 1], as float32 on the CPU."""
    scale = 255 if images.dtype == torch.uint8 else 1
    return (images.sum(0, dtype=torch.float64) / scale).float().cpu()
