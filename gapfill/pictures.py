"""Single pictures: a file in one of many formats becomes upright 8-bit RGB, or a mask."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from gapfill.errors import GapfillError, UsageError
from gapfill.reading.formats import SUFFIXES, open_picture
from gapfill.reading.holes import marked
from gapfill.reading.noise import quiet
from gapfill.reading.regular import composed, open_regular, shortened

_ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP = 1 << 22  # pixels converted at a time: large pictures are not copied whole
_DAMAGE = re.compile(r"Corrupt JPEG data: (premature|bad|found marker)|Premature end of JPEG")
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class PictureError(GapfillError):
    """One picture could not be read; `reason` says why, without the picture's name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"cannot read {name}: {reason}.")
        self.reason = reason


def read_picture(
    source: Path | bytes | BinaryIO,
    name: str = "",
    admit: Callable[[int, int], None] | None = None,
) -> Image.Image:
    """Read one picture as RGB, upright by its EXIF orientation.

    Transparent parts show white. 16-bit grey is scaled by 1/257. Floating-point grey counts as
    [0, 1] or [0, 255] where it fits, and is stretched from its own minimum to maximum elsewhere.

    Args:
        source: a path, a file's content, or an open binary file.
        name: what errors call the picture; a path speaks for itself.
        admit: is told width and height before anything is decoded, and may wait or refuse.

    Raises:
        PictureError: the file is missing, damaged, cut short, too large or not a picture.
    """
    with reading(source, name):
        return _to_rgb(_load(source, admit))


def read_mask(
    source: Path | bytes | BinaryIO,
    size: tuple[int, int] | None = None,
    cure: str = "They must match.",
) -> torch.Tensor:
    """Read a mask as float32 `[1, 1, H, W]`, 1 = missing, upright by its EXIF orientation.

    White is missing and black is known. Of two values, whatever they are, the brighter is missing;
    of a colour and a grey, the colour. In a picture with transparent parts, unpainted is known:
    where all that was painted has one colour, whatever it is, the paint is what is missing; where
    the opaque part is a photo, what was erased is missing; otherwise the colours decide, seen over
    black.

    Args:
        source: a path, a file's content, or an open binary file.
        size: the photo's (width, height), which the mask must have.
        cure: what to do where it has another.

    Raises:
        PictureError: the file is missing, damaged, cut short or not a picture.
        UsageError: the mask's size is not `size`, or it looks like a photo.
    """
    name = shortened(source) if isinstance(source, Path) else ""
    with reading(source, name):
        picture = _load(source)
    width, height = picture.size
    if size is not None and (width, height) != tuple(size):
        lying = (height, width) == tuple(size)
        raise UsageError(
            f"mask is {width}×{height} but the photo is {size[0]}×{size[1]} (after EXIF rotation). "
            f"{'The mask lies on its side: turn it as the photo is shown.' if lying else cure}"
        )
    try:
        missing = marked(picture)
    except ValueError as error:
        order = " The photo comes first, then its mask." if size is not None else ""
        raise UsageError(f"{name or 'the picture'} is no mask: {error}.{order}") from error
    return torch.from_numpy(missing.astype(np.float32))[None, None]


def pictures_in(folder: Path) -> dict[str, Path]:
    """The pictures directly in `folder` by their names without ending (`composed`), in this order.

    Raises:
        UsageError: two pictures have one name but for its ending.
        PictureError: the folder cannot be read.
    """
    found: dict[str, Path] = {}
    with reading(folder, ""):
        paths = sorted(folder.iterdir())
    for path in paths:
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        stem = composed(path.stem)
        if stem in found:
            raise UsageError(
                f"{folder} holds {found[stem].name} and {path.name}: one of them must go, "
                "because pictures are paired by name."
            )
        found[stem] = path
    return found


def reason_of(error: Exception) -> str:
    """Say in a few words why a file could not be read."""
    if isinstance(error, PictureError):
        return error.reason
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a format that is read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r" \(\d+ bytes not processed\)", "", str(error))
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def damage(lines: list[str]) -> str | None:
    """Which of a decoder's lines say that pixels are missing or wrong, if any does.

    >>> damage(["Corrupt JPEG data: 3 extraneous bytes before marker 0xd9"])
    >>> damage(["Corrupt JPEG data: premature end of data segment"])
    'Corrupt JPEG data: premature end of data segment'
    """
    return next((line for line in lines if _DAMAGE.search(line)), None)


def _load(
    source: Path | bytes | BinaryIO, admit: Callable[[int, int], None] | None = None
) -> Image.Image:
    """Decode fully (`verify` passes half a JPEG) and turn upright, in the file's own mode."""
    with opened(source) as stream, open_picture(stream) as picture:
        if admit is not None:
            admit(*picture.size)
        picture.load()
        if picture.format in ("JPEG", "MPO"):
            check_scan(stream)
        turn = UPRIGHT.get(orientation(picture))
        return picture if turn is None else picture.transpose(turn)


@contextmanager
def opened(source: Path | bytes | BinaryIO) -> Iterator[BinaryIO]:
    """A picture's file, content or stream as a stream that can be read again."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, Path):
        with open_regular(source) as stream:
            yield stream
    else:
        yield source if source.seekable() else io.BytesIO(source.read())


_scanning = threading.Lock()  # so that each picture hears its own decoder


def check_scan(stream: BinaryIO) -> None:
    """Refuse a JPEG whose data end early: decoders fill the rest, and Pillow's does not say so."""
    import cv2

    stream.seek(0)
    data = np.frombuffer(stream.read(), np.uint8)
    with _scanning, quiet:
        start = quiet.said
        cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_8)
        if (line := damage(quiet.lines(start))) is not None:
            raise OSError(line)


def orientation(picture: Image.Image) -> int:
    """What its EXIF says of how a picture is to be turned; 1 where it says nothing."""
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Damaged EXIF raises almost anything; the pixels are still good.
        return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in DEEP_MODES:
        picture = Image.fromarray(deep_levels(picture)).convert("RGB")
    elif picture.has_transparency_data:
        picture = _over(picture, "white")
    elif picture.mode != "RGB":
        picture = picture.convert("RGB")
    # Whoever honours an orientation that is still noted here would turn the picture twice.
    picture.info = {}
    return picture


def _strips(picture: Image.Image) -> Iterator[tuple[int, int]]:
    """Top and bottom of the strips that a picture is converted in."""
    rows = max(1, _STRIP // max(1, picture.width))
    for top in range(0, picture.height, rows):
        yield top, min(top + rows, picture.height)


def deep_levels(picture: Image.Image) -> np.ndarray:
    """Bring a picture of more than 8 bits to uint8; `convert` would clip it.

    Floats and 32-bit integers have no range of their own: it is the first of the usual ones that
    holds them, or reaches from the least to the most.
    """
    pixels = np.asarray(picture)
    low, high = 0.0, 65535.0
    usual = {"F": ((0.0, 1.0), (0.0, 255.0)), "I": ((0.0, 255.0), (0.0, 65535.0))}
    if picture.mode in usual:
        known = pixels[np.isfinite(pixels)] if not np.isfinite(pixels).all() else pixels
        least, most = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        least, most = min(least, 0.0) if known.size < pixels.size else least, most
        for low, high in (*usual[picture.mode], (least, most)):
            if low <= least and most <= high:
                break
    levels = np.empty(pixels.shape, np.uint8)
    for top, bottom in _strips(picture):
        with np.errstate(all="ignore"):  # damaged files hold numbers at the very limits
            part = np.nan_to_num(pixels[top:bottom].astype(np.float64), posinf=high, neginf=low)
            part = (part - low) * (255 / max(high - low, 1e-300))
            levels[top:bottom] = np.nan_to_num(np.rint(part)).clip(0, 255)
    return levels


def _over(picture: Image.Image, colour: str) -> Image.Image:
    """Lay a picture with transparent parts over a colour."""
    whole = Image.new("RGB", picture.size)
    for top, bottom in _strips(picture):
        part = picture.crop((0, top, picture.width, bottom)).convert("RGBA")
        ground = Image.new("RGBA", part.size, colour)
        whole.paste(Image.alpha_composite(ground, part).convert("RGB"), (0, top))
    return whole


@contextmanager
def reading(source: Path | bytes | BinaryIO, name: str) -> Iterator[None]:
    """Turn whatever a damaged file raises into one PictureError."""
    if not name:
        path = isinstance(source, Path)
        name = shortened(source) if path else getattr(source, "name", "the picture")
    try:
        with quiet:
            yield
    except Exception as error:
        # Mutated files raise OSError, SyntaxError, struct.error, DecompressionBombError, …
        raise PictureError(name, reason_of(error)) from error
