"""Parts of a picture at another scale, a few rows at a time, so that any size fits into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gapfill.fill.windows import Box

_PIXELS = 2_000_000  # in flight at once


def reduce(
    image: Tensor, hole: np.ndarray, window: Box, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Bring a window to another size from what is known in it, and nothing of what is hidden.

    A normalised convolution: bilinear, antialiased.

    Args:
        image: [3, H, W], uint8 or float in [0, 1].
        hole: bool [H, W].
        window: the part of both.
        height: of the result.
        width: of the result.

    Returns:
        The picture, float32 [3, height, width] in [0, 1], black where nothing near is known; and
        the share of each of its pixels that is known, [height, width].
    """
    down = _matrix(window.height, height)
    across = _matrix(window.width, width).T
    total = torch.zeros(4, height, width)
    for part in _bands(window):
        top = part.top - window.top
        known = torch.from_numpy(~part.cut(hole)).float()
        both = torch.cat([levels(image, part) * known, known[None]])
        total += down[:, top : top + part.height] @ (both @ across)
    return (total[:3] / total[3:].clamp_min(1e-6)).clamp(0, 1), total[3]


def any_missing(hole: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which pixels of a reduced mask cover a missing one, bool [height, width]."""
    for axis, size in enumerate((height, width)):
        length = hole.shape[axis]
        if length != size:
            starts = np.arange(size) * length // size
            ends = -(np.arange(1, size + 1) * -length // size)
            parts = [
                hole.take(range(a, b), axis).any(axis) for a, b in zip(starts, ends, strict=True)
            ]
            hole = np.stack(parts, axis)
    return hole


def enlarge(made: Tensor, window: Box, part: Box) -> Tensor:
    """Return [3, h, w] for a part of a window, from a picture of the whole window; bicubic."""
    top, left = part.top - window.top, part.left - window.left
    down = _matrix(made.shape[-2], window.height, top, part.height, cubic=True)
    across = _matrix(made.shape[-1], window.width, left, part.width, cubic=True)
    return down @ made @ across.T


def left_out(image: Tensor, hole: np.ndarray, window: Box, made: Tensor) -> Tensor:
    """How much detail a reduced window leaves out, as the mean square around each of its pixels.

    What is hidden counts as none. Arguments as for `reduce`, and `made`, the reduced window.
    """
    down = _matrix(window.height, made.shape[-2])
    across = _matrix(window.width, made.shape[-1]).T
    total = torch.zeros(made.shape[-2:])
    for part in _bands(window):
        rest = (levels(image, part) - enlarge(made, window, part)).square().mean(0)
        rest = torch.where(torch.from_numpy(part.cut(hole)), 0, rest)
        top = part.top - window.top
        total += down[:, top : top + part.height] @ (rest @ across)
    return total


def levels(image: Tensor, part: Box) -> Tensor:
    """A part of a picture as float32 [3, h, w] in [0, 1]."""
    found = part.cut(image)
    return found.float() / 255 if image.dtype == torch.uint8 else found.float()


def _bands(window: Box) -> Iterator[Box]:
    """A window, some rows at a time."""
    step = max(1, _PIXELS // window.width)
    for top in range(window.top, window.bottom, step):
        yield Box(top, window.left, step, window.width) & window


def _matrix(
    old: int, new: int, first: int = 0, count: int | None = None, cubic: bool = False
) -> Tensor:
    """The weights of `old` samples in those of `new` over the same stretch, from `first` on.

    A triangle, or Keys' cubic (a = -0.5), as wide as what is coarser; [count, old].
    """
    ratio = old / new
    at = (torch.arange(first, first + (count or new), dtype=torch.float64) + 0.5) * ratio - 0.5
    far = (at[:, None] - torch.arange(old)).abs() / max(1.0, ratio)
    found = (1 - far).clamp_min(0)
    if cubic:
        near, outer = (1.5 * far - 2.5) * far**2 + 1, ((2.5 - 0.5 * far) * far - 4) * far + 2
        found = torch.where(far < 1, near, torch.where(far < 2, outer, 0))
    return (found / found.sum(1, keepdim=True)).float()
