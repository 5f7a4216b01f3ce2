"""Scores of filled pictures against true ones, from files alone, without a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gapfill.compare import elsewhere, evaluate
from gapfill.errors import UsageError
from gapfill.masks import area
from gapfill.metrics.perceptual import MIN_SIDE
from gapfill.pictures import pictures_in, read_mask, read_picture
from gapfill.reading.regular import is_there

_PIXELS = 1 << 22  # scored at once: bounds the memory of the metrics' float64 maps
Triple = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Scored:
    """Scores of a folder of pictures.

    Attributes:
        names: the true pictures' file names.
        scores: float64 [N] by the metric's key.
        area: the missing share of each picture, float64 [N].
        known: what was done to the known pixels.
        reason: why LPIPS is missing.
    """

    names: tuple[str, ...]
    scores: dict[str, Tensor]
    area: Tensor
    known: elsewhere.Known
    reason: str


def score_files(
    real: Path,
    filled: Path,
    mask: Path,
    *,
    invert: bool = False,
    perceptual: Callable[..., Tensor] | None = None,
    reason: str = "",
) -> Scored:
    """Score each picture of `filled` against the one of its name in `real`.

    What was filled is pasted into the true picture first, as in a comparison, and how far the
    known pixels were off is said.

    Args:
        real: a folder of true pictures, or one picture.
        filled: a folder with a picture for each, or one picture.
        mask: a folder with a mask for each, or one mask for all; white = missing.
        invert: black = missing instead.
        perceptual: LPIPS, or None.
        reason: why it is None.

    Raises:
        UsageError: a picture or mask that is missing or of another size, a mask without a hole.
        PictureError: one that cannot be read.
    """
    for path in (real, filled, mask):
        if not is_there(path):
            raise UsageError(f"there is nothing at {path}.")
    if real.is_dir() != filled.is_dir():
        raise UsageError(f"{real} and {filled} must both be folders, or both be pictures.")
    truths = list(pictures_in(real).values()) if real.is_dir() else [real]
    if not truths:
        raise UsageError(f"{real} holds no pictures.")
    names = [path.name for path in truths]
    fills = elsewhere.match(filled, names) if filled.is_dir() else [filled]
    holes = elsewhere.match(mask, names) if mask.is_dir() else [mask] * len(names)
    parts: list[dict[str, Tensor]] = []
    apart: list[Tensor] = []
    areas: list[Tensor] = []
    for batch in _batches(truths, fills, holes, invert):
        images, truth, masks = map(torch.stack, zip(*batch, strict=True))
        composites = elsewhere.composite(images, truth, masks)
        if perceptual is not None and min(truth.shape[2:]) < MIN_SIDE:
            perceptual, reason = None, f"it needs pictures of at least {MIN_SIDE} pixels a side"
        parts.append(evaluate.score(composites, truth, masks, perceptual))
        apart.append(elsewhere.off(images, truth, masks))
        areas.append(area(masks))
    # LPIPS is of all pictures or of none.
    keys = [key for key in parts[0] if all(key in part for part in parts)]
    found = {key: torch.cat([part[key] for part in parts]) for key in keys}
    known = elsewhere.compared(filled, torch.cat(apart))
    return Scored(tuple(names), found, torch.cat(areas), known, reason)


def _batches(
    truths: list[Path], fills: list[Path], holes: list[Path], invert: bool
) -> Iterator[list[Triple]]:
    """Pictures of one size that follow one another: (filled, real, mask) each."""
    batch: list[Triple] = []
    for truth, fill, hole in zip(truths, fills, holes, strict=True):
        real = torch.from_numpy(np.array(read_picture(truth))).movedim(-1, 0)
        height, width = real.shape[1:]
        missing = read_mask(hole)[0]
        if missing.shape[1:] != real.shape[1:]:
            h, w = missing.shape[1:]
            raise UsageError(f"{hole} is {w}×{h} but {truth} is {width}×{height}. They must match.")
        missing = 1 - missing if invert else missing
        if not missing.any():
            raise UsageError(f"{hole} marks nothing as missing: there is no hole to score.")
        full = len(batch) * height * width >= _PIXELS
        if batch and (full or batch[0][1].shape != real.shape):
            yield batch
            batch = []
        batch.append((elsewhere.read_like(fill, real, str(truth)), real, missing))
    yield batch
