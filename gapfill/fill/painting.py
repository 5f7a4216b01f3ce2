"""Filling a picture of any size, hole by hole, with a model that knows one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gapfill.fill.grain import Grain
from gapfill.fill.resampling import any_missing, enlarge, reduce
from gapfill.fill.windows import Box, Plan, look, weights
from gapfill.inpainter import Inpainter
from gapfill.masks.given import LARGEST_HOLE

_BAND = 2_000_000  # pixels of the picture that are painted at once
_LARGEST = 1024  # the longest side shown to a model that takes any
_LEAST = 64  # and the smallest window
_BATCH = 16


@dataclass(frozen=True)
class Fill:
    """What a model made of a window, at the size that it was shown."""

    window: Box
    made: Tensor  # [3, h, w] in [0, 1]
    grain: Grain | None  # what an enlarged fill lacks

    def at(self, part: Box) -> Tensor:
        """The fill for a part of the window, at the picture's own scale."""
        large = enlarge(self.made, self.window, part)
        return (large if self.grain is None else large + self.grain.at(part)).clamp(0, 1)


def fill_any_size(
    model: Inpainter,
    image: Tensor,
    hole: Tensor,
    seed: int = 0,
    context: str = "hole",
    grain: bool = True,
) -> Tensor:
    """Fill one picture [1, 3, H, W] of any size; known pixels stay bit for bit.

    Args:
        model: a trained model.
        image: uint8, or float in [0, 1].
        hole: [1, 1, H, W], 1 = missing.
        seed: names the noise of a stochastic model.
        context: see `gapfill.fill.windows.look`.
        grain: give enlarged fills the grain of their surroundings.
    """
    result = image.clone()
    paint(model, result[0], hole[0, 0].bool().numpy(), seed, context, grain)
    return result


def paint(
    model: Inpainter,
    picture: Tensor,
    hole: np.ndarray,
    seed: int = 0,
    context: str = "hole",
    grain: bool = True,
) -> None:
    """Fill the holes of a picture where it stands, in memory that does not grow with it.

    Args:
        model: as for `fill_any_size`.
        picture: [3, H, W], uint8 or float in [0, 1], written to.
        hole: bool [H, W], true = missing.
        seed: as for `fill_any_size`.
        context: as for `fill_any_size`.
        grain: as for `fill_any_size`.
    """
    whole = Box(0, 0, *hole.shape)
    plan = look(hole, getattr(model.config, "size", None) or _LEAST, context)
    fills: dict[Box, Fill] = {}
    rows = max(1, _BAND // whole.width)
    for top in range(0, whole.height, rows):
        parts = list(_parts(plan, Box(top, 0, rows, whole.width) & whole))
        wanted = dict.fromkeys(window for *_, windows in parts for window in windows)
        fills = {window: fill for window, fill in fills.items() if window in wanted}
        new = [window for window in wanted if window not in fills]
        for start in range(0, len(new), _BATCH):
            for fill in _fills(model, picture, hole, new[start : start + _BATCH], seed, grain):
                fills[fill.window] = fill
        for part, mine, windows in parts:
            made = _blended([fills[window] for window in windows], part, whole)
            _put(picture, part, mine, made)


def _parts(plan: Plan, band: Box) -> Iterator[tuple[Box, np.ndarray, list[Box]]]:
    """The groups in a band of the picture: where, which pixels, and the windows that show them."""
    for number, group in enumerate(plan.groups, 1):
        part = group.box & band
        if not part.height or not part.width:
            continue
        mine = plan.of(number, part)
        seen = [(window, window & part) for window in group.windows]
        windows = [w for w, at in seen if at.height and at.width and plan.of(number, at).any()]
        if windows:
            yield part, mine, windows


def _fills(
    model: Inpainter,
    picture: Tensor,
    hole: np.ndarray,
    windows: list[Box],
    seed: int,
    grain: bool,
) -> Iterator[Fill]:
    """Show windows to the model, those of one size together."""
    sizes = [_shown(model, window) for window in windows]
    for size in dict.fromkeys(sizes):
        same = [window for window, other in zip(windows, sizes, strict=True) if other == size]
        seen = [_reduced(picture, hole, window, *size) for window in same]
        known, missing = (torch.stack(each) for each in zip(*seen, strict=True))
        for n, made in enumerate(model.inpaint(known, missing, seed)):
            wanted = grain and Grain.wanted(same[n], made)
            fine = Grain(picture, hole, same[n], made, missing[n, 0]) if wanted else None
            yield Fill(same[n], made, fine)


def _reduced(
    picture: Tensor, hole: np.ndarray, window: Box, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """A window and its mask [1, h, w] as the model shall see them.

    A pixel is missing if any of what it was made from is; where that left next to nothing, as in
    a picture of which single pixels are missing, if most of it is.
    """
    small, share = reduce(picture, hole, window, height, width)
    missing = torch.from_numpy(any_missing(window.cut(hole), height, width))
    if missing.float().mean() > LARGEST_HOLE:
        missing = share <= share.median()
    return small, missing[None]


def _shown(model: Inpainter, window: Box) -> tuple[int, int]:
    """The size at which a model sees a window: its own, or the window's where it takes any."""
    size = getattr(model.config, "size", None)
    if size is not None:
        return size, size
    scale = min(1.0, _LARGEST / max(window.height, window.width))
    step = model.multiple or 1
    height, width = (
        max(1, round(scale * length / step)) * step for length in (window.height, window.width)
    )
    return height, width


def _blended(fills: list[Fill], part: Box, whole: Box) -> Tensor:
    """One fill, or the mean of those of overlapping tiles, each less towards its borders."""
    if len(fills) == 1 and fills[0].window & part == part:
        return fills[0].at(part)
    total, weight = torch.zeros(3, part.height, part.width), torch.zeros(part.height, part.width)
    for fill in fills:
        shared = fill.window & part
        place = Box(shared.top - part.top, shared.left - part.left, shared.height, shared.width)
        counts = torch.from_numpy(weights(fill.window, shared, whole))
        _cut(total, place).add_(fill.at(shared) * counts)
        _cut(weight, place).add_(counts)
    return total / weight.clamp_min(1e-6)


def _put(picture: Tensor, part: Box, mine: np.ndarray, made: Tensor) -> None:
    """Write what was made over the marked pixels of a part of the picture."""
    view = _cut(picture, part)
    if picture.dtype == torch.uint8:
        made = (made * 255).round()
    view.copy_(torch.where(torch.from_numpy(mine), made.to(picture.dtype), view))


def _cut(image: Tensor, box: Box) -> Tensor:
    return image[..., box.top : box.bottom, box.left : box.right]
