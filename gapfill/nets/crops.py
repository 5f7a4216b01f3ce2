"""Parts of pictures, chosen by their holes."""

from __future__ import annotations

import torch
from torch import Tensor


def crop_around(pictures: Tensor, masks: Tensor) -> Tensor:
    """The part of half the sides around each picture's hole.

    It is centred on the hole's bounding box, as far as the picture's border lets it, so that a
    square hole of half the side is the part itself. Pure tensor arithmetic: the host never learns
    where a hole is.

    Args:
        pictures: [N, C, H, W].
        masks: [N, 1, H, W], 1 = missing.

    Returns:
        [N, C, H / 2, W / 2].

    >>> masks = torch.zeros(1, 1, 8, 8)
    >>> masks[..., 5:7, 0:2] = 1
    >>> crop_around(torch.arange(64.0).view(1, 1, 8, 8), masks)[0, 0, :, 0].tolist()
    [32.0, 40.0, 48.0, 56.0]
    """
    channels, height, width = pictures.shape[1:]
    rows = _span(masks.amax((1, 3)), height // 2)[:, None, :, None]
    columns = _span(masks.amax((1, 2)), width // 2)[:, None, None, :]
    band = pictures.gather(2, rows.expand(-1, channels, -1, width))
    return band.gather(3, columns.expand(-1, channels, height // 2, -1))


def _span(missing: Tensor, length: int) -> Tensor:
    """Indices [N, length] around the first and the last non-zero of each row of `missing`."""
    size = missing.shape[1]
    first = missing.argmax(1)
    last = size - 1 - missing.flip(1).argmax(1)
    start = ((first + last + 1 - length) // 2).clamp(0, size - length)
    return start[:, None] + torch.arange(length, device=missing.device)
