"""What the page does with a picture, without the page: look, find the hole, fill, save."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gapfill.errors import GapfillError, one_line
from gapfill.fill.encoding import FORMATS
from gapfill.fill.kept import Photo, read_photo
from gapfill.fill.page.tools import Tool
from gapfill.fill.painting import paint
from gapfill.fill.photo import Marking, read_hole, widened, write
from gapfill.fill.resampling import any_missing

FILLS = 3
"""How many fills a stochastic model shows at a time."""
_LONGEST, _SHORTEST = 1024, 512  # the longer side of what is shown
_TINT = (225, 29, 72)  # the colour of a hole, as of the brush
_UNNAMED = "-_."  # what a saved file's name may hold beside letters and digits


@dataclass(frozen=True)
class How:
    """How holes are read and filled: the options of `gapfill fill`.

    Attributes:
        marking: how masks are read.
        context: how much around each hole a model sees (`gapfill.fill.context.look`).
        grain: give enlarged fills the grain of their surroundings.
        seed: names the first fill of a stochastic model.
    """

    marking: Marking = field(default_factory=Marking)
    context: str = "auto"
    grain: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Fill:
    """What one model made of the holes.

    Attributes:
        name: of the model.
        number: which fill of this model it is, from 1, or 0 where there is but one.
        seconds: that it took.
        made: the hole's pixels, [3, n], of the photo's dtype.
        shown: the file of the filled picture, as large as it is shown.
    """

    name: str
    number: int
    seconds: float
    made: Tensor
    shown: Path

    @property
    def caption(self) -> str:
        """What stands under it."""
        fill = f" · fill {self.number}" if self.number else ""
        return f"{self.name}{fill} · {self.seconds:.2f} s"


@dataclass(frozen=True, eq=False)
class Hole:
    """The holes of one photo.

    Attributes:
        photo: the photo's file.
        missing: bool [H, W], true = missing.
        share: of the picture that is missing.
    """

    photo: Path
    missing: np.ndarray
    share: float


def look(path: Path, mask: Path | None = None, marking: Marking | None = None) -> Image.Image:
    """A photo as large as it is shown, with what a mask file marks tinted.

    Raises:
        UsageError: a mask that `gapfill fill` refuses.
        PictureError: a file that cannot be read.
    """
    photo = read_photo(path)
    picture = photo.picture()
    if mask is not None:
        hole = read_hole(photo, path, mask, marking or Marking())
        picture = picture.clone()
        tint = torch.tensor(_TINT, dtype=torch.float32)[:, None]
        if photo.deep:
            tint = tint / 255
        where = torch.from_numpy(hole)
        picture[:, where] = ((picture[:, where] + tint) / 2).to(picture.dtype)
    return shown(picture)


def shown(picture: Tensor) -> Image.Image:
    """A picture [3, H, W], uint8 or float in [0, 1], as an image of the size that is shown.

    >>> shown(torch.zeros(3, 3000, 6000)).size, shown(torch.zeros(3, 64, 64)).size
    ((1024, 512), (512, 512))
    """
    if picture.is_floating_point():
        picture = (picture * 255).round().to(torch.uint8)
    image = Image.fromarray(picture.movedim(0, -1).contiguous().numpy())
    longest = max(image.size)
    scale = min(max(longest, _SHORTEST), _LONGEST) / longest
    if scale == 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3)


def keep(image: Image.Image, folder: Path) -> Path:
    """Write what is shown into a file of its own."""
    handle, name = tempfile.mkstemp(".jpg", dir=folder)
    with os.fdopen(handle, "wb") as stream:
        image.save(stream, "JPEG", quality=95, subsampling=0)
    return Path(name)


def find_hole(
    photo: Photo, path: Path, strokes: np.ndarray | None, mask: Path | None, marking: Marking
) -> Hole:
    """What is missing: what was painted, what a mask file marks, or both.

    Args:
        photo: as it was read.
        path: its file.
        strokes: bool [h, w], what was painted over the photo as it is shown; None: nothing.
        mask: a mask file, as `gapfill fill` takes it.
        marking: how masks are read; what was painted is widened too.

    Raises:
        UsageError: nothing marked, next to everything, a mask file of another size.
        PictureError: a mask that cannot be read.
    """
    height, width = photo.levels.shape[:2]
    missing = np.zeros((height, width), bool)
    if mask is not None:
        missing |= read_hole(photo, path, mask, replace(marking, grow=0))
    if strokes is not None:
        missing |= any_missing(strokes, height, width)
    missing = widened(torch.from_numpy(missing), marking, "mark less")
    return Hole(path, missing, float(missing.mean()))


def fills(
    tools: Sequence[Tool], photo: Photo, hole: Hole, how: How, folder: Path, first: int = 0
) -> Iterator[Fill | GapfillError]:
    """Let each model fill the holes, a stochastic one `FILLS` times; a failure stops no other.

    Args:
        tools: the models.
        photo: as it was read; it stays as it is.
        hole: what is missing.
        how: how it is filled.
        folder: for the pictures that are shown.
        first: how many fills of each stochastic model there are already.
    """
    picture, where = photo.picture(), torch.from_numpy(hole.missing)
    for tool in tools:
        varied = tool.model.stochastic
        for number in range(first, first + FILLS) if varied else [0]:
            filled, start = picture.clone(), time.perf_counter()
            try:
                paint(tool.model, filled, hole.missing, how.seed + number, how.context, how.grain)
            except GapfillError as error:
                yield error
                break
            seconds = time.perf_counter() - start
            small = keep(shown(filled), folder)
            yield Fill(tool.name, number + 1 if varied else 0, seconds, filled[:, where], small)


def save(hole: Hole, fill: Fill, folder: Path) -> tuple[Path, list[str]]:
    """Write a fill as the photo is: its size, its format, all that its file says.

    A format that is read but not written becomes PNG.

    Returns:
        The file, and what could not be kept, in words.

    Raises:
        GapfillError: the photo cannot be read any more, or the file cannot be written.
    """
    photo = read_photo(hole.photo)
    picture = photo.picture().clone()
    picture[:, torch.from_numpy(hole.missing)] = fill.made
    suffix = hole.photo.suffix if hole.photo.suffix.lower() in FORMATS else ".png"
    words = [hole.photo.stem, Path(fill.name).name, *([str(fill.number)] if fill.number else [])]
    stem = "-".join(words)
    name = "".join(each if each.isalnum() or each in _UNNAMED else "-" for each in stem)
    out = folder / f"{name[:100]}{suffix}"
    return out, write(photo, picture, hole.missing, out)


def said(error: GapfillError | OSError, folder: Path) -> str:
    """The one line that the command would print, with files of the page by their names alone.

    >>> said(GapfillError("cannot read /tmp/page/cache/1f/a.png: empty."), Path("/tmp/page"))
    'cannot read a.png: empty.'
    """
    line = str(error)
    if isinstance(error, OSError):
        where: list[Any] = [error.filename] if error.filename is not None else []
        line = one_line(": ".join(map(str, [*where, error.strerror or str(error)]))) + "."
    return re.sub(rf"{re.escape(str(folder))}[/\\](\w+[/\\])*", "", line)
