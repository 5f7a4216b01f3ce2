"""Pictures, their holes and their fills as a figure, for notebooks and scripts."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gapfill.data.stream import check_images
from gapfill.errors import UsageError
from gapfill.masks.given import check_mask
from gapfill.report.pictures import corrupted

_GAP = 0.05  # of a picture's width, between two


class Sheet(Figure):
    """A matplotlib figure that a notebook shows by itself, with or without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def show(
    images: Tensor,
    masks: Tensor,
    fills: Tensor | Mapping[str, Tensor] | None = None,
    *,
    count: int = 8,
) -> Sheet:
    """Draw the first pictures in rows: original, corrupted, and each set of fills.

    Args:
        images: RGB, [N, 3, H, W], uint8 or float in [0, 1].
        masks: [N, 1, H, W], or [1, 1, H, W] for all; 0 and 1, 1 = missing.
        fills: what `inpaint` gave, of the shape of `images`, or what `sample` gave, [n, N, 3, H,
            W], a row for each; of several models, by their names.
        count: the most pictures to draw.

    Returns:
        A matplotlib figure, which a notebook shows where it is a cell's last value, and whose
        `savefig("fills.png")` writes it. It is none of pyplot's.

    Raises:
        UsageError: shapes, ranges or masks that make no sense.
    """
    check_images(images)
    mask = check_mask(masks, images)
    if count < 1:
        raise UsageError(f"show draws at least one picture; got count={count}.")
    real = to_uint8(images[:count])
    holes = mask[:count].cpu().numpy()
    named = fills if isinstance(fills, Mapping) else {} if fills is None else {"filled": fills}
    rows = {"original": real, "corrupted": corrupted(real, holes)}
    for name, given in named.items():
        rows |= {title: to_uint8(each[:count]) for title, each in _each(str(name), given, images)}
    return draw(rows)


def draw(rows: Mapping[str, np.ndarray]) -> Sheet:
    """Draw rows of pictures, uint8 [N, 3, H, W] each, under their titles."""
    height, width = next(iter(rows.values())).shape[-2:]
    most = max(map(len, rows.values()))
    inches = min(1.2, 12 / most)
    gap = max(1, round(_GAP * width))
    tall = inches * height / width + 0.25
    figure = Sheet(figsize=(max(2.0, most * inches), len(rows) * tall), dpi=100, layout="tight")
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axis, (title, pictures) in zip(axes, rows.items(), strict=True):
        strip = np.full((height, most * (width + gap) - gap, 3), 255, np.uint8)
        for number, picture in enumerate(pictures):
            left = number * (width + gap)
            strip[:, left : left + width] = picture.transpose(1, 2, 0)
        axis.imshow(strip, interpolation="none")
        axis.set_title(title.replace("$", r"\$"), loc="left", fontsize=9, pad=2)
        axis.set_axis_off()
    return figure


def to_uint8(images: Tensor) -> np.ndarray:
    """Public pictures as uint8 arrays."""
    scaled = images if images.dtype == torch.uint8 else (images.float() * 255).round().byte()
    return scaled.detach().cpu().numpy()


def _each(name: str, fills: Tensor, images: Tensor) -> list[tuple[str, Tensor]]:
    """The sets of fills of one model, with the title of each."""
    if isinstance(fills, Tensor) and fills.ndim == 5 and fills.shape[1:] == images.shape:
        several = len(fills) > 1
        return [
            (f"{name} {number}" if several else name, each) for number, each in enumerate(fills, 1)
        ]
    if not isinstance(fills, Tensor) or fills.shape != images.shape:
        came = list(fills.shape) if isinstance(fills, Tensor) else type(fills).__name__
        raise UsageError(
            f"the fills of '{name}' must be {list(images.shape)} as the pictures, or [n, "
            f"{', '.join(map(str, images.shape))}] from sample; got {came}."
        )
    return [(name, fills)]
