"""Single pictures: any file that Pillow opens becomes upright 8-bit RGB, or a mask."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from gapfill.errors import GapfillError, UsageError

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
"""How the names of pictures end that are looked for in a folder, in lower case."""

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class PictureError(GapfillError):
    """One picture could not be read; `reason` says why, without the picture's name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"cannot read {name}: {reason}.")
        self.reason = reason


def read_picture(source: Path | bytes | BinaryIO, name: str = "") -> Image.Image:
    """Read one picture as RGB, upright by its EXIF orientation.

    Transparent parts show white. 16-bit grey is scaled by 1/257. Floating-point grey counts as
    [0, 1] or [0, 255] where it fits, and is stretched from its own minimum to maximum elsewhere.

    Args:
        source: a path, a file's content, or an open binary file.
        name: what errors call the picture; a path speaks for itself.

    Raises:
        PictureError: the file is missing, damaged, cut short or not a picture.
    """
    with _reading(source, name):
        return _to_rgb(_load(source))


def read_mask(source: Path | bytes | BinaryIO, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Read a mask as float32 `[1, 1, H, W]`, 1 = missing, upright by its EXIF orientation.

    White (128 or more of 255) is missing. In a picture with transparent parts, unpainted is known:
    where all that was painted has one colour, whatever it is, the paint is what is missing;
    otherwise the colours decide, seen over black.

    Args:
        source: a path, a file's content, or an open binary file.
        size: the photo's (width, height), which the mask must have.

    Raises:
        PictureError: the file is missing, damaged, cut short or not a picture.
        UsageError: the mask's size is not `size`.
    """
    with _reading(source, ""):
        mask = _mask_levels(_load(source)) >= 128
    height, width = mask.shape
    if size is not None and (width, height) != tuple(size):
        raise UsageError(
            f"mask is {width}×{height} but the photo is {size[0]}×{size[1]} "
            "(after EXIF rotation). They must match."
        )
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def pictures_in(folder: Path) -> dict[str, Path]:
    """The pictures directly in `folder` by their names without ending, in this order.

    Raises:
        UsageError: two pictures have one name but for its ending.
        PictureError: the folder cannot be read.
    """
    found: dict[str, Path] = {}
    with _reading(folder, ""):
        paths = sorted(folder.iterdir())
    for path in paths:
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UsageError(
                f"{folder} holds {found[path.stem].name} and {path.name}: one of them must go, "
                "because pictures are paired by name."
            )
        found[path.stem] = path
    return found


def reason_of(error: Exception) -> str:
    """Say in a few words why a file could not be read."""
    if isinstance(error, PictureError):
        return error.reason
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a format that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r" \(\d+ bytes not processed\)", "", str(error))
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _load(source: Path | bytes | BinaryIO) -> Image.Image:
    """Decode fully (`verify` passes half a JPEG) and turn upright, in the file's own mode."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
        picture.load()
        turn = _UPRIGHT.get(_orientation(picture))
        return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Damaged EXIF raises almost anything; the pixels are still good.
        return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP_MODES:
        picture = Image.fromarray(_deep_levels(picture)).convert("RGB")
    elif picture.has_transparency_data:
        picture = _over(picture.convert("RGBA"), "white")
    elif picture.mode != "RGB":
        picture = picture.convert("RGB")
    # Whoever honours an orientation that is still noted here would turn the picture twice.
    picture.info = {}
    return picture


def _deep_levels(picture: Image.Image) -> np.ndarray:
    """Bring a picture of more than 8 bits to uint8; `convert` would clip it."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float64))
    if picture.mode != "F":
        values = values / 257
    elif values.min() >= 0 and values.max() <= 1:
        values = values * 255
    elif values.min() < 0 or values.max() > 255:
        values = np.interp(values, (values.min(), values.max()), (0, 255))
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _over(picture: Image.Image, colour: str) -> Image.Image:
    ground = Image.new("RGBA", picture.size, colour)
    return Image.alpha_composite(ground, picture).convert("RGB")


def _mask_levels(picture: Image.Image) -> np.ndarray:
    if picture.mode in _DEEP_MODES or not picture.has_transparency_data:
        return np.asarray(_to_rgb(picture).convert("L"))
    picture = picture.convert("RGBA")
    pixels = np.asarray(picture)
    alpha = pixels[..., 3]
    painted = pixels[alpha >= 128, :3]
    if alpha.min() < 255 and (painted == painted[:1]).all():
        return alpha
    return np.asarray(_over(picture, "black").convert("L"))


@contextmanager
def _reading(source: Path | bytes | BinaryIO, name: str) -> Iterator[None]:
    """Turn whatever a damaged file raises into one PictureError."""
    if not name:
        name = str(source) if isinstance(source, Path) else getattr(source, "name", "the picture")
    try:
        with quiet_pillow:
            yield
    except Exception as error:
        # Mutated files raise OSError, SyntaxError, struct.error, DecompressionBombError, …
        raise PictureError(name, reason_of(error)) from error


class _QuietPillow:
    """Hide Pillow's warnings about single files while any thread is reading.

    Warning filters belong to the whole process, so the first thread in sets them and the last
    one out restores them; each thread restoring for itself could restore another's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._saved.__exit__(None, None, None)


quiet_pillow = _QuietPillow()
