"""Pictures that another program filled: found by name, checked, pasted back into the true ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gapfill.compare import bank
from gapfill.data import Table
from gapfill.errors import UsageError, some
from gapfill.pictures import pictures_in, read_picture
from gapfill.reading.regular import composed

WORD = "pictures:"
"""What begins a word after `--models` that names a folder of filled pictures."""

_FOREIGN = 32
"""Levels: known pixels that are this far off in most pictures are those of other pictures."""


@dataclass(frozen=True)
class Known:
    """What a program did to the pixels that it knew.

    Attributes:
        pictures: how many were looked at.
        changed: how many of them have a known pixel of another value.
        mean: mean absolute difference over all known pixels and channels, in levels of 255.
        most: the largest difference.
    """

    pictures: int
    changed: int
    mean: float
    most: int

    def __str__(self) -> str:
        if not self.changed:
            return "known pixels unchanged"
        return (
            f"known pixels changed in {self.changed:,} of {self.pictures:,} pictures, by "
            f"{self.mean:.2g} levels on average and {self.most} at most, and pasted back"
        )


@dataclass(frozen=True)
class Filled:
    """The pictures that another program filled under one kind of mask.

    Attributes:
        images: composites, uint8 [N, 3, S, S]: what it filled in the hole, the truth around it.
        known: what it did to the pixels around the hole.
    """

    images: Tensor
    known: Known


def check(folder: Path) -> None:
    """Refuse what cannot hold filled pictures, before anything is read.

    Raises:
        UsageError: it is no folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{WORD}{folder}: there is no such folder.")


def load(folder: Path, test: Table, banks: Mapping[str, Tensor]) -> dict[str, Filled]:
    """Read what a program made of a comparison's test pictures, under each kind of mask.

    Each kind has a sub-folder of its name; where there is one kind, it may be the folder itself.
    A bank's manifest in the folder, or beside it, is held against the test pictures first.

    Args:
        folder: where the filled pictures are, under the file names of the bank.
        test: the test pictures.
        banks: their masks by kind, [N, 1, S, S].

    Raises:
        UsageError: another bank, a missing folder or picture, another size, other pictures.
        PictureError: a picture that cannot be read.
    """
    _check_bank(folder, test, tuple(banks))
    files, found = bank.file_names(test.names), {}
    for kind, masks in banks.items():
        home = folder / bank.folder_of(kind)
        if not home.is_dir():
            if len(banks) > 1:
                raise UsageError(
                    f"{WORD}{folder} has no folder '{home.name}', where the pictures filled under "
                    f"{kind} masks belong."
                )
            home = folder
        paths = match(home, files)
        pairs = zip(paths, test.images, files, strict=True)
        images = torch.stack([read_like(path, real, file) for path, real, file in pairs])
        found[kind] = Filled(
            composite(images, test.images, masks), compared(home, off(images, test.images, masks))
        )
    return found


def _check_bank(folder: Path, test: Table, kinds: Sequence[str]) -> None:
    for place in (folder, folder.parent):
        if bank.is_bank(place):
            if other := bank.difference(bank.read(place), bank.describe(test, kinds)):
                raise UsageError(f"{WORD}{folder}: {place} is a bank of {other}.")
            return


def match(folder: Path, files: Sequence[str]) -> list[Path]:
    """The picture in `folder` for each of `files`: the one of its name, whatever its format.

    Raises:
        UsageError: some are missing, or two pictures have one name.
    """
    there = pictures_in(folder)
    stems = [composed(Path(file).stem) for file in files]
    missing = [file for file, stem in zip(files, stems, strict=True) if stem not in there]
    if missing:
        count = f"{len(missing):,} of {len(files):,} pictures"
        raise UsageError(f"{folder} lacks {count}: {some(missing)}.")
    return [there[stem] for stem in stems]


def read_like(path: Path, real: Tensor, name: str) -> Tensor:
    """Read a filled picture as uint8 [3, H, W] of the size of the true one.

    Raises:
        UsageError: it has another size.
        PictureError: it cannot be read.
    """
    image = torch.from_numpy(np.array(read_picture(path))).movedim(-1, 0)
    if image.shape != real.shape:
        (h, w), (height, width) = image.shape[1:], real.shape[1:]
        raise UsageError(f"{path} is {w}×{h} but {name} is {width}×{height}. They must match.")
    return image


def composite(images: Tensor, real: Tensor, masks: Tensor) -> Tensor:
    """The fill in the hole and the truth around it, as `inpaint` gives it."""
    return torch.where(masks.bool(), images, real)


def off(images: Tensor, real: Tensor, masks: Tensor) -> Tensor:
    """How far the known pixels of each picture are off, in levels.

    Returns:
        float64 [N, 3]: the sum of the absolute differences, of how many values, the largest.
    """
    known = (masks == 0).expand_as(real)
    apart = (images.short() - real.short()).abs().where(known, 0).flatten(1)
    return torch.stack([apart.sum(1), known.flatten(1).sum(1), apart.amax(1)], 1).double()


def compared(folder: Path, found: Tensor) -> Known:
    """Sum up what `off` found in the pictures of a folder.

    Raises:
        UsageError: so much that they must be other pictures.
    """
    sums, counts, most = found.unbind(1)
    typical = (sums / counts.clamp(min=1)).median().item()
    if typical > _FOREIGN:
        raise UsageError(
            f"{folder} holds other pictures: their known pixels differ from the true ones by "
            f"{typical:.0f} levels of 255. Names, crop and size must be those of the true ones."
        )
    return Known(
        pictures=len(found),
        changed=int((most > 0).sum()),
        mean=(sums.sum() / counts.sum().clamp(min=1)).item(),
        most=int(most.max()),
    )
