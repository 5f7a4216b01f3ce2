"""From a picture of a mask, however it was painted, to the pixels that it marks as missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bools = NDArray[np.bool_]

_FLAT = 12  # levels that one colour may spread over: what lossy formats leave of it
_COLOURFUL = 48  # levels by which a colour's channels lie further apart than another's
_OFF = 40  # levels off the line between two colours, beyond which a pixel is of a third
_MOST_OFF = 0.1
_MOST_BETWEEN = 1 / 3  # share of pixels that are neither of a mask's two colours, its soft edges
_MOST_BETWEEN_DARK = 0.02  # the same where nothing is near white
_MANY = 1 << 22  # pixels that are looked at together
_PAINT = "paint what is missing white and the rest black"


def marked(picture: Image.Image) -> Bools:
    """Return what a mask marks as missing, bool `[H, W]`.

    White is missing and black is known. Of two values, whatever they are, the brighter is missing;
    of a colour and a grey, the colour. Where parts are transparent and all paint has one colour,
    the paint is missing; where the opaque part is a photo, what was erased is.

    Raises:
        ValueError: it is no mask of two values; says what was found, and the cure.
    """
    if picture.mode[0] in "IF":
        values = np.asarray(picture)
        if picture.mode == "F":
            values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        most = float(values.max())
        full = 65535.0 if picture.mode != "F" else 1.0 if most <= 1 else 255.0
        return _brighter(values, max(full, most))
    if picture.has_transparency_data:
        pixels = np.asarray(picture.convert("RGBA"))
        alpha = pixels[..., 3]
        low, high = int(alpha.min()), int(alpha.max())
        if low < high:
            opaque = alpha > (low + high) / 2
            painted = pixels[opaque][:, :3]
            if (np.ptp(painted, axis=0) <= _FLAT).all():
                return opaque
            painted = _some(painted)
            if _is_black_and_white(painted):
                return _brighter(np.where(opaque, _grey(pixels[..., :3]), 0), 255.0)
            photo = _is_photo(*_along(painted, *_ends(painted)), _luminance(painted))
            return ~opaque if photo else opaque
        return _of_colours(pixels[..., :3])
    return _of_colours(np.asarray(picture.convert("RGB")))


def _of_colours(pixels: NDArray[np.uint8]) -> Bools:
    """What an opaque mask [H, W, 3] marks."""
    if (pixels.max(2) - pixels.min(2)).max() <= _FLAT:
        return _brighter(_grey(pixels), 255.0)
    some = _some(pixels.reshape(-1, 3))
    ground, paint = _ends(some)
    if _is_photo(*_along(some, ground, paint), _luminance(some)):
        raise ValueError(f"it has many colours, as a photo has; {_PAINT}")
    more = float(np.ptp(paint) - np.ptp(ground))
    if abs(more) < _COLOURFUL:
        more = float(_luminance(paint) - _luminance(ground))
    rows = max(1, _MANY // pixels.shape[1])
    painted = [
        _along(pixels[top : top + rows], ground, paint)[0] > 0.5
        for top in range(0, len(pixels), rows)
    ]
    return np.concatenate(painted) ^ (more <= 0)


def _some(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All pixels [N, 3], or of many some, evenly chosen, that say the same of the whole."""
    return pixels[:: -(-len(pixels) // _MANY)]


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightness of pixels [H, W, 3] in whole levels."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))


def _along(
    pixels: NDArray[np.uint8], ground: NDArray[np.float32], paint: NDArray[np.float32]
) -> tuple[NDArray[np.float32], Bools]:
    """How far each pixel is on the way between two colours, and whether it is off the way."""
    step = paint - ground
    away = pixels.astype(np.float32) - ground
    along = (away @ (step / max(float(step @ step), 1e-6))).astype(np.float32)
    return along, np.abs(away - along[..., None] * step).max(-1) > _OFF


def _is_photo(along: NDArray[np.float32], off: Bools, light: NDArray[Any]) -> bool:
    """Whether too many pixels are neither of two colours."""
    between = np.minimum(np.abs(along), np.abs(1 - along)) > 0.15
    return off.mean() > _MOST_OFF or max(between.mean(), _between(light)) > _MOST_BETWEEN


def _ends(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The commonest colour, and the commonest of those that are far from it."""
    coarse = pixels >> 4
    code = (coarse[:, 0].astype(np.int32) << 8) | (coarse[:, 1] << 4) | coarse[:, 2]
    counts = np.bincount(code, minlength=4096)
    centres = np.stack([np.arange(4096) >> 8, (np.arange(4096) >> 4) & 15, np.arange(4096) & 15], 1)
    first = int(counts.argmax())
    distance = np.abs(centres - centres[first]).max(1) * (counts > 0)
    second = int((counts * (distance > distance.max() / 2)).argmax())
    return tuple(  # type: ignore[return-value]
        pixels[code == number].mean(0, dtype=np.float64).astype(np.float32)
        for number in (first, second)
    )


def _brighter(values: NDArray[Any], full: float) -> Bools:
    """The brighter of two values [H, W], of which `full` is white."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        if low in (0.0, full):
            return np.full(values.shape, low == full)
        raise ValueError(f"every pixel is {low:g} of {full:g}; {_PAINT}")
    bright = values > (low + high) / 2
    if ((values == low) | (values == high)).all():
        return bright
    between = _between(values)
    if between > _MOST_BETWEEN:
        raise ValueError(
            f"{between:.0%} of its pixels are neither black nor white, as in a photo; {_PAINT}"
        )
    if high - low < full / 2 and between > _MOST_BETWEEN_DARK:
        raise ValueError(
            f"its values are many, and the brightest is {high:g} where white is {full:g}; {_PAINT}"
        )
    return bright


def _is_black_and_white(painted: NDArray[np.uint8]) -> bool:
    """Whether opaque pixels [N, 3] are a mask's: grey, and near two values."""
    if (painted.max(1) - painted.min(1)).max() > _FLAT:
        return False
    return _between(_luminance(painted)) < 0.05


def _between(values: NDArray[Any]) -> float:
    """The share of values that are near neither the lowest nor the highest."""
    low, high = float(values.min()), float(values.max())
    margin = (high - low) / 10
    return float(((values > low + margin) & (values < high - margin)).mean())


def _luminance(pixels: NDArray[Any]) -> NDArray[Any]:
    """Brightness by ITU-R 601, as Pillow has it, in whole levels."""
    weighted = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(weighted)
