"""A photo with all that is said beside its levels, as the content of a file."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from gapfill.errors import GapfillError, UsageError
from gapfill.fill.kept import PARTS, SAID, XMP, Photo
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
_XMP_TAG = 700
_LONGEST_EXIF = 65_527  # bytes that a JPEG has room for
_LONGEST_XMP = 65_504  # likewise
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}


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
        chunks.add_itxt(XMP, xmp.decode("utf-8", "replace"))
    return chunks


def _tiff_tags(exif: Mapping[int, Any], xmp: Any) -> dict[str, Any]:
    """EXIF and XMP as the tags of a TIFF; it is compressed where libtiff can write these."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in SAID:
        if tag in exif:
            tags[tag] = exif[tag]
    parts = {tag: exif[tag] for tag in PARTS if tag in exif}
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
