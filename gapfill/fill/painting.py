"""Filling a picture of any size, hole by hole, with a model that knows one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gapfill.data.checks import as_grey, as_rgb, check_images
from gapfill.fill.context import look
from gapfill.fill.grain import Grain
from gapfill.fill.resampling import any_missing, enlarge, reduce
from gapfill.fill.windows import Box, Plan, weights
from gapfill.inpainter import Inpainter
from gapfill.masks.given import LARGEST_HOLE, check_mask

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


@dataclass(frozen=True, eq=False)
class Shot:
    """A window of a picture and of its holes, to be shown to a model."""

    picture: Tensor
    hole: np.ndarray
    window: Box


def fill_any_size(
    model: Inpainter,
    image: Tensor,
    mask: Tensor,
    seed: int = 0,
    context: str = "auto",
    grain: bool = True,
) -> Tensor:
    """Fill photos of any size as `gapfill fill` does: each hole in a window of its own.

    A photo is filled as it would be alone; known pixels come back bit for bit.

    Args:
        model: a trained model, on any device.
        image: [N, 3, H, W], or grey [N, 1, H, W], uint8 or float in [0, 1].
        mask: [N, 1, H, W], or [1, 1, H, W] for all, 1 = missing.
        seed: names the noise of a stochastic model.
        context: how much around each hole the model sees (`gapfill.fill.context.look`).
        grain: give enlarged fills the grain of their surroundings.

    Returns:
        The filled photos, with the shape, dtype and device of `image`.

    Raises:
        UsageError: what `Inpainter.inpaint` refuses, but for sizes; a context that makes no sense.
    """
    photos = as_rgb(image)
    check_images(photos)
    missing = check_mask(mask, photos)
    model.require_training()
    dtype = torch.float32 if image.is_floating_point() else image.dtype
    made = photos.to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)
    for picture, hole in zip(made, missing.cpu().numpy(), strict=True):
        paint(model, picture, hole[0], seed, context, grain)
    made = made if photos is image else as_grey(made)
    return torch.where(missing, made.to(image), image)


def paint(
    model: Inpainter,
    picture: Tensor,
    hole: np.ndarray,
    seed: int = 0,
    context: str = "auto",
    grain: bool = True,
) -> None:
    """Fill the holes of a picture where it stands, in memory that does not grow with it.

    Args:
        model: as for `fill_any_size`.
        picture: [3, H, W] on the CPU, uint8 or float in [0, 1], written to.
        hole: bool [H, W], true = missing.
        seed: as for `fill_any_size`.
        context: as for `fill_any_size`.
        grain: as for `fill_any_size`.
    """
    whole = Box(0, 0, *hole.shape)
    plan = _plan(model, picture, hole, context)
    fills: dict[Box, Fill] = {}
    rows = max(1, _BAND // whole.width)
    for top in range(0, whole.height, rows):
        parts = list(_parts(plan, Box(top, 0, rows, whole.width) & whole))
        wanted = dict.fromkeys(window for *_, windows in parts for window in windows)
        fills = {window: fill for window, fill in fills.items() if window in wanted}
        new = [window for window in wanted if window not in fills]
        for start in range(0, len(new), _BATCH):
            shots = [Shot(picture, hole, window) for window in new[start : start + _BATCH]]
            for shot, fill in _fills(model, shots, seed, grain):
                fills[shot.window] = fill
        _put_all(picture, parts, fills, whole)


def paint_many(
    model: Inpainter,
    pictures: Sequence[Tensor],
    holes: Sequence[np.ndarray],
    seed: int = 0,
    context: str = "auto",
    grain: bool = True,
) -> None:
    """`paint` for several pictures, whose windows the model sees together.

    The fills are those of `paint`, but for rounding. Pictures that are painted in parts, and those
    of a stochastic model, whose noise goes by a window's number, are painted one by one.
    """
    plans, shots = [], []
    for picture, hole in zip(pictures, holes, strict=True):
        whole = Box(0, 0, *hole.shape)
        if model.stochastic or whole.height * whole.width > _BAND:
            paint(model, picture, hole, seed, context, grain)
            continue
        plan = _plan(model, picture, hole, context)
        parts = list(_parts(plan, whole))
        windows = dict.fromkeys(window for *_, windows in parts for window in windows)
        mine = [Shot(picture, hole, window) for window in windows]
        plans.append((picture, parts, mine, whole))
        shots += mine
    fills: dict[Shot, Fill] = {}
    for start in range(0, len(shots), _BATCH):
        fills |= dict(_fills(model, shots[start : start + _BATCH], seed, grain))
    for picture, parts, mine, whole in plans:
        _put_all(picture, parts, {shot.window: fills[shot] for shot in mine}, whole)


def _plan(model: Inpainter, picture: Tensor, hole: np.ndarray, context: str) -> Plan:
    size = getattr(model.config, "size", None)
    if size is None and context == "auto":
        context = "hole"  # a model that knows no size knows no faces
    return look(picture, hole, size or _LEAST, context)


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
    model: Inpainter, shots: list[Shot], seed: int, grain: bool
) -> Iterator[tuple[Shot, Fill]]:
    """Show windows to the model, those of one size together."""
    sizes = [_shown(model, shot.window) for shot in shots]
    for size in dict.fromkeys(sizes):
        same = [shot for shot, other in zip(shots, sizes, strict=True) if other == size]
        seen = [_reduced(shot.picture, shot.hole, shot.window, *size) for shot in same]
        known, missing = (torch.stack(each) for each in zip(*seen, strict=True))
        for n, (shot, made) in enumerate(
            zip(same, model.inpaint(known, missing, seed), strict=True)
        ):
            wanted = grain and Grain.wanted(shot.window, made)
            fine = None
            if wanted:
                fine = Grain(shot.picture, shot.hole, shot.window, made, missing[n, 0])
            yield shot, Fill(shot.window, made, fine)


def _reduced(
    picture: Tensor, hole: np.ndarray, window: Box, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """A window and its mask [1, h, w] as the model shall see them.

    A pixel is missing if any of what it was made from is; where that left next to nothing, as in
    a picture of which single pixels are missing, if less of it is known than of half the others;
    and where they are all alike, if nothing of it is known, and every second one.
    """
    small, share = reduce(picture, hole, window, height, width)
    missing = torch.from_numpy(any_missing(window.cut(hole), height, width))
    if missing.float().mean() > LARGEST_HOLE:
        missing = share <= share.median()
    if missing.float().mean() > LARGEST_HOLE:
        every_second = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == 0
        missing = (share == 0) | every_second
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
        place.cut(total).add_(fill.at(shared) * counts)
        place.cut(weight).add_(counts)
    return total / weight.clamp_min(1e-6)


def _put_all(
    picture: Tensor,
    parts: list[tuple[Box, np.ndarray, list[Box]]],
    fills: dict[Box, Fill],
    whole: Box,
) -> None:
    for part, mine, windows in parts:
        made = _blended([fills[window] for window in windows], part, whole)
        _put(picture, part, mine, made)


def _put(picture: Tensor, part: Box, mine: np.ndarray, made: Tensor) -> None:
    """Write what was made over the marked pixels of a part of the picture."""
    view = part.cut(picture)
    if picture.dtype == torch.uint8:
        made = (made * 255).round()
    view.copy_(torch.where(torch.from_numpy(mine), made.to(picture.dtype), view))
