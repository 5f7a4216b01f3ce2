"""Which pictures are read: formats by name, and sizes that fit into memory."""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

# Formats whose decoders read pixels and nothing else; Pillow's EPS, for one, starts Ghostscript.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
LARGEST = 128_000_000
"""Pixels of the largest picture that is read."""
_MEGAPIXELS = f"{LARGEST // 1_000_000} megapixels are read"

# What a folder of pictures may hold that is a picture too, or holds some, and is not read.
_PICTURES = (
    ".heic .heif .jxl .jpx .j2c .jpf .psd .psb .xcf .tga .dds .pcx .sgi .qoi .fits .exr .hdr .raw "
    ".cr2 .cr3 .nef .arw .dng .orf .rw2 .raf .pef .srw"
)
_HOLDERS = (
    ".ico .icns .rgb .ras .sun .xbm .xpm .fit .svg .eps .ps .wmf .emf .ai .pdf .dcm .nii .npy .npz "
    ".mat .h5 .hdf5 .tfrecord .tfrecords .lmdb .mdb .parquet .arrow .zip .tar .gz .tgz .7z .rar "
    ".bz2 .xz .mp4 .avi .mov .mkv .webm"
)
UNREAD_PICTURES = frozenset(_PICTURES.split())
PASSED_OVER = UNREAD_PICTURES | frozenset(_HOLDERS.split())


def open_picture(source: Path | BinaryIO) -> Image.Image:
    """Open a picture with its header alone read, after a look at its format and its size.

    Raises:
        UnidentifiedImageError: it is in none of `FORMATS`.
        ValueError: it has more than `LARGEST` pixels.
        Exception: whatever else a damaged file makes Pillow raise.
    """
    try:
        picture = Image.open(source, formats=_formats())
    except Image.DecompressionBombError as error:  # whose own limit is higher
        raise ValueError(f"too many pixels; at most {_MEGAPIXELS}") from error
    except UnidentifiedImageError:
        if not isinstance(source, Path):
            source.seek(0)
            if (name := _known(source.read(16))) is not None:
                raise ValueError(f"{name} is not read; allowed are {allowed()}") from None
        raise
    try:
        check_size(*picture.size)
    except ValueError:
        picture.close()
        raise
    return picture


def check_size(width: int, height: int) -> None:
    """Refuse what would take gigabytes once it is unpacked, however small its file.

    Raises:
        ValueError: more than `LARGEST` pixels.
    """
    if width * height > LARGEST:
        raise ValueError(f"{width}×{height} pixels; at most {_MEGAPIXELS}")


def allowed() -> str:
    """The formats in words.

    >>> allowed().split(", ")[:3]
    ['JPEG', 'PNG', 'WEBP']
    """
    return ", ".join(_formats())


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _known(start: bytes) -> str | None:
    """The name of a format that is recognised, to say that it is not read."""
    if start.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        return "EPS"
    if start.startswith(b"%PDF"):
        return "PDF"
    if start.startswith(b"8BPS"):
        return "PSD"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"hevc", b"msf1"):
        return "HEIC"
    if start.startswith((b"<svg", b"<?xml")):
        return "SVG"
    return None


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) as a JPEG's header has them, without decoding; None if it has none."""
    place = 2 if data.startswith(b"\xff\xd8") else len(data)
    while place + 9 < len(data) and data[place] == 0xFF:
        mark = data[place + 1]
        if mark == 0xFF or mark == 0x01 or 0xD0 <= mark <= 0xD7:  # padding, marks without a length
            place += 1 if mark == 0xFF else 2
            continue
        if mark in (0xD9, 0xDA):
            return None
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return (width, height) if width and height else None
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None
