"""Where to look: each hole of a picture with as much around it as a model needs to see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np
from torch import Tensor

from gapfill.masks.given import LARGEST_HOLE

SHARE = 0.25
"""The share of a window that is missing, as under the masks that most models are trained with."""
_SPAN = 0.75  # the part of a window's side that a hole may take
_CELLS = 4_000_000  # larger pictures are surveyed in blocks of several pixels

_Array = TypeVar("_Array", np.ndarray, Tensor)


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column to its right."""
        return self.left + self.width

    def __and__(self, other: Box) -> Box:
        """What two boxes share; it has no rows or no columns where they share nothing."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        height = max(0, min(self.bottom, other.bottom) - top)
        return Box(top, left, height, max(0, min(self.right, other.right) - left))

    def cut(self, array: _Array) -> _Array:
        """The part of an array or a tensor [..., H, W] under the box."""
        return array[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Group:
    """Pixels that are filled together, and the windows through which a model sees them.

    Attributes:
        box: around all of them.
        windows: one, or overlapping tiles; each pixel lies inside one of them at least.
    """

    box: Box
    windows: tuple[Box, ...]


@dataclass(frozen=True)
class Plan:
    """The holes of one picture in groups; `labels` has a group's number, from 1, by block."""

    hole: np.ndarray
    labels: np.ndarray
    block: int
    groups: list[Group] = field(default_factory=list)

    def of(self, number: int, box: Box) -> np.ndarray:
        """The pixels inside a box that belong to the group of that number, bool [h, w]."""
        rows = np.arange(box.top, box.bottom) // self.block
        columns = np.arange(box.left, box.right) // self.block
        mine = self.labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == number
        if self.block > 1:
            mine = mine[np.ix_(rows - rows[0], columns - columns[0])]
        return box.cut(self.hole) & mine


def plan(hole: np.ndarray, side: int, share: float = SHARE) -> Plan:
    """Give each hole its own window, and long ones tiles.

    Holes near one another are one group. What is no thicker than `share` of a model's side is kept
    apart from what is thicker, so that a wire that ends at a large hole is filled at its own scale.

    >>> hole = np.zeros((200, 300), bool)
    >>> hole[10:20, 10:20] = hole[180:190, 280:290] = True
    >>> [group.windows for group in plan(hole, 64).groups]
    [(Box(top=0, left=0, height=64, width=64),), (Box(top=136, left=236, height=64, width=64),)]

    Args:
        hole: bool [H, W], true = missing.
        side: of the pictures that the model knows; no window is smaller, unless the picture is.
        share: of a window that shall be missing.
    """
    block = max(1, math.ceil(math.sqrt(hole.size / _CELLS)))
    coarse = blocks(hole, block)
    labels = np.zeros(coarse.shape, np.int32)
    found = Plan(hole, labels, block)
    # Holes are near where they would stand side by side in a window of the model's own side.
    reach = max(1, side // 8 // block)
    for cells, thick in _by_thickness(coarse, share * side / block):
        wide = cv2.dilate(cells.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
        count, parts = cv2.connectedComponents(wide)
        parts[~cells] = 0
        for number, extent in enumerate(_extents(parts, count), 1):
            mine = extent.cut(parts) == number
            extent.cut(labels)[mine] = len(found.groups) + 1
            tile = side
            if thick:  # what a long strip of this thickness leaves the same share of missing
                tile = max(tile, math.ceil(_thickness(mine) * block / share))
            found.groups.append(_group(found, extent, tile, side, share))
    return found


def plan_one(hole: np.ndarray, window: Box | None = None) -> Plan:
    """Show all holes through one window: a given one, or the largest square around them.

    Where no square of the picture holds them all, it is the whole picture; where next to nothing is
    known in it, it grows.
    """
    box = extent_of(hole)
    largest = min(hole.shape)
    if window is None and max(box.height, box.width) <= largest:
        window = _around(box, largest, *hole.shape)
    labels = np.ones((1, 1), np.int32)
    shown = _widened(window or Box(0, 0, *hole.shape), hole)
    return Plan(hole, labels, max(hole.shape), [Group(box, (shown,))])


def blocks(hole: np.ndarray, block: int) -> np.ndarray:
    """Which blocks of `block`×`block` pixels have a missing one, bool.

    >>> blocks(np.eye(3, dtype=bool), 2).tolist()
    [[True, False], [False, True]]
    """
    if block == 1:
        return hole
    rows, columns = (np.arange(0, length, block) for length in hole.shape)
    return np.logical_or.reduceat(np.logical_or.reduceat(hole, rows, 0), columns, 1)


def weights(window: Box, part: Box, whole: Box) -> np.ndarray:
    """How much a window's fill counts in a part of it, float32: less towards its borders.

    At the borders of the whole picture it counts in full: nothing lies beyond them.
    """
    down = _ramp(window.top, window.height, part.top, part.height, whole.height)
    across = _ramp(window.left, window.width, part.left, part.width, whole.width)
    return down[:, None] * across


def _ramp(start: int, length: int, first: int, count: int, whole: int) -> np.ndarray:
    """One over the middle half of a window, falling to its ends."""
    at = np.arange(first, first + count, dtype=np.float32) + 0.5 - start
    low = np.ones_like(at) if start == 0 else 4 * at / length
    high = np.ones_like(at) if start + length == whole else 4 * (length - at) / length
    return np.minimum(1, np.minimum(low, high))


def _group(found: Plan, cells: Box, tile: int, side: int, share: float) -> Group:
    """Look at the newest group, whose blocks lie in the box `cells`."""
    height, width = found.hole.shape
    largest, number = min(height, width), len(found.groups) + 1
    size = found.block
    around = Box(cells.top * size, cells.left * size, cells.height * size, cells.width * size)
    around &= Box(0, 0, height, width)
    marked = found.of(number, around)
    tight = extent_of(marked)
    box = Box(around.top + tight.top, around.left + tight.left, tight.height, tight.width)
    long = max(box.height, box.width)
    single = max(side, math.ceil(math.sqrt(marked.sum() / share)), math.ceil(long / _SPAN))
    single, tile = min(single, largest), min(tile, largest)
    if long <= largest and single <= tile:
        windows = [_around(box, single, height, width)]
    else:
        windows = list(_tiles(found, number, box, tile))
    return Group(box, tuple(_widened(window, found.hole) for window in windows))


def _tiles(found: Plan, number: int, box: Box, side: int) -> Iterator[Box]:
    """Squares that overlap by half, wherever there are pixels of the group."""
    height, width = found.hole.shape
    for top, above, below in _positions(box.top, box.bottom, side, height):
        for left, before, behind in _positions(box.left, box.right, side, width):
            middle = Box(above, before, below - above, behind - before) & box
            if found.of(number, middle).any():
                yield Box(top, left, side, side)


def _positions(first: int, last: int, side: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Where tiles begin along an axis, and the stretch of which each has the most inside."""
    start, end = max(0, first - side // 4), min(length, last + side // 4)
    if end - start < side:
        start = min(start, length - side)
        end = start + side
    count = 1 + math.ceil((end - start - side) / max(1, side // 2))
    starts = [start + (end - start - side) * n // max(1, count - 1) for n in range(count)]
    halfway = [(a + b + side) // 2 for a, b in pairwise(starts)]
    yield from zip(starts, [0, *halfway], [*halfway, length], strict=True)


def _widened(window: Box, hole: np.ndarray) -> Box:
    """Double a window until enough of it is known to fill from, at most to the whole picture."""
    whole = Box(0, 0, *hole.shape)
    while window != whole and window.cut(hole).mean() > LARGEST_HOLE:
        up, aside = max(1, window.height // 2), max(1, window.width // 2)
        height, width = window.height + 2 * up, window.width + 2 * aside
        window = Box(window.top - up, window.left - aside, height, width) & whole
    return window


def _by_thickness(coarse: np.ndarray, limit: float) -> Iterator[tuple[np.ndarray, bool]]:
    """The cells of what is thicker than `limit` cells, with what clings to it; then the others."""
    cells = coarse.astype(np.uint8)
    width = max(3, math.floor(limit) + 1 | 1)
    core = cv2.morphologyEx(
        cells,
        cv2.MORPH_OPEN,
        np.ones((width, width), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,  # type: ignore[call-overload]
    )
    thick = coarse & (cv2.dilate(core, np.ones((2 * width + 1,) * 2, np.uint8)) > 0)
    for found, is_thick in ((thick, True), (coarse & ~thick, False)):
        if found.any():
            yield found, is_thick


def _thickness(cells: np.ndarray) -> float:
    """About the side of the largest square that fits into what is marked, in cells."""
    framed = np.pad(cells, 1).astype(np.uint8)
    return 2 * float(cv2.distanceTransform(framed, cv2.DIST_C, 3).max()) - 1


def _extents(labels: np.ndarray, count: int) -> list[Box]:
    """The box around each label from 1 to `count` - 1."""
    rows, columns = labels.nonzero()
    found = labels[rows, columns]
    low = np.full((count, 2), np.iinfo(np.int64).max)
    high = np.zeros((count, 2), np.int64)
    for axis, at in enumerate((rows, columns)):
        np.minimum.at(low[:, axis], found, at)
        np.maximum.at(high[:, axis], found, at + 1)
    sides = high - low
    return [Box(*map(int, (*low[n], *sides[n]))) for n in range(1, count)]


def extent_of(mask: np.ndarray) -> Box:
    """The box around all that is marked."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    return Box(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)


def _around(box: Box, side: int, height: int, width: int) -> Box:
    """The square centred on a box, moved into the picture."""
    top = min(max(0, (box.top + box.bottom - side) // 2), height - side)
    left = min(max(0, (box.left + box.right - side) // 2), width - side)
    return Box(top, left, side, side)
