"""Seeded masks: which pixels are missing (1) and which are known (0).

A mask is a function of (seed, index, kind, size) and of nothing else: not of the batch it is drawn
in, the device, or the draws before it. So the same picture has the same hole in every comparison,
and a resumed run sees the holes that the unbroken one would have seen.
"""

import difflib
import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.masks.files import FILE, INVERTED, bank, is_file, look, path_of
from gapfill.masks.given import check_mask
from gapfill.masks.kinds import KINDS, Kind, Random, below, mask_kind
from gapfill.randomness import uniform
from gapfill.reading.regular import is_there, shortened

__all__ = [
    "KINDS",
    "SMALLEST",
    "Handed",
    "Kind",
    "Random",
    "area",
    "banks",
    "check",
    "describe",
    "digest",
    "draw",
    "few",
    "inverted_files",
    "mask_kind",
    "parse",
    "placed",
    "ring",
    "square",
    "uniform",
]

SMALLEST = 8
_CHOICE = 0x6A09E667F3BCC908  # keeps the choice among mixed kinds apart from the kinds' own draws


class Handed(str):
    """The kind of masks that somebody has as a tensor: each picture gets one of them, in turn.

    As a text it is a name with their digest, so that a run under other masks is another run.

    Args:
        masks: [M, 1, S, S], 0 and 1, 1 = missing.
        name: what to call them instead.

    Raises:
        UsageError: shapes, values or holes that make no sense.
    """

    bank: Tensor

    def __new__(cls, masks: Tensor, name: str = "") -> Self:
        """Check the masks and name them."""
        if not isinstance(masks, Tensor) or masks.ndim != 4 or masks.shape[-1] != masks.shape[-2]:
            came = list(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
            raise UsageError(f"masks to train with must be a tensor [M, 1, S, S]; got {came}.")
        if not masks.numel():
            raise UsageError(f"there are no masks to train with; got {list(masks.shape)}.")
        checked = check_mask(masks, masks.new_zeros(len(masks), 3, *masks.shape[2:]))
        made = super().__new__(cls, name or f"tensor:{digest(checked)[:16]}")
        made.bank = checked[:, 0].cpu()
        return made


def parse(kind: str) -> tuple[str, ...]:
    """Splits what the user wrote into its kinds, and refuses what is not one.

    Args:
        kind: a name from `KINDS`, ``file:PATH`` (a mask picture, or a folder of them), or several
            joined by ``+``, of which each picture gets one; naming a kind twice doubles its
            share. ``inverted-file:PATH`` has black missing instead of white.

    Raises:
        UsageError: an unknown kind (with the nearest and the list), or a path that is not there.

    >>> parse("rect+brush")
    ('rect', 'brush')
    """
    parts = _split(kind)
    for part in parts:
        if isinstance(part, Handed):
            continue
        if isinstance(part, str) and is_file(part):
            if not is_there(path_of(part)):
                shown = shortened(part)
                raise UsageError(f"mask kind {shown!r}: there is no such file or folder")
        elif part not in KINDS:
            shown = shortened(str(part))
            near = difflib.get_close_matches(shown, KINDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise UsageError(
                f"unknown mask kind {shown!r}{hint} known are {', '.join(KINDS)}, {FILE}PATH, "
                f"inverted-{FILE}PATH, or several joined by '+'"
            )
    return parts


def _split(kind: str, given: Container[str] = ()) -> tuple[str, ...]:
    """The parts between the `+`, of which a path that is there, or is given, may hold some."""
    if isinstance(kind, Handed) or not isinstance(kind, str):
        return (kind,)
    pieces, parts = kind.split("+"), []
    while pieces:
        count = 1
        if is_file(pieces[0].strip()):
            for longer in range(len(pieces), 1, -1):
                part = "+".join(pieces[:longer]).strip()
                if part in given or is_there(path_of(part)):
                    count = longer
                    break
        parts.append("+".join(pieces[:count]).strip())
        pieces = pieces[count:]
    return tuple(parts)


def inverted_files(kinds: Iterable[str]) -> tuple[str, ...]:
    """The kinds with the masks in files the other way round: black missing instead of white.

    Raises:
        UsageError: none of them lies in a file.

    >>> inverted_files(["center", "rect+file:holes.png"])
    ('center', 'rect+inverted-file:holes.png')
    """
    kinds = tuple(kinds)
    changed = tuple("+".join(map(_inverted, _split(kind))) for kind in kinds)
    if changed == kinds:
        raise UsageError(
            f"--invert-mask is for masks in files ({FILE}PATH); got {', '.join(map(str, kinds))}"
        )
    return changed


def _inverted(part: str) -> str:
    if part.startswith(INVERTED):
        return FILE + part.removeprefix(INVERTED)
    return INVERTED + part.removeprefix(FILE) if part.startswith(FILE) else part


def describe(kind: str) -> str:
    """The kind in words: masks in files with their number and the share that they hide."""
    words = []
    for part in parse(kind):
        if isinstance(part, Handed):
            count = len(part.bank)
            share = part.bank.float().mean().item()
            words.append(f"{part} ({count:,} mask{'s' * (count > 1)}, {share:.0%} missing)")
        elif is_file(part):
            count, share = look(part)
            pictures = f"{count:,} picture{'s' * (count > 1)}"
            # An outer frame may well be missing; but mostly such masks are the other way round.
            doubt = ": or the other way round? --invert-mask" if share > 0.5 else ""
            words.append(f"{part} ({pictures}, {share:.0%} missing{doubt})")
        else:
            words.append(part)
    return "+".join(words)


def few(kind: str) -> bool:
    """Whether the kind has a number of masks of its own, rather than another for each picture."""
    return any(isinstance(part, Handed) or is_file(part) for part in parse(kind))


def check(kind: str) -> None:
    """Raises what `draw` would raise for a kind it does not know, or for masks that do not serve.

    Of a folder of masks it looks at some, so that one whose masks are the other way round is
    refused before anything else is read.
    """
    for part in parse(kind):
        if is_file(part):
            look(part)


def banks(kind: str, size: int) -> dict[str, Tensor]:
    """The mask pictures of a kind's files as they are now, bool [M, size, size] by their part.

    Given to `draw`, they stay the masks of a run even if the files change meanwhile.

    Raises:
        UsageError: an unknown kind, or a mask picture that does not serve.
        PictureError: a mask picture that cannot be read.
    """
    return {part: bank(part, size) for part in dict.fromkeys(filter(is_file, parse(kind)))}


def draw(
    kind: str,
    index: Tensor | Iterable[int] | int,
    size: int,
    seed: int = 0,
    given: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Draws the masks of the pictures `index`.

    Args:
        kind: what `parse` takes. In a mixture a picture's mask is the one that its kind alone
            would have given it.
        index: the pictures' numbers, integers [N] (or one number, which gives one mask).
        size: the side in pixels, at least 8.
        seed: any integer.
        given: mask pictures that `banks` has read before; without them the files are looked at.

    Returns:
        float32 [N, 1, size, size], 1 = missing, on the device of `index`; every mask has both
        missing and known pixels.

    Raises:
        UsageError: an unknown kind, a size or an index out of range, or a mask picture that does
            not serve.
        PictureError: a mask picture that cannot be read.

    >>> draw("center", range(2), 64).mean().item()
    0.25
    """
    parts = parse(kind) if given is None else _split(kind, given)
    if size < SMALLEST:
        raise UsageError(f"a mask of size {size}: the size must be at least {SMALLEST}")
    numbers = _numbers(index)
    given = banks(kind, size) if given is None else given
    if len(parts) == 1:
        return _draw_one(parts[0], numbers, size, seed, given)
    choice = below(uniform(seed ^ _CHOICE, numbers, 1)[:, 0], len(parts))
    one = partial(_draw_one, size=size, seed=seed, given=given)
    return (_pick if numbers.device.type == "cpu" else _select)(parts, choice, numbers, one)


_One = Callable[[str, Tensor], Tensor]  # the masks that a kind gives some pictures


def _pick(parts: tuple[str, ...], choice: Tensor, numbers: Tensor, one: _One) -> Tensor:
    """The masks of a mixture, each drawn by itself: the least work."""
    masks = [one(part, numbers[choice == place]) for place, part in enumerate(parts)]
    made = masks[0].new_empty(len(numbers), *masks[0].shape[1:])
    for place, mask in enumerate(masks):
        made[choice == place] = mask
    return made


def _select(parts: tuple[str, ...], choice: Tensor, numbers: Tensor, one: _One) -> Tensor:
    """The same with every kind drawn for every picture: a GPU need not say how many has which."""
    made = one(parts[0], numbers)
    for place, part in enumerate(parts[1:], 1):
        made = torch.where((choice == place)[:, None, None, None], one(part, numbers), made)
    return made


def placed(kind: str, given: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Mask pictures for `draw` to take on a device: those `given`, and those handed as a kind."""
    handed = {part: part.bank for part in _split(kind, given) if isinstance(part, Handed)}
    return {part: pictures.to(device) for part, pictures in {**given, **handed}.items()}


def _numbers(index: Tensor | Iterable[int] | int) -> Tensor:
    numbers = torch.as_tensor(index if isinstance(index, Tensor | int) else list(index))
    whole = torch.can_cast(numbers.dtype, torch.int64) or not numbers.numel()
    if numbers.ndim > 1 or not whole:
        raise UsageError(
            f"mask index of shape {list(numbers.shape)} and type {numbers.dtype}: "
            "it must be whole numbers of shape [N]"
        )
    return numbers.long().reshape(-1)


def _draw_one(
    part: str, numbers: Tensor, size: int, seed: int, given: Mapping[str, Tensor]
) -> Tensor:
    if isinstance(part, Handed) or is_file(part):
        pictures = part.bank if isinstance(part, Handed) and part not in given else given[part]
        pictures = pictures.to(numbers.device)
        if pictures.shape[-1] != size:
            side = pictures.shape[-1]
            raise UsageError(f"the masks are {side}×{side}, and the pictures {size}×{size}.")
        missing = pictures[numbers % len(pictures)]
    else:
        missing = KINDS[part](size, partial(uniform, seed, numbers))
    return missing[:, None].to(torch.float32)


def area(mask: Tensor) -> Tensor:
    """The missing share of every picture: float64 [N] for masks [N, 1, H, W].

    >>> area(draw("half", range(2), 64)).tolist()
    [0.5, 0.5]
    """
    return mask.flatten(1).double().mean(1)


def square(mask: Tensor) -> Tensor:
    """Whether each picture's hole is one solid square: bool [N] for masks [N, 1, H, W].

    >>> square(draw("center", range(2), 64)).tolist(), square(draw("brush", 0, 64)).tolist()
    ([True, True], [False])
    """
    missing = mask[:, 0].bool()
    rows, columns = missing.any(2), missing.any(1)
    side = rows.sum(1)
    solid = (columns.sum(1) == side) & (missing.sum((1, 2)) == side**2)
    starts = [F.pad(line.int(), (1, 0)).diff(dim=1).eq(1).sum(1) for line in (rows, columns)]
    return solid & (starts[0] == 1) & (starts[1] == 1)


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
