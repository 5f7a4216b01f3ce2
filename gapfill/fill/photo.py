"""Filling a picture from disk."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gapfill import checkpoint, ranks
from gapfill.errors import UsageError
from gapfill.fill.painting import paint
from gapfill.masks.given import check_mask
from gapfill.pictures import read_mask, read_picture
from gapfill.reading.regular import expand
from gapfill.registry import open_model


def fill_file(
    model: str,
    photo: Path,
    mask: Path,
    out: Path,
    *,
    invert: bool = False,
    device: str = "auto",
    seed: int = 0,
    context: str = "hole",
    grain: bool = True,
) -> None:
    """Fill what `mask` marks in `photo` and write the result as PNG.

    A model sees each hole in a window of its own, reduced to the size that it knows; what it makes
    is enlarged into the hole. Every known pixel of the photo stays as it is.

    Args:
        model: a folder of a saved model, or a name that needs no training.
        photo: any picture that Pillow reads.
        mask: a picture of the same size, white = missing.
        out: the file to write, .png.
        invert: black = missing instead.
        device: where to compute.
        seed: names the noise of a stochastic model.
        context: how much around each hole the model sees (`gapfill.fill.windows.look`).
        grain: give enlarged fills the grain of their surroundings.

    Raises:
        UsageError: sizes that do not match, an empty mask, one the wrong way round.
        GapfillError: a file that cannot be read or written.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out must end in .png, which keeps every pixel; got {out.name}.")
    photo, mask, out = expand(photo), expand(mask), expand(out)
    checkpoint.check_file(out)
    loaded = open_model(model)
    loaded.to(ranks.resolve(device))
    picture = read_picture(photo)
    hole = read_mask(mask, picture.size)
    hole = 1 - hole if invert else hole
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    check_mask(hole, image, cure=f"{'leave out' if invert else 'use'} --invert-mask")
    paint(loaded, image[0], hole[0, 0].bool().numpy(), seed, context, grain)
    filled = image[0].permute(1, 2, 0).contiguous().numpy()
    buffer = BytesIO()
    Image.fromarray(filled).save(buffer, "PNG")
    checkpoint.write_named(out, buffer.getvalue())
