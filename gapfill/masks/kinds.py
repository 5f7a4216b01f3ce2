"""The kinds of masks, and the random numbers that they are drawn from.

Every kind does arithmetic that is exact or correctly rounded (no convolutions, no trigonometry,
no sums whose order matters), so that a CPU and a GPU draw the same bits.

A new kind is one function under `@mask_kind("name")`: it gets the size and a source of random
numbers, ``random(count) -> [N, count]``, and returns the missing pixels, bool ``[N, size, size]``.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.masks.files import FILE, is_file

Random = Callable[[int], Tensor]
Kind = Callable[[int, Random], Tensor]

_kinds: dict[str, Kind] = {}
KINDS: Mapping[str, Kind] = MappingProxyType(_kinds)


def mask_kind(name: str) -> Callable[[Kind], Kind]:
    """Registers the function below it as the mask kind `name`; a taken name is refused."""

    def register(function: Kind) -> Kind:
        if name in _kinds or "+" in name or is_file(name):
            raise UsageError(f"mask kind {name!r}: the name is taken or holds '+' or '{FILE}'")
        _kinds[name] = function
        return function

    return register


def below(number: Tensor, count: Tensor | int) -> Tensor:
    """Turns numbers in [0, 1) into whole numbers 0 … count - 1 (still as float32)."""
    return (number * count).floor()


# Kinds ------------------------------------------------------------------------------------------


@mask_kind("center")
def center(size: int, random: Random) -> Tensor:
    """The square of half the side in the middle of the picture."""
    number = random(1)
    side, start = size // 2, (size - size // 2) // 2
    missing = torch.zeros(len(number), size, size, dtype=torch.bool, device=number.device)
    missing[:, start : start + side, start : start + side] = True
    return missing


@mask_kind("rect")
def rect(size: int, random: Random) -> Tensor:
    """A rectangle anywhere inside, each side 16 to 40 pixels of 64 (scaled to the size)."""
    shortest, longest = round(size * 16 / 64), round(size * 40 / 64)
    tall, wide, down, across = random(4).unbind(1)
    height = shortest + below(tall, longest - shortest + 1)
    width = shortest + below(wide, longest - shortest + 1)
    rows = _span(below(down, size - height + 1), height, size)
    columns = _span(below(across, size - width + 1), width, size)
    return rows[:, :, None] & columns[:, None, :]


def _span(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Marks the positions start … start + length - 1 of every row: bool [N, size]."""
    position = torch.arange(size, device=start.device)
    return (position >= start[:, None]) & (position < (start + length)[:, None])


@mask_kind("half")
def half(size: int, random: Random) -> Tensor:
    """One half of the picture: the top, the bottom, the left or the right."""
    side = below(random(1)[:, 0], 4)
    start = torch.where(side % 2 == 0, 0, size - size // 2)
    strip = _span(start, torch.full_like(start, size // 2), size)
    upright = (side < 2)[:, None, None]
    return torch.where(upright, strip[:, :, None], strip[:, None, :])


@mask_kind("pixels")
def pixels(size: int, random: Random) -> Tensor:
    """Single pixels, each missing with probability 0.8."""
    number = random(size * size)
    # The two extremes keep small pictures from losing all their pixels, or none.
    missing = (number < 0.8) | (number == number.amin(1, keepdim=True))
    missing &= number < number.amax(1, keepdim=True)
    return missing.view(len(number), size, size)


@mask_kind("pattern")
def pattern(size: int, random: Random) -> Tensor:
    """Smooth blobs over a quarter of the picture: the lowest quarter of a random surface."""
    knots = _CELLS + 3
    number = random(knots * knots)
    # Whole numbers below 2**53 in float64: every product and sum is exact, in whatever order.
    height = (number.double() * 2**24).view(len(number), knots, knots)
    weights = _spline(size, number.device)
    surface = weights @ height @ weights.T
    return _lowest(surface, torch.full_like(surface[:, 0, 0], 0.25))


_CELLS = 6  # between evenly spaced knots, across the picture


@lru_cache(maxsize=8)
def _spline(size: int, device: torch.device) -> Tensor:
    """Cubic B-spline weights [size, cells + 3] over the knots, in whole 1/4096."""
    position = (torch.arange(size, dtype=torch.float64) + 0.5) * _CELLS / size
    distance = (position[:, None] - torch.arange(-1, _CELLS + 2)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return (torch.where(distance < 1, near, far) * 4096).round().to(device)


@mask_kind("brush")
def brush(size: int, random: Random, strokes: int = 3, segments: int = 4) -> Tensor:
    """One to three free-form strokes that cover between 10 and 50 % of the picture.

    Each stroke wanders over a few straight segments with round ends. Its width is not drawn as
    such: all strokes swell, in their drawn proportions, until the drawn area is covered.
    """
    vertices = segments + 1
    number = random(2 + strokes + 2 * strokes * vertices)
    share = 0.1 + 0.4 * number[:, 0]
    used = 1 + below(number[:, 1], strokes)
    width = 0.5 + number[:, 2 : 2 + strokes]
    # A stroke that is not used is so thin that no swelling makes it visible.
    width = torch.where(torch.arange(strokes, device=number.device) < used[:, None], width, 1e-6)

    walk = number[:, 2 + strokes :].view(len(number), strokes, vertices, 2)
    steps = torch.cat([walk[:, :, :1], (walk[:, :, 1:] - 0.5) * 1.2], dim=2)
    points = [steps[:, :, 0]]
    for step in steps.unbind(2)[1:]:
        points.append(1 - (1 - (points[-1] + step).abs()).abs())  # reflected at the border

    # By a tensor: a GPU divides by a number as by its reciprocal, which may round otherwise.
    side = torch.full((), float(size), device=number.device)
    centre = (torch.arange(size, device=number.device) + 0.5) / side
    row, column = centre[:, None], centre[None, :]
    field = torch.full((len(number), size, size), torch.inf, device=number.device)
    for start, end in pairwise(points):
        for stroke in range(strokes):
            distance = _distance(start[:, stroke], end[:, stroke], width[:, stroke], row, column)
            field = torch.minimum(field, distance)
    return _lowest(field, share)


def _distance(start: Tensor, end: Tensor, width: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Squared distance of every pixel to a segment a picture, in widths: [N, size, size].

    In the segment's own axes, centred on its middle, a pixel lies `along` and `across` it; both
    are a function of the row plus one of the column, so only the last few steps cost a full map.
    """
    step = end - start
    length = (step * step).sum(1).sqrt().clamp(min=1e-6)
    y, x = (step / (length * width)[:, None])[:, :, None, None].unbind(1)
    middle_y, middle_x = ((start + end) * 0.5)[:, :, None, None].unbind(1)
    along = (row - middle_y) * y + (column - middle_x) * x
    across = (row - middle_y) * x - (column - middle_x) * y
    beyond = along.abs_().sub_((length / width * 0.5)[:, None, None]).clamp_(min=0)
    return beyond.mul_(beyond).add_(across.mul_(across))


def _lowest(field: Tensor, share: Tensor) -> Tensor:
    """Marks the lowest `share` [N] of every surface [N, size, size], at least one pixel."""
    flat = field.flatten(1)
    if flat.device.type == "cpu":  # NumPy sorts 64 rows of 4,096 in 0.4 ms, torch in 15
        ordered = torch.from_numpy(np.sort(flat.numpy(), axis=1))
    else:
        ordered = flat.sort(dim=1).values
    rank = (share * flat.shape[1]).round().long().clamp(1, flat.shape[1] - 1)
    return field <= ordered.gather(1, rank[:, None] - 1)[:, :, None]
