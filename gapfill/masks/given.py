"""Masks that a user hands in, checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gapfill.errors import UsageError

LARGEST_HOLE = 0.95
"""The share of a picture above which a mask is taken for one the wrong way round."""


def check_mask(mask: Any, image: Tensor, cure: str = "invert it: 1 - mask") -> Tensor:
    """Return the mask as bool [N, 1, H, W] on the pictures' device, or say what is wrong with it.

    Args:
        mask: what the user handed in.
        image: the pictures [N, 3, H, W] that it belongs to.
        cure: what to do about a mask the wrong way round.

    Raises:
        UsageError: shape, values, a hole of nothing or of nearly everything.
    """
    if not isinstance(mask, Tensor):
        raise UsageError(f"mask must be a tensor [N, 1, H, W]; got {type(mask).__name__}.")
    if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[0] not in (1, len(image)):
        raise UsageError(
            f"mask must be [{len(image)}, 1, H, W] or [1, 1, H, W]; got {list(mask.shape)}."
        )
    if mask.shape[-2:] != image.shape[-2:]:
        (mh, mw), (h, w) = mask.shape[-2:], image.shape[-2:]
        raise UsageError(f"mask is {mw}×{mh} but the picture is {w}×{h}. They must match.")
    hidden = mask != 0
    shares = hidden.float().mean((1, 2, 3))
    # One look at the device for all questions.
    plain, smallest, largest = torch.stack(
        [(hidden.to(mask.dtype) == mask).all().float(), *torch.aminmax(shares)]
    ).tolist()
    if not plain:
        low, high = mask.min().item(), mask.max().item()
        raise UsageError(
            f"mask must hold 0 and 1 alone (1 = missing); got values {low:g} to {high:g}."
        )
    if not smallest:
        raise UsageError("the mask is empty: nothing to fill.")
    if largest > LARGEST_HOLE:
        raise UsageError(
            f"the mask marks {int(round(100 * largest, 3))} % of the picture as missing. "
            f"1/white means missing; if yours is the other way round, {cure}."
        )
    return hidden.to(image.device).expand(len(image), -1, -1, -1)
