"""How much of a photo a model sees around its holes, as `--context` says."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.fill import faces
from gapfill.fill.windows import Box, Plan, extent_of, plan, plan_one

_THIN = 3.0


def look(picture: Tensor, hole: np.ndarray, side: int, context: str = "auto") -> Plan:
    """Choose windows as `context` says.

    Args:
        picture: [3, H, W], in which faces are looked for.
        hole: bool [H, W], true = missing.
        side: of the pictures that the model knows.
        context: `hole`, a window for each hole of which a quarter is missing; a number, of which
            that share is; `face`, for holes in a face the square that models of faces are trained
            to see; `auto`, the same where scikit-image is installed and finds a face, else `hole`;
            `whole`, the largest square of the picture; `LEFT,TOP,SIDE`, the square at that place.

    Raises:
        UsageError: anything else, a square that does not hold all holes, or `face` without one.
    """
    if context == "hole":
        return plan(hole, side)
    if context == "whole":
        return plan_one(hole)
    if context in ("auto", "face"):
        return _in_faces(picture, hole, side, asked=context == "face")
    words = context.split(",")
    try:
        if len(words) == 1 and 0 < float(context) < 1:
            return plan(hole, side, float(context))
        left, top, size = map(int, words)
    except ValueError:
        left = top = size = 0
    if size < 1:
        raise UsageError(
            "--context must be auto, hole, face, whole, a share such as 0.1, or a square as "
            f"LEFT,TOP,SIDE; got {context!r}."
        )
    square, whole, holes = Box(top, left, size, size), Box(0, 0, *hole.shape), extent_of(hole)
    if square & whole != square:
        raise UsageError(
            f"--context {context}: the square leaves the picture of {whole.width}×{whole.height}."
        )
    if square & holes != holes:
        raise UsageError(
            f"--context {context}: the holes reach from {holes.left},{holes.top} to "
            f"{holes.right},{holes.bottom} (left,top), beyond the square. Mark only what is in it."
        )
    return plan_one(hole, square)


def _in_faces(picture: Tensor, hole: np.ndarray, side: int, asked: bool) -> Plan:
    """Windows as `plan` chooses them, but the face's square for a hole in a face.

    What would mostly be thinner than `_THIN` pixels there keeps its windows: it needs no face to be
    filled from, and would lose by being reduced.
    """
    found = plan(hole, side)
    if not asked and (min(hole.shape) <= side or not faces.can_be_found()):
        return found
    least = _THIN * faces.smallest(*hole.shape) / side
    if not asked and all(
        max(group.box.height, group.box.width) > min(hole.shape)
        or _thin(found.of(number, group.box), least)
        for number, group in enumerate(found.groups, 1)
    ):
        return found  # too long or too thin for any face, which takes a second to look for
    squares, groups, seen = faces.squares(picture, hole), [], False
    for number, group in enumerate(found.groups, 1):
        around = [square for square in squares if square & group.box == group.box]
        if around:
            seen = True
            square = sorted(around, key=lambda square: square.height)[len(around) // 2]
            if not _thin(found.of(number, group.box), _THIN * square.height / side):
                group = replace(group, windows=(square,))
        groups.append(group)
    if asked and not seen:
        raise UsageError(
            "--context face: no hole lies in a face that was found. Faces must be upright, look "
            "ahead and show enough of themselves; else give the face's square as LEFT,TOP,SIDE."
        )
    return replace(found, groups=groups)


def _thin(marked: np.ndarray, side: float) -> bool:
    """Whether squares of that side fit into less than half of what is marked."""
    square = np.ones((max(1, round(side)),) * 2, np.uint8)
    cells = np.pad(marked, max(square.shape)).astype(np.uint8)
    return 2 * int(cv2.morphologyEx(cells, cv2.MORPH_OPEN, square).sum()) < int(marked.sum())
