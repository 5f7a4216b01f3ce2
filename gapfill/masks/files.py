"""Banks of masks from files: a mask picture, or a folder of them."""

import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.masks.given import LARGEST_HOLE
from gapfill.pictures import read_mask
from gapfill.reading.formats import SUFFIXES
from gapfill.reading.regular import expand, is_hidden, shortened

FILE = "file:"
INVERTED = "inverted-file:"
"""The kinds of masks that lie in files, with white missing and with black missing."""

_LOOKED_AT = 8  # of a folder's mask pictures, before anything else is read


def is_file(part: str) -> bool:
    """Whether a kind of mask lies in a file or a folder."""
    return part.startswith((FILE, INVERTED))


def path_of(part: str) -> Path:
    """The file or folder of a kind of mask.

    Raises:
        UsageError: it begins with a home folder that nobody knows.
    """
    return expand(part.removeprefix(INVERTED).removeprefix(FILE))


def bank(part: str, size: int) -> Tensor:
    """Return the mask picture that a kind names, or all of a folder's in the order of their names.

    Returns:
        bool [M, size, size], True = missing, on the CPU.

    Raises:
        UsageError: no picture in the folder, or one that is not square, is no mask, or marks
            nothing or nearly everything as missing.
        PictureError: a picture that cannot be read.
    """
    return _bank(part, size, tuple(map(_state, _files(path_of(part)))))


def look(part: str, size: int = 64) -> tuple[int, float]:
    """Look at some of the mask pictures that a kind names, and raise what `bank` would.

    Returns:
        How many masks there are, and the mean share that those looked at mark as missing.
    """
    files = _files(path_of(part))
    shown = torch.linspace(0, len(files) - 1, min(_LOOKED_AT, len(files))).round().long().unique()
    masks = _bank(part, size, tuple(_state(files[number]) for number in shown.tolist()))
    return len(files), masks.float().mean().item()


def _files(path: Path) -> list[Path]:
    """The mask pictures that a path stands for, those of sub-folders too."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    entered: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        stat = Path(folder).stat()
        if (stat.st_dev, stat.st_ino) in entered:  # a link to where we are or were
            folders.clear()
            continue
        entered.add((stat.st_dev, stat.st_ino))
        folders[:] = [name for name in sorted(folders) if not is_hidden(name)]
        found += [
            Path(folder, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not is_hidden(name)
        ]
    if not found:
        raise UsageError(
            f"mask folder {path}: no picture in it, nor in the folders in it; known are "
            f"{', '.join(SUFFIXES)}"
        )
    return sorted(found)


def _state(file: Path) -> tuple[Path, int, int, int]:
    """A file, and what changes when its content does."""
    try:
        found = file.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"mask picture {shortened(file)}: {reason}") from error
    return file, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=16)
def _bank(part: str, size: int, files: tuple[tuple[Path, int, int, int], ...]) -> Tensor:
    """`bank`, with the files' states for the cache: what was changed is read again."""
    inverted = part.startswith(INVERTED)
    return torch.stack([_read(file, size, inverted) for file, *_ in files])


def _read(file: Path, size: int, inverted: bool) -> Tensor:
    """Read a mask picture as bool [size, size]."""
    mask = read_mask(file)[0, 0].bool()
    height, width = mask.shape
    if width != height:
        raise UsageError(
            f"mask picture {file}: {width}×{height} pixels; a mask must be "
            f"square (it is then resized to {size}×{size}): crop or pad it"
        )
    nearest = (torch.arange(size) * 2 + 1) * height // (2 * size)
    missing = mask[nearest][:, nearest] ^ inverted
    black, white = ("missing", "known") if inverted else ("known", "missing")
    if missing.all() or not missing.any():
        state = "missing" if missing.all() else "known"
        colour = "white" if state == white else "black"
        if not mask.all() and mask.any():
            raise UsageError(
                f"mask picture {file}: at {size}×{size} it is all {colour}; what it has in the "
                "other colour is too thin"
            )
        raise UsageError(
            f"mask picture {file}: all {colour}, so every pixel would be {state}; paint what is "
            f"{white} white and what is {black} black"
        )
    share = missing.float().mean().item()
    if share > LARGEST_HOLE:
        colour, cure = ("white", "use --invert-mask") if not inverted else ("black", "leave it out")
        raise UsageError(
            f"mask picture {file}: {share:.0%} of it is {colour}, which means missing; if yours is "
            f"the other way round, {cure} (in Python and recipes, {INVERTED}PATH is the inverse of "
            f"{FILE}PATH)"
        )
    return missing
