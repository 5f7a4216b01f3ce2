"""Filling a picture from disk, of any size, with a model that knows one size."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gapfill import checkpoint, ranks
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.masks.given import LARGEST_HOLE, check_mask
from gapfill.pictures import read_mask, read_picture
from gapfill.registry import create, load


def fill_file(
    model: str,
    photo: Path,
    mask: Path,
    out: Path,
    *,
    invert: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Fill what `mask` marks in `photo` and write the result as PNG.

    A model of one size sees the largest square around the hole, reduced to its size; what it
    makes is enlarged into the hole. Every known pixel of the photo stays as it is.

    Args:
        model: a folder of a saved model, or a name that needs no training.
        photo: any picture that Pillow reads.
        mask: a picture of the same size, white = missing.
        out: the file to write, .png.
        invert: black = missing instead.
        device: where to compute.
        seed: names the noise of a stochastic model.

    Raises:
        UsageError: sizes that do not match, an empty mask, one the wrong way round.
        GapfillError: a file that cannot be read or written.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out must end in .png, which keeps every pixel; got {out.name}.")
    loaded = load(model) if Path(model).is_dir() else create(model)
    loaded.to(ranks.resolve(device))
    picture = read_picture(photo)
    hole = read_mask(mask, picture.size)
    hole = 1 - hole if invert else hole
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    check_mask(hole, image, cure=f"{'leave out' if invert else 'use'} --invert-mask")
    filled = fill_any_size(loaded, image, hole, seed)[0].permute(1, 2, 0).contiguous().numpy()
    buffer = BytesIO()
    Image.fromarray(filled).save(buffer, "PNG")
    checkpoint.write_atomic(out, buffer.getvalue())


def fill_any_size(model: Inpainter, image: Tensor, hole: Tensor, seed: int = 0) -> Tensor:
    """Fill one picture [1, 3, H, W] of any size; see `fill_file`.

    Raises:
        UsageError: the hole does not fit into the largest square of the picture.
    """
    size = getattr(model.config, "size", None)
    if size is None or tuple(image.shape[-2:]) == (size, size):
        return model.inpaint(image, hole, seed)
    top, left, side = _window(hole[0, 0])
    window = (..., slice(top, top + side), slice(left, left + side))
    share = hole[window].mean().item()
    if share > LARGEST_HOLE:
        raise UsageError(
            f"the hole covers {int(100 * share)} % of the square around it: too little is left to "
            "see. Fill it in parts."
        )
    small = _reduce(image[window].float() / 255, 1 - hole[window], size)
    # A pixel of the reduced picture is missing if any of what it was made from is.
    missing = torch.nn.functional.adaptive_max_pool2d(hole[window], size)
    made = _resize(model.inpaint(small.clamp(0, 1), missing, seed), side).clamp(0, 1)
    result = image.clone()
    made_bytes = (made * 255).round().byte()
    result[window] = torch.where(hole[window].bool(), made_bytes, image[window])
    return result


def _window(hole: Tensor) -> tuple[int, int, int]:
    """Top, left and side of the largest square of the picture that is centred on the hole."""
    height, width = hole.shape
    side = min(height, width)
    corner = []
    for length, axis in ((height, 1), (width, 0)):
        marked = hole.any(axis).nonzero()
        first, last = int(marked[0]), int(marked[-1])
        if last - first >= side:
            raise UsageError(
                f"the hole is {last - first + 1} pixels long, but the picture's square is "
                f"{side}×{side}. Crop the picture, or fill it in parts."
            )
        corner.append(min(max(0, (first + last + 1 - side) // 2), length - side))
    return corner[0], corner[1], side


def _reduce(image: Tensor, known: Tensor, side: int) -> Tensor:
    """Resize what is known, and nothing of what is hidden, by a normalised convolution."""
    resize = torch.nn.functional.interpolate
    both = torch.cat([image * known, known], 1)
    both = resize(both, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return both[:, :3] / both[:, 3:].clamp_min(1e-6)


def _resize(image: Tensor, side: int) -> Tensor:
    return torch.nn.functional.interpolate(
        image, size=(side, side), mode="bicubic", antialias=True, align_corners=False
    )
