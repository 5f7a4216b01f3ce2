"""Giving an enlarged fill the grain of its surroundings.

What a model makes of a reduced window has no detail finer than the reduced pixels, and often less.
The photo around the hole has: what enlarging the reduced window leaves out. For each patch of the
fill a known one is looked for that has its colours and is calm; what that one has, and the fill
lacks, is added.

Sources: Freeman et al. 2002, "Example-Based Super-Resolution" (detail by the nearest coarse patch);
Yi et al. 2020, "Contextual Residual Aggregation for Ultra High-Resolution Image Inpainting" (out of
the picture itself); Ashikhmin 2001, "Synthesizing Natural Textures" (neighbours copy neighbours).
Deviations: colours are compared blurred, so that a smooth fill does not ask for smooth patches;
livelier patches are kept out, since a wrong edge (a hair across a cheek) hurts more than none.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gapfill.fill.resampling import enlarge, left_out, levels
from gapfill.fill.windows import Box, extent_of

SMALLEST = 1.25
"""How far a window must have been reduced for its fill to need grain."""
_LARGEST = 128  # the longest side, after reduction, of a window in which patches are compared
_BLUR = 5  # the fill is believed down to this many reduced pixels, and supplemented below
_CALM = 10.0  # what detail costs against colour, both as mean squares
_CALMEST = 0.15  # the share of known patches that are taken from, those with least detail
_SAME = 8 / 255  # how much worse than the best a neighbour's continuation may be
_AGAIN = 1e-2  # what it costs to be taken once more

_Copy = tuple[int, int, float]  # where a patch of the fill is, and how much it lacks


class Grain:
    """The detail to be added to one window's fill.

    Args:
        picture: [3, H, W]; only what is known is looked at, also later.
        hole: bool [H, W].
        window: what the model saw.
        made: [3, h, w], the reduced window with its fill.
        missing: bool [h, w], what is filled of it.
    """

    def __init__(
        self, picture: Tensor, hole: np.ndarray, window: Box, made: Tensor, missing: Tensor
    ) -> None:
        self.picture, self.window, self.made = picture, window, made
        self.patch = max(2, min(made.shape[-2:]) // 16) * 2  # reduced pixels
        known = (~missing).float()
        # The middle band of what is known, without a trace of the fill beside it.
        coarse = _blurred(made * known) / _blurred(known[None]).clamp_min(1e-6)
        self.middle = (made - coarse) * known
        self.copies = self._copies(missing, left_out(picture, hole, window, made))

    @staticmethod
    def wanted(window: Box, made: Tensor) -> bool:
        """Whether a window was reduced so far that its fill lacks detail."""
        height, width = made.shape[-2:]
        reduced = max(window.height / height, window.width / width)
        return reduced >= SMALLEST and max(height, width) <= _LARGEST and min(height, width) >= 16

    def at(self, part: Box) -> Tensor:
        """What to add to a part of the enlarged fill, [3, h, w].

        Patches overlap; those that differ are weighted so that their variance stays.
        """
        scale = [self.window.height / self.made.shape[-2], self.window.width / self.made.shape[-1]]
        total = torch.zeros(3, part.height, part.width)
        power = torch.zeros(part.height, part.width)
        rows = _places(part.top - self.window.top, part.height, scale[0])
        columns = _places(part.left - self.window.left, part.width, scale[1])
        for (down, across), copies in self.copies.items():
            weight, lack = torch.zeros_like(power), torch.zeros_like(power)
            for top, left, much in copies:
                down_it, across_it = (rows - top) / self.patch, (columns - left) / self.patch
                bump = _bump(down_it)[:, None] * _bump(across_it)
                weight += bump
                lack += much * bump
            if not weight.any():
                continue
            inside = extent_of(weight.numpy())
            shift = round(down * scale[0]), round(across * scale[1])
            here = Box(part.top + inside.top, part.left + inside.left, inside.height, inside.width)
            source = Box(here.top + shift[0], here.left + shift[1], here.height, here.width)
            source &= self.window
            place = (
                slice(source.top - shift[0] - part.top, source.bottom - shift[0] - part.top),
                slice(source.left - shift[1] - part.left, source.right - shift[1] - part.left),
            )
            fine = levels(self.picture, source) - enlarge(self.made, self.window, source)
            middle = enlarge(self.middle, self.window, source)
            total[:, place[0], place[1]] += weight[place] * fine + lack[place] * middle
            power[place] += weight[place].square()
        return total / power.sqrt().clamp_min(1e-3)

    def _copies(self, missing: Tensor, fine: Tensor) -> dict[tuple[int, int], list[_Copy]]:
        """The patches of the fill by how far away, in reduced pixels, their source is."""
        patch, step = self.patch, self.patch // 2
        # Enlarging carries the fill two pixels out of the hole.
        known = F.max_pool2d(missing[None].float(), 5, 1, 2)[0] == 0
        whole = _means(known, patch) > 1 - 1e-4
        band = _means(self.middle.square().mean(0), patch)
        energy = _means(fine, patch) + band
        if not whole.any():
            return {}
        usable = whole & (energy <= energy[whole].quantile(_CALMEST))
        coarse = _blurred(self.made)
        lively = _means((self.made - coarse).square().mean(0), patch)
        patches = F.unfold(coarse[None], patch)[0].T.reshape(*whole.shape, -1)
        sources, costs = usable.nonzero(), _CALM * energy[usable]
        examples = patches[usable]
        holes = _means(missing, patch) > 1e-4
        taken: dict[tuple[int, int], tuple[int, int]] = {}
        found = defaultdict(list)
        for top in _grid(holes.any(1), step):
            for left in _grid(holes.any(0), step):
                if not holes[top, left]:
                    continue
                far = (examples - patches[top, left]).square().mean(1)
                best = int((far + costs).argmin())
                shift = int(sources[best, 0]) - top, int(sources[best, 1]) - left
                limit = (float(far.min()) ** 0.5 + _SAME) ** 2
                for up, back in ((0, step), (step, 0), (step, step), (step, -step)):
                    down, across = taken.get((top - up, left - back), (-top - 1, 0))
                    y, x = top + down, left + across
                    if 0 <= y < len(usable) and 0 <= x < usable.shape[1] and usable[y, x]:
                        other = (patches[y, x] - patches[top, left]).square().mean()
                        if other <= limit:
                            shift = down, across
                            break
                taken[top, left] = shift
                y, x = top + shift[0], left + shift[1]
                near = ((sources - torch.tensor([y, x])).abs() < patch).all(1)
                costs = costs + _AGAIN * near
                lacks = 1 - float(lively[top, left]) / max(float(band[y, x]), 1e-9)
                found[shift].append((top, left, max(lacks, 0.0) ** 0.5))
        return dict(found)


def _blurred(image: Tensor) -> Tensor:
    """Means over squares of `_BLUR` pixels."""
    padded = F.pad(image[None], (_BLUR // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, _BLUR, 1)[0]


def _means(values: Tensor, patch: int) -> Tensor:
    """The mean of each patch, by its corner."""
    return F.avg_pool2d(values[None].float(), patch, 1)[0]


def _grid(wanted: Tensor, step: int) -> list[int]:
    """Where patches begin along an axis, over the stretch in which some are wanted."""
    places = wanted.nonzero()[:, 0]
    last = len(wanted) - 1
    starts = range(int(places[0]), int(places[-1]) + step, step)
    return list(dict.fromkeys(min(start, last) for start in starts))


def _places(first: int, count: int, scale: float) -> Tensor:
    """The middle of each pixel of the picture, in reduced pixels."""
    return (torch.arange(first, first + count) + 0.5) / scale


def _bump(at: Tensor) -> Tensor:
    """How much a patch counts between its ends, 0 and 1, by Hann's window: halves add up to one."""
    return torch.where((at > 0) & (at < 1), torch.sin(torch.pi * at).square(), 0)
