"""The README's first picture: holes in a photo, and what `gapfill fill unet` makes of them.

`python docs/figures/first.py` draws docs/images/first.jpg. The photo is scikit-image's astronaut,
by NASA, in the public domain.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from skimage import data

import gapfill

OUT = Path(__file__).parents[1] / "images" / "first.jpg"
PART = (slice(20, 200), slice(130, 310))  # rows and columns of the photo that are shown
SIDE = 300  # of a panel, in pixels


def holes(shape: tuple[int, int]) -> list[np.ndarray]:
    """A broad stroke, a disc and scratches, bool [H, W]."""
    stroke, disc, scratches = (np.zeros(shape, np.uint8) for _ in range(3))
    line = np.array([(185, 95), (215, 130), (258, 100), (240, 160)], np.int32)
    cv2.polylines(stroke, [line], isClosed=False, color=1, thickness=9)
    cv2.circle(disc, (222, 127), 14, 1, cv2.FILLED)
    for start, end in (
        ((150, 40), (290, 120)),
        ((270, 30), (180, 190)),
        ((140, 150), (300, 130)),
        ((215, 25), (230, 195)),
    ):
        cv2.line(scratches, start, end, 1, 3)
    return [mask > 0 for mask in (stroke, disc, scratches)]


def panel(picture: np.ndarray) -> np.ndarray:
    """The part that is shown, enlarged."""
    return cv2.resize(picture[PART], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def main() -> None:
    """Draw it."""
    photo = data.astronaut()
    image = torch.from_numpy(photo).movedim(-1, 0)[None]
    model = gapfill.create("unet", pretrained=True)
    damaged, filled = [], []
    for hole in holes(photo.shape[:2]):
        made = gapfill.fill_any_size(model, image, torch.from_numpy(hole)[None, None])
        damaged.append(panel(np.where(hole[..., None], 255, photo).astype(np.uint8)))
        filled.append(panel(made[0].movedim(0, -1).numpy()))
    rows = [np.concatenate(row, 1) for row in (damaged, filled)]
    Image.fromarray(np.concatenate(rows)).save(OUT, quality=88)


if __name__ == "__main__":
    main()
