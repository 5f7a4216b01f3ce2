"""Pictures for the page and for sheets of samples."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HIDDEN = 206
"""The neutral light gray that stands for hidden pixels."""

_INK, _PAPER, _GAP = (34, 37, 42), (255, 255, 255), 6
_LINE = 15  # pixels of a heading's line, in its smallest font


def corrupted(real: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return uint8 `real` [N,3,H,W] with the pixels gray where `mask` [N,1,H,W] is 1."""
    return np.where(mask.astype(bool), np.uint8(HIDDEN), real)


def image(picture: np.ndarray) -> Image.Image:
    """Turn a uint8 picture [3,H,W] into a PIL image."""
    return Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))


def data_uri(picture: np.ndarray) -> str:
    """Return a uint8 picture [3,H,W] as a PNG inside a `data:` address, at its own size."""
    return "data:image/png;base64," + base64.b64encode(png(image(picture))).decode("ascii")


def png(picture: Image.Image) -> bytes:
    """Return a PIL image as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def grid(columns: Sequence[tuple[str, np.ndarray]], scale: int = 3) -> Image.Image:
    """Draw columns of pictures side by side, each under its heading, enlarged pixel by pixel.

    Args:
        columns: Headings, each with uint8 pictures [N,3,H,W] of one size; a short column leaves
            blanks below it.
        scale: How many times each pixel is repeated in both directions.
    """
    height, width = (side * scale for side in columns[0][1].shape[-2:])
    rows = max(len(pictures) for _, pictures in columns)
    heads = [_fit(heading, width) for heading, _ in columns]
    head = max(34, *(6 + _LINE * text.count("\n") + _LINE for text, _ in heads))
    size = (
        len(columns) * (width + _GAP) + _GAP,
        head + rows * (height + _GAP),
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, ((_, pictures), (text, font)) in enumerate(zip(columns, heads, strict=True)):
        left = _GAP + column * (width + _GAP)
        middle = left + width / 2, head / 2
        draw.text(middle, text, fill=_INK, font=font, anchor="mm", align="center")
        for row, picture in enumerate(pictures):
            enlarged = image(picture).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (left, head + row * (height + _GAP)))
    return sheet


def _fit(heading: str, width: int) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Return the heading and the largest font that lets it fit `width`.

    A long one gets lines, of which those that are still too long are cut.
    """
    font = ImageFont.load_default(20)
    for size in range(20, 10, -1):
        font = ImageFont.load_default(size)
        if font.getlength(heading) <= width:
            return heading, font
    lines = [""]
    for part in re.split(r"(?<=[:,])", heading):
        if lines[-1] and font.getlength(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(_cut(line, width, font) for line in lines), font


def _cut(line: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(line) <= width:
        return line
    while len(line) > 1 and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
