"""The nearest training picture by its known pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from gapfill.about import About
from gapfill.config import Range
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.registry import register


@register("nearest")
class Nearest(Inpainter):
    """Pastes the hole of the training picture whose known pixels are nearest, by L2.

    What a memory of the training set is worth, and no more: a learned model has to beat it.
    """

    about = About(group="classical")

    @dataclass(frozen=True)
    class Config:
        """Settings of `nearest`.

        Attributes:
            size: side of the pictures.
            capacity: at most so many training pictures are kept, the first ones.
        """

        size: Annotated[int, Range(8, 1024)] = 64
        capacity: Annotated[int, Range(1)] = 20_000

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.bank: Tensor
        self.register_buffer("bank", torch.zeros(0, 3, config.size, config.size, dtype=torch.uint8))

    def study(self, batches: Iterable[Tensor]) -> None:
        """Keep the pictures."""
        kept: list[Tensor] = []
        for images in batches:
            self.check_size(*images.shape[-2:])
            whole = images if images.dtype == torch.uint8 else (images * 255).round().byte()
            kept.append(whole[: self.config.capacity - sum(map(len, kept))].to(self.device))
        if not kept:
            raise UsageError("the loader gave no image batches.")
        self.bank = torch.cat(kept)

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Compare with the bank, a slice of it at a time."""
        best = known.new_full(known.shape[:1], torch.inf)
        filled = torch.zeros_like(known)
        weight, target = (1 - mask).flatten(1), known.flatten(1)
        for part in self.bank.split(2048):
            pictures = part.float() / 127.5 - 1
            flat = pictures.flatten(1)
            # |w(p - k)|² = w p² - 2 p k + k², since k is zero where the weight is; k² is the same
            # for every picture of the bank.
            squares = weight @ flat.square().view(len(part), 3, -1).sum(1).T
            distance = squares - 2 * target @ flat.T
            nearest, index = distance.min(1)
            better = nearest < best
            best = torch.where(better, nearest, best)
            filled = torch.where(better[:, None, None, None], pictures[index], filled)
        return filled

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take a bank of any length, as long as it holds pictures of this size."""
        bank = state_dict.get("bank")
        if isinstance(bank, Tensor):
            size = self.config.size
            if bank.shape[1:] != (3, size, size) or not 0 < len(bank) <= self.config.capacity:
                raise UsageError(
                    f"a bank of pictures is [1 to {self.config.capacity}, 3, {size}, {size}]; "
                    f"got {list(bank.shape)}."
                )
            self.bank = self.bank.new_zeros(bank.shape)
        return super().load_state_dict(state_dict, strict, assign)
