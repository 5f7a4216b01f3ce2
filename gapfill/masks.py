"""Seeded masks: which pixels are missing (1) and which are known (0).

A mask is a function of (seed, index, kind, size) and of nothing else: not of the batch it is drawn
in, the device, or the draws before it. So the same picture has the same hole in every comparison,
and a resumed run sees the holes that the unbroken one would have seen.

Every kind does arithmetic that is exact or correctly rounded (no convolutions, no trigonometry,
no sums whose order matters), so that a CPU and a GPU draw the same bits.

A new kind is one function under `@mask_kind("name")`: it gets the size and a source of random
numbers, ``random(count) -> [N, count]``, and returns the missing pixels, bool ``[N, size, size]``.
"""

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from gapfill.errors import UsageError

Random = Callable[[int], Tensor]
Kind = Callable[[int, Random], Tensor]

SMALLEST = 8
FILE = "file:"
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

_kinds: dict[str, Kind] = {}
KINDS: Mapping[str, Kind] = MappingProxyType(_kinds)


def mask_kind(name: str) -> Callable[[Kind], Kind]:
    """Registers the function below it as the mask kind `name`; a taken name is refused."""

    def register(function: Kind) -> Kind:
        if name in _kinds or "+" in name or name.startswith(FILE):
            raise UsageError(f"mask kind {name!r}: the name is taken or holds '+' or '{FILE}'")
        _kinds[name] = function
        return function

    return register


# Random numbers ---------------------------------------------------------------------------------

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # SplitMix64's constants, as signed 64-bit integers
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)
_CHOICE = 0x6A09E667F3BCC908  # keeps the choice among mixed kinds apart from the kinds' own draws


def uniform(seed: int, index: Tensor, count: int) -> Tensor:
    """Draws `count` numbers in [0, 1) for every index, by counting instead of by state.

    The numbers are 24 bits of a SplitMix64 hash of (seed, index, position), in integers that wrap
    around: the same on every device, whichever other indices are asked for beside it.

    Args:
        seed: any integer; it is taken modulo 2**64.
        index: int64 [N].
        count: numbers for each index; asking for more leaves the first ones as they are.

    Returns:
        float32 [N, count], on the device of `index`.

    >>> [round(number, 4) for number in uniform(0, torch.tensor([7]), 3)[0].tolist()]
    [0.5243, 0.3021, 0.941]
    """
    state = _mix(_mix(torch.full_like(index, _signed(seed))) + index)
    position = torch.arange(1, count + 1, device=index.device)
    bits = _shift(_mix(state[:, None] + position * _GOLDEN), 40)
    return bits.to(torch.float32) * 2.0**-24


def _signed(value: int) -> int:
    """The 64-bit two's complement value of any integer."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _shift(bits: Tensor, count: int) -> Tensor:
    """Shifts right without carrying the sign, which torch's `>>` would."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift(bits, 30)) * _FIRST
    bits = (bits ^ _shift(bits, 27)) * _SECOND
    return bits ^ _shift(bits, 31)


def _below(number: Tensor, count: Tensor | int) -> Tensor:
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
    height = shortest + _below(tall, longest - shortest + 1)
    width = shortest + _below(wide, longest - shortest + 1)
    rows = _span(_below(down, size - height + 1), height, size)
    columns = _span(_below(across, size - width + 1), width, size)
    return rows[:, :, None] & columns[:, None, :]


def _span(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Marks the positions start … start + length - 1 of every row: bool [N, size]."""
    position = torch.arange(size, device=start.device)
    return (position >= start[:, None]) & (position < (start + length)[:, None])


@mask_kind("half")
def half(size: int, random: Random) -> Tensor:
    """One half of the picture: the top, the bottom, the left or the right."""
    side = _below(random(1)[:, 0], 4)
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
    weights = _spline(size)
    knots = weights.shape[1]
    number = random(knots * knots)
    # Whole numbers below 2**53 in float64: every product and sum is exact, in whatever order.
    height = (number.double() * 2**24).view(len(number), knots, knots)
    weights = weights.to(number.device)
    surface = weights @ height @ weights.T
    return _lowest(surface, torch.full_like(surface[:, 0, 0], 0.25))


@lru_cache(maxsize=8)
def _spline(size: int, cells: int = 6) -> Tensor:
    """Cubic B-spline weights [size, cells + 3] over evenly spaced knots, in whole 1/4096."""
    position = (torch.arange(size, dtype=torch.float64) + 0.5) * cells / size
    distance = (position[:, None] - torch.arange(-1, cells + 2)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return (torch.where(distance < 1, near, far) * 4096).round()


@mask_kind("brush")
def brush(size: int, random: Random, strokes: int = 3, segments: int = 4) -> Tensor:
    """One to three free-form strokes that cover between 10 and 50 % of the picture.

    Each stroke wanders over a few straight segments with round ends. Its width is not drawn as
    such: all strokes swell, in their drawn proportions, until the drawn area is covered.
    """
    vertices = segments + 1
    number = random(2 + strokes + 2 * strokes * vertices)
    share = 0.1 + 0.4 * number[:, 0]
    used = 1 + _below(number[:, 1], strokes)
    width = 0.5 + number[:, 2 : 2 + strokes]
    # A stroke that is not used is so thin that no swelling makes it visible.
    width = torch.where(torch.arange(strokes, device=number.device) < used[:, None], width, 1e-6)

    walk = number[:, 2 + strokes :].view(len(number), strokes, vertices, 2)
    steps = torch.cat([walk[:, :, :1], (walk[:, :, 1:] - 0.5) * 1.2], dim=2)
    points = [steps[:, :, 0]]
    for step in steps.unbind(2)[1:]:
        points.append(1 - (1 - (points[-1] + step).abs()).abs())  # reflected at the border

    centre = (torch.arange(size, device=number.device) + 0.5) / size
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


# Drawing ----------------------------------------------------------------------------------------


def parse(kind: str) -> tuple[str, ...]:
    """Splits what the user wrote into its kinds, and refuses what is not one.

    Args:
        kind: a name from `KINDS`, ``file:PATH`` (a mask picture, or a folder of them), or several
            joined by ``+``, of which each picture gets one; naming a kind twice doubles its
            share. A PATH cannot hold a ``+``.

    Raises:
        UsageError: an unknown kind (with the nearest and the list), or a path that is not there.

    >>> parse("rect+brush")
    ('rect', 'brush')
    """
    parts = tuple(part.strip() for part in kind.split("+")) if isinstance(kind, str) else (kind,)
    for part in parts:
        if isinstance(part, str) and part.startswith(FILE):
            if not Path(part.removeprefix(FILE)).exists():
                raise UsageError(f"mask kind {part!r}: there is no such file or folder")
        elif part not in KINDS:
            near = difflib.get_close_matches(str(part), KINDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise UsageError(
                f"unknown mask kind {part!r}{hint} known are {', '.join(KINDS)}, {FILE}PATH, "
                "or several joined by '+'"
            )
    return parts


def check(kind: str) -> None:
    """Raises the UsageError that `draw` would raise for a kind it does not know."""
    parse(kind)


def draw(kind: str, index: Tensor | Iterable[int] | int, size: int, seed: int = 0) -> Tensor:
    """Draws the masks of the pictures `index`.

    Args:
        kind: what `parse` takes. In a mixture a picture's mask is the one that its kind alone
            would have given it.
        index: the pictures' numbers, integers [N] (or one number, which gives one mask).
        size: the side in pixels, at least 8.
        seed: any integer.

    Returns:
        float32 [N, 1, size, size], 1 = missing, on the device of `index`; every mask has both
        missing and known pixels.

    Raises:
        UsageError: an unknown kind, a size or an index out of range, or a mask picture that does
            not serve.

    >>> draw("center", range(2), 64).mean().item()
    0.25
    """
    parts = parse(kind)
    if size < SMALLEST:
        raise UsageError(f"a mask of size {size}: the size must be at least {SMALLEST}")
    numbers = _numbers(index)
    if len(parts) == 1:
        return _draw_one(parts[0], numbers, size, seed)
    choice = _below(uniform(seed ^ _CHOICE, numbers, 1)[:, 0], len(parts))
    masks = torch.empty(len(numbers), 1, size, size, device=numbers.device)
    for place, part in enumerate(parts):
        chosen = choice == place
        masks[chosen] = _draw_one(part, numbers[chosen], size, seed)
    return masks


def _numbers(index: Tensor | Iterable[int] | int) -> Tensor:
    numbers = torch.as_tensor(index if isinstance(index, Tensor | int) else list(index))
    whole = torch.can_cast(numbers.dtype, torch.int64) or not numbers.numel()
    if numbers.ndim > 1 or not whole:
        raise UsageError(
            f"mask index of shape {list(numbers.shape)} and type {numbers.dtype}: "
            "it must be whole numbers of shape [N]"
        )
    return numbers.long().reshape(-1)


def _draw_one(part: str, numbers: Tensor, size: int, seed: int) -> Tensor:
    if part.startswith(FILE):
        path = Path(part.removeprefix(FILE))
        bank = _bank(path, size, path.stat().st_mtime_ns).to(numbers.device)
        missing = bank[numbers % len(bank)]
    else:
        missing = KINDS[part](size, partial(uniform, seed, numbers))
    return missing[:, None].to(torch.float32)


# Mask pictures ----------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _bank(path: Path, size: int, _changed: int) -> Tensor:
    """The mask picture at `path`, or all of a folder's in the order of their names: bool [M, …].

    The time of the last change is there for the cache: an edited file is read again.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)
    if not files:
        raise UsageError(f"mask folder {path}: no picture in it; known are {', '.join(_PICTURES)}")
    return torch.stack([_read(file, size) for file in files])


def _read(file: Path, size: int) -> Tensor:
    """Reads a mask picture, white = missing, as bool [size, size]."""
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    # What a broken file raises depends on its format; each of these has been seen.
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
        raise UsageError(f"mask picture {file}: cannot be read ({error})") from error
    if picture.width != picture.height:
        raise UsageError(
            f"mask picture {file}: {picture.width} x {picture.height} pixels; a mask must be "
            f"square (it is then resized to {size} x {size}): crop or pad it"
        )
    if picture.mode.startswith("I"):  # 16 bits: converting would clip instead of scale
        grey = np.asarray(picture, dtype=np.int64) >> 8
    else:
        if picture.has_transparency_data:  # what is transparent has not been painted
            painted = picture.convert("RGBA")
            black = Image.new("RGBA", painted.size, "black")
            picture = Image.alpha_composite(black, painted)
        grey = np.asarray(picture.convert("L"))
    nearest = (np.arange(size) * 2 + 1) * len(grey) // (2 * size)
    missing = grey[np.ix_(nearest, nearest)] >= 128
    if missing.all() or not missing.any():
        colour, state = ("white", "missing") if missing.all() else ("black", "known")
        raise UsageError(
            f"mask picture {file}: all {colour}, so every pixel would be {state}; paint what is "
            "missing white and what is known black"
        )
    return torch.from_numpy(missing)


# Measures ---------------------------------------------------------------------------------------


def area(mask: Tensor) -> Tensor:
    """The missing share of every picture: float64 [N] for masks [N, 1, H, W].

    >>> area(draw("half", range(2), 64)).tolist()
    [0.5, 0.5]
    """
    return mask.flatten(1).double().mean(1)


def ring(mask: Tensor, width: int) -> Tensor:
    """Marks the known pixels within `width` pixels of the hole, diagonals counting as one step.

    Args:
        mask: float [N, 1, H, W], 1 = missing.
        width: pixels, at least 1.

    Returns:
        float [N, 1, H, W] of the mask's type, 1 in the ring.

    >>> int(ring(draw("center", 0, 64), 1).sum())  # around 32 x 32
    132
    """
    return F.max_pool2d(mask, 2 * width + 1, stride=1, padding=width) - mask


def digest(masks: Tensor) -> str:
    """The SHA-256 of a bank of masks: the same for the same holes, whatever the type or device.

    >>> digest(draw("center", range(3), 16)) == digest(draw("center", range(3), 16).bool())
    True
    """
    missing = (masks > 0.5).cpu().numpy()
    shape = "x".join(str(length) for length in missing.shape)
    return hashlib.sha256(shape.encode() + b":" + np.packbits(missing).tobytes()).hexdigest()
