"""Filling any number of pictures, a batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter


def fill_all(
    model: Inpainter, images: Tensor, masks: Tensor, seed: int = 0, batch_size: int = 50
) -> Tensor:
    """Fill every picture, a batch at a time, on the model's device; the fills are on the CPU.

    Each picture has the fill that `inpaint` gives it, alone or in any batch, but for rounding.

    >>> import gapfill
    >>> images, mask = torch.zeros(120, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 1, 32, 32)
    >>> mask[..., 8:16, 8:16] = 1
    >>> fill_all(gapfill.create("telea"), images, mask).shape
    torch.Size([120, 3, 32, 32])

    Args:
        model: a trained model.
        images: [N, 3, H, W], uint8 or float in [0, 1].
        masks: [N, 1, H, W], or [1, 1, H, W] for all; 1 = missing.
        seed: names the noise of a stochastic model, together with a picture's number.
        batch_size: pictures that are filled together.

    Returns:
        [N, 3, H, W], of the dtype of `images`.

    Raises:
        UsageError: what `inpaint` refuses, or as many masks as do not fit.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1; got {batch_size}.")
    if len(masks) not in (1, len(images)):
        raise UsageError(f"there are {len(masks)} masks for {len(images)} pictures.")
    filled = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        holes = masks if len(masks) == 1 else masks[part]
        filled.append(model.inpaint(images[part], holes, seed, first=start).cpu())
    return torch.cat(filled) if filled else images.cpu()
