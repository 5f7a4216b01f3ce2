"""A photo as its file has it: levels, and all that is said beside them, kept through a fill."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin
from torch import Tensor

from gapfill.data.checks import LUMA
from gapfill.errors import GapfillError, UsageError
from gapfill.fill.loading import load_upright, plain_levels
from gapfill.pictures import reason_of

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""The formats that photos are written in, by the ending of their names."""

QUALITY = 95
_XMP = "XML:com.adobe.xmp"
_ELSEWHERE = (_XMP, "Raw profile type exif")  # text of a PNG that is kept as XMP and EXIF
_TURNED = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""")
_THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.DOTALL)
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_XMP_TAG = 700
_PARTS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_LONGEST_EXIF = 65_527  # bytes that a JPEG has room for
_LONGEST_XMP = 65_504  # likewise
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
# What a TIFF says of the photo; its other tags say where the file keeps the pixels.
_SAID = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)


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
    for tag in dict.fromkeys((*(_SAID if source == "TIFF" else exif), *_PARTS)):
        try:
            value = dict(exif.get_ifd(tag)) if tag in _PARTS else exif.get(tag)
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


def encode(photo: Photo, suffix: str, quality: int | None = None) -> tuple[bytes, list[str]]:
    """Write a photo as a file's content.

    Args:
        photo: the photo.
        suffix: the ending of the file's name, a key of `FORMATS`.
        quality: 1 to 100, of JPEG and WebP; without it WebP keeps every pixel.

    Returns:
        The content, and what the format could not keep, in words.

    Raises:
        UsageError: the format has no room for the photo.
    """
    form = FORMATS[suffix.lower()]
    height, width = photo.levels.shape[:2]
    if max(height, width) > _LONGEST_SIDE.get(form, max(height, width)):
        raise UsageError(
            f"a {form} has at most {_LONGEST_SIDE[form]:,} pixels a side; "
            f"this photo is {width}×{height}. Write a .png or .tif."
        )
    try:
        return _encoded(photo, form, quality)
    except (MemoryError, GapfillError):
        raise
    except Exception as error:  # of an encoder, at what stands beside the pixels
        raise UsageError(f"it cannot be written as {form}: {reason_of(error)}.") from error


def _encoded(photo: Photo, form: str, quality: int | None) -> tuple[bytes, list[str]]:
    """The photo in a format of Pillow's, and what it could not keep."""
    lost = list(photo.lost)
    levels, said = photo.levels, dict(photo.said)
    text, comment = said.pop("text", {}), said.pop("comment", None)
    if form == "JPEG" and photo.alpha is not None:
        if photo.alpha.min() < np.iinfo(photo.alpha.dtype).max:
            lost.append("transparency, which is white now")
        levels = np.ascontiguousarray(photo.picture().movedim(0, -1).numpy())
        levels = np.rint(levels * 65535).astype(np.uint16) if photo.deep else levels
    if form in ("JPEG", "WEBP") and photo.deep:
        lost.append("16 bits, which are 8 now")
        levels = np.rint(levels / 257).astype(np.uint8)
    if form == "WEBP" and levels.shape[2] < 3:
        levels = np.concatenate([levels[..., :1].repeat(3, 2), levels[..., 1:]], 2)
    grey = levels.shape[2] == 1 or (levels.shape[2] == 2 and levels.dtype == np.uint8)
    if not grey and said.get("icc_profile", b"")[16:20] == b"GRAY":
        lost.append("the profile for grey")
        del said["icc_profile"]
    if text and form != "PNG":
        lost.append("text")
    if comment and form != "JPEG":
        lost.append("the comment")
    if form == "WEBP" and said.pop("dpi", None):
        lost.append("resolution")
    options: dict[str, Any] = dict(said)
    if form == "TIFF":
        options |= _tiff_tags(options.pop("exif", {}), options.pop("xmp", None))
    elif "exif" in said:
        options["exif"] = said["exif"].tobytes()
    if form == "PNG":
        options["pnginfo"] = _png_text(text, options.pop("xmp", None))
    elif form == "JPEG":
        options |= {"quality": quality or QUALITY, "subsampling": 0}
        if len(options.get("exif", b"")) > _LONGEST_EXIF:
            lost.append("EXIF, which is too long")
            del options["exif"]
        if len(options.get("xmp", b"")) > _LONGEST_XMP:
            lost.append("XMP, which is too long")
            del options["xmp"]
        if comment:
            options["comment"] = comment
        lost.append("known pixels bit for bit")
    elif form == "WEBP":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality}
        if quality is not None:
            lost.append("known pixels bit for bit")
    if levels.dtype == np.uint16 and levels.shape[2] > 1:
        return _deep_colour(levels, form, options, lost), lost
    buffer = BytesIO()
    mode_levels = levels[..., 0] if levels.shape[2] == 1 else levels
    Image.fromarray(np.ascontiguousarray(mode_levels)).save(buffer, form, **options)
    return buffer.getvalue(), lost


def _png_text(text: Mapping[str, str], xmp: Any) -> PngImagePlugin.PngInfo:
    """The text chunks of a PNG."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in text.items():
        if isinstance(value, PngImagePlugin.iTXt):
            chunks.add_itxt(key, value, value.lang or "", value.tkey or "")
        else:
            chunks.add_text(key, value)
    if xmp:
        chunks.add_itxt(_XMP, xmp.decode("utf-8", "replace"))
    return chunks


def _tiff_tags(exif: Mapping[int, Any], xmp: Any) -> dict[str, Any]:
    """EXIF and XMP as the tags of a TIFF; it is compressed where libtiff can write these."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in _SAID:
        if tag in exif:
            tags[tag] = exif[tag]
    parts = {tag: exif[tag] for tag in _PARTS if tag in exif}
    for tag, part in parts.items():
        tags[tag] = part
    if xmp:
        tags[_XMP_TAG] = xmp
    return {"tiffinfo": tags} if parts else {"tiffinfo": tags, "compression": "tiff_deflate"}


def _deep_colour(levels: np.ndarray, form: str, options: dict[str, Any], lost: list[str]) -> bytes:
    """A PNG or TIFF of 16 bits in colour, which Pillow does not write, from OpenCV."""
    import cv2

    order = [2, 1, 0, 3][: levels.shape[2]] if levels.shape[2] > 2 else [0, 0, 0, 1]
    _, data = cv2.imencode(".png" if form == "PNG" else ".tif", levels[..., order])
    content = data.tobytes()
    if form == "TIFF":
        if "icc_profile" in options or "dpi" in options or options["tiffinfo"]:
            lost.append("profile, EXIF and resolution of a TIFF of 16 bits in colour")
        return content
    small = BytesIO()
    Image.new("RGB", (1, 1)).save(small, "PNG", **options)
    # What Pillow says of the photo stands between the header and the pixels.
    head = 8 + 25
    extra = [
        chunk
        for kind, chunk in _chunks(small.getvalue())
        if kind not in (b"IHDR", b"IDAT", b"IEND")
    ]
    return content[:head] + b"".join(extra) + content[head:]


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: their type and themselves, whole."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at : at + 12 + length]
        at += 12 + length
