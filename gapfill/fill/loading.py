"""A picture's file, decoded with all that it says beside the pixels, and upright."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gapfill.pictures import (
    DEEP_MODES,
    UPRIGHT,
    check_scan,
    deep_levels,
    opened,
    orientation,
    reading,
)
from gapfill.reading.formats import open_picture

_TURNS: dict[Image.Transpose, Callable[[np.ndarray], np.ndarray]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: np.fliplr,
    Image.Transpose.ROTATE_180: lambda levels: np.rot90(levels, 2),
    Image.Transpose.FLIP_TOP_BOTTOM: np.flipud,
    Image.Transpose.TRANSPOSE: lambda levels: levels.swapaxes(0, 1),
    Image.Transpose.ROTATE_270: lambda levels: np.rot90(levels, -1),
    Image.Transpose.TRANSVERSE: lambda levels: np.rot90(levels, 2).swapaxes(0, 1),
    Image.Transpose.ROTATE_90: np.rot90,
}


@dataclass(frozen=True)
class Loaded:
    """A picture as its file has it, but upright.

    Attributes:
        picture: decoded, in the file's own mode.
        format: Pillow's name of the file's format.
        frames: how many pictures the file holds; this is the first.
        info: what Pillow found beside the pixels.
        text: the text chunks of a PNG.
        exif: the file's EXIF, the orientation that it had included.
        deep: uint16 [H, W, 3 or 4], where the file has 16 bits a channel in colour, which Pillow
            does not give.
    """

    picture: Image.Image
    format: str
    frames: int
    info: dict[Any, Any]
    text: dict[str, str]
    exif: Image.Exif
    deep: np.ndarray | None


def load_upright(path: Path) -> Loaded:
    """Read a picture with all that its file says beside the pixels.

    Raises:
        PictureError: the file is missing, damaged, cut short or not a picture.
    """
    with reading(path, ""), opened(path) as stream, open_picture(stream) as picture:
        tiles = getattr(picture, "tile", [])
        how = tiles[0][3] if tiles else ""  # how its levels are packed: "RGB", "RGB;16B", …
        raw = how if isinstance(how, str) else str(next(iter(how or [""])))
        format_, frames = picture.format or "", getattr(picture, "n_frames", 1)
        picture.load()
        if format_ in ("JPEG", "MPO"):
            check_scan(stream)
        turn = UPRIGHT.get(orientation(picture))
        exif, text = _exif(picture), dict(getattr(picture, "text", None) or {})
        upright = picture if turn is None else picture.transpose(turn)
        deep = None
        # A PPM's packing is that of 8 bits, with the largest level beside it.
        is_deep = ";16" in raw or (format_ == "PPM" and not isinstance(how, str) and 65535 in how)
        if is_deep and picture.mode in ("RGB", "RGBA", "LA"):
            stream.seek(0)
            deep = _deep_colour(stream.read(), turn)
        return Loaded(upright, format_, frames, dict(picture.info), text, exif, deep)


def plain_levels(loaded: Loaded) -> tuple[np.ndarray, bool]:
    """The levels of a picture as uint8 or uint16 [H, W, C]: grey, RGB, each with alpha or without.

    Returns:
        The levels, and whether they are those of the file, palettes resolved.
    """
    picture = loaded.picture
    if loaded.deep is not None:
        return loaded.deep, True
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() >= 0 and values.max() <= 65535:
            return values.astype(np.uint16)[..., None], True
    kept = picture.mode in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX")
    if picture.mode in DEEP_MODES:
        return deep_levels(picture)[..., None], kept
    if picture.mode in ("LA", "La") or (picture.mode == "L" and picture.has_transparency_data):
        mode = "LA"
    elif picture.mode in ("1", "L"):
        mode = "L"
    else:
        mode = "RGBA" if picture.has_transparency_data else "RGB"
    levels = np.array(picture if picture.mode == mode else picture.convert(mode))
    return levels.reshape(*levels.shape[:2], -1), kept


def _exif(picture: Image.Image) -> Image.Exif:
    try:
        return picture.getexif()
    except Exception:  # as for the orientation
        return Image.Exif()


def _deep_colour(content: bytes, turn: Image.Transpose | None) -> np.ndarray | None:
    """The 16-bit levels of a colour picture as RGB or RGBA, upright; None if OpenCV has none."""
    import cv2

    levels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.ndim != 3:
        return None
    levels = levels[..., [2, 1, 0, 3][: levels.shape[2]]]
    return np.ascontiguousarray(_TURNS[turn](levels) if turn is not None else levels)
