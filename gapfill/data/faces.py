"""The embedded face set: drawn, not photographed, for when there are no pictures to learn from.

Face `i` of set `seed` is a function of (seed, i) alone. Nothing lies on disk, and nothing is
random but a hash, so that every machine draws the same people.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from gapfill.data import _face_extras as extras
from gapfill.data import _face_parts as parts
from gapfill.data._face_traits import Dice, draw_traits
from gapfill.errors import UsageError

Array = NDArray[np.float32]

_PIXELS = 48 * 64 * 64  # drawn together: enough to amortise the calls, few enough for the cache


def generate(count: int, size: int = 64, seed: int = 0, start: int = 0) -> torch.Tensor:
    """Draw faces `start … start+count-1` of the set `seed`: uint8 [count, 3, size, size], RGB.

    A face depends on (seed, its index, size) alone: any slice of the set is the same faces.

    >>> faces = generate(3, seed=1)
    >>> faces.shape, faces.dtype
    (torch.Size([3, 3, 64, 64]), torch.uint8)
    >>> bool((generate(1, seed=1, start=2)[0] == faces[2]).all())
    True
    """
    if count < 0 or start < 0:
        raise UsageError(f"faces are counted from 0: got count={count}, start={start}")
    if not 28 <= size <= 256:
        raise UsageError(f"drawn faces come in sizes 28 to 256: got size={size}")
    # Freeing one large block makes glibc keep the chunks' many temporaries for reuse instead of
    # giving each back to the system: half as fast again.
    np.empty(24 << 20, np.uint8)
    out = np.empty((count, 3, size, size), np.uint8)
    chunk = _PIXELS // (size * size)
    for first in range(0, count, chunk):
        last = min(first + chunk, count)
        out[first:last] = _draw(seed, np.arange(start + first, start + last), size)
    return torch.from_numpy(out)


def _draw(seed: int, index: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """The faces of one chunk, painted from the back to the front."""
    dice = Dice(seed, index)
    t = draw_traits(dice)
    c = parts.Canvas(size, t)
    c.ragged, c.grain = dice.smooth(16, size), dice.smooth(30, size)
    extras.background(c, dice.smooth(4, size))
    parts.head_shape(c)
    extras.hair_behind(c)
    extras.neck(c)
    parts.ears(c)
    parts.face(c)
    _only(c, t.bearded, extras.beard)
    parts.mouth(c)
    parts.nose(c)
    parts.eyes(c)
    extras.hair_in_front(c)
    _only(c, t.spectacled, extras.glasses)
    _only(c, t.hatted, extras.hat)
    return _photograph(c, dice)


def _only(c: parts.Canvas, chosen: Array, paint: Callable[[parts.Canvas], None]) -> None:
    """Paint a rarer part on the faces whose trait `chosen` is not 0."""
    if chosen.any():
        few, which = c.some(chosen)
        paint(few)
        c.image[which] = few.image


def _photograph(c: parts.Canvas, dice: Dice) -> NDArray[np.uint8]:
    """From linear light to what a camera would save: falloff, tone curve, noise, 8 bits."""
    t, size = c.t, c.size
    edge = (c.grid / 32 - 1) ** 2
    falloff = 1 - t.vignette * (edge[None, :, None] + edge[None, None, :]) * 0.5
    image = c.image
    blurred = np.flatnonzero(t.blur)
    image[blurred] = _soften(image[blurred], t.blur[blurred])
    image *= (falloff * t.exposure)[:, None]
    np.maximum(image, 0, out=image)
    image /= 0.86 + 0.3 * image  # highlights roll off instead of clipping
    np.sqrt(image, out=image)
    image += (dice.field(size, size) * t.sensor)[:, None]
    image *= 255
    np.clip(image, 0, 255, out=image)
    return (image + 0.5).astype(np.uint8)


def _soften(image: Array, amount: Array) -> Array:
    """Blur in place with weights (a, 1 − 2a, a) along both axes; the border stays."""
    for view in (image, image.swapaxes(2, 3)):
        bend = view[:, :, :-2] + view[:, :, 2:]
        bend -= 2 * view[:, :, 1:-1]
        bend *= amount[..., None]
        view[:, :, 1:-1] += bend
    return image
