"""Where faces are in a photo, each in the square that models of faces are trained to see."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.fill.resampling import reduce
from gapfill.fill.windows import Box

_LONGEST = 640  # faces are looked for in a copy whose longer side is at most this
_SMALLEST = 40  # and are at least this large in it
# Where the detector's squares lie in the 128×128 boxes that CelebA's faces are cropped to: the
# median over its pictures. The square around a face is 1.21 times as large, and a little higher.
_LARGER, _HIGHER = 1.21, 0.036


def can_be_found() -> bool:
    """Whether scikit-image, which is an extra, is installed."""
    return importlib.util.find_spec("skimage") is not None


def smallest(height: int, width: int) -> int:
    """The side of the smallest square that `squares` gives in a picture of that size, in pixels."""
    return min(round(_LARGER * _SMALLEST / _scale(height, width)), height, width)


def squares(picture: Tensor, hole: np.ndarray) -> list[Box]:
    """The squares around the faces of a picture, as faces are cropped in training.

    They must be upright and look ahead. Holes are closed first, by Telea's method and by the mean
    colour, one after the other: what they hide is not looked at, and some faces show themselves
    only with the one or the other. A face may be found twice.

    Source: scikit-image's cascade of local binary patterns (Viola and Jones 2001, "Rapid Object
    Detection"; Ahonen et al. 2006, "Face Description with Local Binary Patterns").

    Args:
        picture: [3, H, W], uint8 or float in [0, 1].
        hole: bool [H, W], true = missing.

    Raises:
        UsageError: scikit-image is not installed.
    """
    if not can_be_found():
        raise UsageError('faces are found by scikit-image: pip install "scikit-image>=0.24"')
    height, width = hole.shape
    scale = _scale(height, width)
    rows, columns = round(scale * height), round(scale * width)
    if min(rows, columns) < _SMALLEST:
        return []
    small, share = reduce(picture, hole, Box(0, 0, height, width), rows, columns)
    pixels = (small * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    missing = (share < 0.5).numpy()
    if missing.all():
        return []
    smooth = cv2.inpaint(pixels, missing.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    flat = np.where(missing[..., None], pixels[~missing].mean(0), pixels).astype(np.uint8)
    return [
        _around(face, scale, height, width)
        for closed in (smooth, flat)
        for face in _detector().detect_multi_scale(
            closed,
            scale_factor=1.08,
            step_ratio=1,
            min_size=(_SMALLEST, _SMALLEST),
            max_size=(min(rows, columns),) * 2,
        )
    ]


def _scale(height: int, width: int) -> float:
    """By how much a picture is reduced before faces are looked for in it."""
    return min(1.0, _LONGEST / max(height, width))


@cache
def _detector() -> Any:
    from skimage import data
    from skimage.feature import Cascade

    return Cascade(data.lbp_frontal_face_cascade_filename())


def _around(face: dict[str, int], scale: float, height: int, width: int) -> Box:
    """The training crop's square around a found face, moved into the picture."""
    side = min(round(_LARGER * face["width"] / scale), height, width)
    row = (face["r"] + (0.5 - _HIGHER) * face["height"]) / scale
    column = (face["c"] + 0.5 * face["width"]) / scale
    top = min(max(0, round(row - side / 2)), height - side)
    left = min(max(0, round(column - side / 2)), width - side)
    return Box(top, left, side, side)
