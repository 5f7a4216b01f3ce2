"""A photo as its file has it: levels, and all that is said beside them, kept through a fill."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from gapfill.data.checks import LUMA
from gapfill.fill.loading import load_upright, plain_levels

XMP = "XML:com.adobe.xmp"
"""The text of a PNG that is XMP."""
PARTS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
"""The parts of EXIF that are directories of their own."""
SAID = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
"""What a TIFF says of the photo; its other tags say where the file keeps the pixels."""

_ELSEWHERE = (XMP, "Raw profile type exif")  # text of a PNG that is kept as XMP and EXIF
_TURNED = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""")
_THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.DOTALL)


@dataclass
class Photo:
    """A photo, upright, as deep as its file has it.

    Attributes:
        levels: uint8 or uint16 [H, W, C]: grey, grey and alpha, RGB, or RGB and alpha.
        said: what the file says beside them: `icc_profile`, `exif`, `xmp`, `dpi`, `text`,
            `comment`, as far as it has them.
        lost: what could not be kept already when it was read.
    """

    levels: np.ndarray
    said: dict[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()

    @property
    def deep(self) -> bool:
        """Whether it has 16 bits a channel."""
        return self.levels.dtype == np.uint16

    @property
    def colours(self) -> np.ndarray:
        """The levels without the alpha channel, [H, W, 1 or 3]."""
        return self.levels[..., : 3 if self.levels.shape[2] > 2 else 1]

    @property
    def alpha(self) -> np.ndarray | None:
        """The alpha channel, [H, W], or None where nothing can be transparent."""
        return None if self.levels.shape[2] in (1, 3) else self.levels[..., -1]

    def picture(self) -> Tensor:
        """What a model sees: RGB [3, H, W], uint8, or float in [0, 1] of a photo of 16 bits.

        Transparent parts show white. The tensor may share its memory with the levels.
        """
        seen = self.colours
        if self.alpha is not None:
            most = np.iinfo(self.levels.dtype).max
            share = self.alpha[..., None] / np.float32(most)
            seen = np.rint(seen * share + most * (1 - share)).astype(self.levels.dtype)
        if self.deep:
            seen = seen.astype(np.float32) / 65535
        return torch.from_numpy(seen).movedim(-1, 0).expand(3, -1, -1)

    def put(self, filled: Tensor, hole: np.ndarray) -> None:
        """Write a filled picture over the missing pixels, and nowhere else.

        Args:
            filled: as `picture` gives it.
            hole: bool [H, W], true = missing.
        """
        made = filled.movedim(0, -1).numpy()[hole]
        if self.colours.shape[2] == 1:
            made = (made @ np.array(LUMA, np.float32))[:, None]
        if self.deep:
            made = made * 65535
        if self.alpha is not None:  # what was seen over white, without the white
            most = np.iinfo(self.levels.dtype).max
            share = self.alpha[hole][:, None] / np.float32(most)
            made = np.clip(most - (most - made) / np.maximum(share, 1 / most), 0, most)
        if made.dtype != self.levels.dtype:
            made = np.rint(made).astype(self.levels.dtype)
        self.colours[hole] = made

    def uncover(self, hole: np.ndarray) -> None:
        """Make the missing pixels opaque."""
        if self.alpha is not None:
            self.alpha[hole] = np.iinfo(self.levels.dtype).max


def read_photo(path: Path) -> Photo:
    """Read a photo with everything that can be kept of it.

    Raises:
        PictureError: the file is missing, damaged, cut short or not a picture.
    """
    loaded = load_upright(path)
    picture, lost = loaded.picture, []
    if loaded.frames > 1:
        lost.append(f"{loaded.frames - 1} more frame{'s' if loaded.frames > 2 else ''}")
    levels, kept = plain_levels(loaded)
    said = {key: loaded.info[key] for key in ("icc_profile", "comment") if loaded.info.get(key)}
    if not kept:
        lost.append(f"{picture.mode} levels, written as 8-bit RGB or grey")
        said.pop("icc_profile", None)
    if xmp := loaded.info.get("xmp"):
        said["xmp"] = _upright_xmp(xmp if isinstance(xmp, bytes) else str(xmp).encode())
    if text := {key: value for key, value in loaded.text.items() if key not in _ELSEWHERE}:
        said["text"] = text
    dpi = tuple(map(float, loaded.info.get("dpi", ())))
    if dpi and all(1 < each < math.inf for each in dpi):  # 1 is a TIFF's that has none
        said["dpi"] = dpi
    exif, damaged = _exif(loaded.exif, loaded.format)
    if exif:
        said["exif"] = exif
    if damaged:
        lost.append("damaged EXIF")
    return Photo(levels, said, tuple(lost))


def _upright_xmp(xmp: bytes) -> bytes:
    """XMP that says that the photo stands upright, without thumbnails, which show what was hidden.

    >>> _upright_xmp(b'<x tiff:Orientation="6"/><tiff:Orientation>8</tiff:Orientation>')
    b'<x tiff:Orientation="1"/><tiff:Orientation>1</tiff:Orientation>'
    """
    return _THUMBNAILS.sub(b"", _TURNED.sub(rb"\g<1>1", xmp))


def _exif(exif: Image.Exif, source: str) -> tuple[Image.Exif, bool]:
    """The photo's EXIF, which now says that it stands upright; empty where there is none.

    A thumbnail is left out: it shows what was in the hole. So is what cannot be written again,
    such as a resolution in words.

    Returns:
        The EXIF, and whether anything was damaged.
    """
    new, damaged = Image.Exif(), False
    for tag in dict.fromkeys((*(SAID if source == "TIFF" else exif), *PARTS)):
        try:
            value = dict(exif.get_ifd(tag)) if tag in PARTS else exif.get(tag)
        except Exception:  # whatever Pillow makes of a broken place in the file
            damaged = True
            continue
        if isinstance(value, dict):
            value.pop(ExifTags.IFD.Interop, None)  # where it was in the old file
            whole = {key: each for key, each in value.items() if _is_writable(tag, {key: each})}
            damaged |= len(whole) < len(value)
            value = whole or None
        if value is None:
            continue
        if _is_writable(tag, value):
            new[tag] = value
        else:
            damaged = True
    if ExifTags.Base.Orientation in new:
        new[ExifTags.Base.Orientation] = 1
    return new, damaged


def _is_writable(tag: int, value: Any) -> bool:
    """Whether a tag of EXIF has a value that Pillow can write."""
    alone = Image.Exif()
    alone[tag] = value
    try:
        return bool(alone.tobytes())
    except Exception:  # struct's, a missing method of a wrong type, …
        return False
