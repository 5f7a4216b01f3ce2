"""Filling a picture from disk: read with its mask, filled, written with all that it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gapfill import checkpoint, ranks
from gapfill.errors import UsageError
from gapfill.fill.encoding import FORMATS, encode
from gapfill.fill.kept import Photo, read_photo
from gapfill.fill.painting import paint
from gapfill.fill.resampling import any_missing
from gapfill.masks.given import check_mask
from gapfill.pictures import read_mask
from gapfill.reading.regular import expand, is_there
from gapfill.registry import open_model

ALPHA = "alpha"
"""What stands for a mask file where the photo's own transparent parts are what is missing."""

_OTHER_SIZE = "They must match; --resize-mask brings one of the same shape to the photo's size."
_SHAPE = 0.02  # by how much a mask's height over width may be off one that is resized


@dataclass(frozen=True)
class Marking:
    """How a mask is read.

    Attributes:
        invert: black = missing instead of white.
        grow: pixels by which the hole is widened.
        resize: whether a mask of another size is brought to the photo's.
    """

    invert: bool = False
    grow: int = 0
    resize: bool = False

    def __post_init__(self) -> None:
        if self.grow < 0:
            raise UsageError(f"--grow must be 0 or more pixels; got {self.grow}.")


def fill_file(
    model: str,
    photo: Path,
    mask: Path | str,
    out: Path,
    *,
    marking: Marking | None = None,
    device: str = "auto",
    seed: int = 0,
    context: str = "auto",
    grain: bool = True,
    quality: int | None = None,
    samples: int = 1,
) -> list[str]:
    """Fill what `mask` marks in `photo` and write the result.

    A model sees each hole in a window of its own, reduced to the size that it knows; what it makes
    is enlarged into the hole. Every known pixel of the photo stays as it is, as do its profile,
    EXIF, text, alpha channel and 16 bits, as far as the format of `out` can hold them.

    Args:
        model: a folder of a saved model, or a name that needs no training.
        photo: any picture that Pillow reads.
        mask: a picture of the same size, white = missing, or `alpha`, for the transparent parts of
            the photo.
        out: the file to write; its ending, one of `FORMATS`, says the format.
        marking: how the mask is read.
        device: where to compute.
        seed: names the noise of a stochastic model.
        context: how much around each hole the model sees (`gapfill.fill.context.look`).
        grain: give enlarged fills the grain of their surroundings.
        quality: 1 to 100, of JPEG and WebP.
        samples: how many fills of a stochastic model, each into a file of its own (`files_of`).

    Returns:
        What could not be kept, in words.

    Raises:
        UsageError: sizes that do not match, an empty mask, one the wrong way round; several
            samples of a model that has one; an `out` that is the photo or the mask.
        GapfillError: a file that cannot be read or written.
    """
    photo = expand(photo)
    read = read_photo(photo)
    check_ending(out, "--out")
    outs = files_of(expand(out), seed, samples)
    for each in outs:
        for given in (photo, mask):
            if is_there(each) and isinstance(given, Path) and each.samefile(expand(given)):
                raise UsageError(f"--out is {given} itself, which would be lost.")
        checkpoint.check_file(each)
    filler = open_model(model).to(ranks.resolve(device))
    if samples > 1 and not filler.stochastic:
        raise UsageError(
            f"{filler.name} has one fill of a hole; --samples is for models with noise in them, "
            "which `gapfill list --stochastic` names."
        )
    hole = read_hole(read, photo, mask, marking or Marking())
    lost = []
    for number, each in enumerate(outs):
        picture = read.picture().clone()
        paint(filler, picture, hole, seed + number, context, grain)
        lost = write(read, picture, hole, each, quality, uncover=mask == ALPHA)
    return lost


def files_of(out: Path, seed: int, samples: int) -> list[Path]:
    """The files that so many fills go to: `out`, or one for each seed.

    >>> [path.name for path in files_of(Path("filled.png"), 4, 2)]
    ['filled-4.png', 'filled-5.png']
    """
    if samples < 1:
        raise UsageError(f"--samples must be at least 1; got {samples}.")
    if samples == 1:
        return [out]
    return [out.with_stem(f"{out.stem}-{number}") for number in range(seed, seed + samples)]


def check_ending(out: Path, what: str) -> None:
    """Refuse a name whose ending is no format that photos are written in.

    Raises:
        UsageError: it is none.
    """
    if out.suffix.lower() not in FORMATS:
        raise UsageError(f"{what} must end in {', '.join(FORMATS)}; got {out.name}.")


def read_hole(photo: Photo, path: Path, mask: Path | str, marking: Marking) -> np.ndarray:
    """What is missing in a photo, bool [H, W].

    Raises:
        UsageError: another size or shape, an empty mask, one the wrong way round, no transparency.
        PictureError: a mask that cannot be read.
    """
    height, width = photo.levels.shape[:2]
    if mask == ALPHA:
        if photo.alpha is None:
            raise UsageError(f"{path} has no transparent parts, so 'alpha' marks nothing.")
        hole = torch.from_numpy(photo.alpha < (np.iinfo(photo.levels.dtype).max + 1) // 2)
    else:
        size = None if marking.resize else (width, height)
        hole = read_mask(expand(mask), size, _OTHER_SIZE)[0, 0].bool()
        if tuple(hole.shape) != (height, width):
            hole = _resized(hole, height, width)
    hole = ~hole if marking.invert else hole
    way = "leave out" if marking.invert else "use"
    return widened(hole, marking, "mark less" if mask == ALPHA else f"{way} --invert-mask")


def widened(hole: Tensor, marking: Marking, cure: str) -> np.ndarray:
    """What is marked [H, W], looked at, and as much wider as was asked; bool [H, W].

    Raises:
        UsageError: nothing is marked, or next to everything; nothing is left when it is wider.
    """
    # Only its shape is looked at: one number that stands for all takes no memory.
    check_mask(hole[None, None], torch.zeros(1).expand(1, 3, *hole.shape), cure=cure)
    grown = grow(hole.numpy(), marking.grow)
    if grown.all():
        raise UsageError(f"--grow {marking.grow}: nothing is left to see. Give less.")
    return grown


def _resized(hole: Tensor, height: int, width: int) -> Tensor:
    """A mask in the photo's size; a pixel is missing if any that it covers is.

    Raises:
        UsageError: it has another shape, so that it would be distorted.
    """
    old_height, old_width = hole.shape
    if abs(old_height * width / (old_width * height) - 1) > _SHAPE:
        raise UsageError(
            f"mask is {old_width}×{old_height} but the photo is {width}×{height} (after EXIF "
            "rotation): another shape. --resize-mask is for masks of the same shape."
        )
    return torch.from_numpy(any_missing(hole.numpy(), height, width))


def grow(hole: np.ndarray, pixels: int) -> np.ndarray:
    """Widen a hole, bool [H, W], by so many pixels in every direction, diagonals included.

    >>> grow(np.eye(4, dtype=bool)[:1], 1).tolist()
    [[True, True, False, False]]
    """
    import cv2

    if not pixels:
        return hole
    brush = np.ones((1, 2 * pixels + 1), np.uint8)
    wide = cv2.dilate(cv2.dilate(hole.astype(np.uint8), brush), brush.T)
    return wide.astype(bool)


def write(
    photo: Photo,
    filled: Tensor,
    hole: np.ndarray,
    out: Path,
    quality: int | None = None,
    uncover: bool = False,
) -> list[str]:
    """Write a photo with its holes filled, and return what could not be kept.

    Args:
        photo: as it was read; its holes are filled where it stands.
        filled: the picture that a model has painted, [3, H, W].
        hole: bool [H, W], true = missing.
        out: the file.
        quality: see `encode`.
        uncover: whether what was filled becomes opaque.
    """
    if uncover:
        photo.uncover(hole)
    photo.put(filled, hole)
    content, lost = encode(photo, out.suffix, quality)
    checkpoint.write_named(out, content)
    return lost
