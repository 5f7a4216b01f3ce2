"""Banks of masks from files: a mask picture, or a folder of them."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from gapfill.errors import UsageError
from gapfill.pictures import read_mask
from gapfill.reading.formats import SUFFIXES

FILE = "file:"


def bank(path: Path, size: int) -> Tensor:
    """Return the mask picture at `path`, or all of a folder's in the order of their names.

    Returns:
        bool [M, size, size], True = missing, on the CPU.

    Raises:
        UsageError: no picture in the folder, or one that is not square or all of one colour.
        PictureError: a picture that cannot be read.
    """
    return _bank(path, size, tuple(map(_state, _files(path))))


def _files(path: Path) -> list[Path]:
    """The mask pictures that a path stands for."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)


def _state(file: Path) -> tuple[Path, int, int, int]:
    """A file, and what changes when its content does."""
    found = file.stat()
    return file, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=8)
def _bank(path: Path, size: int, files: tuple[tuple[Path, int, int, int], ...]) -> Tensor:
    """`bank`, with the files' states for the cache: what was changed is read again."""
    if not files:
        raise UsageError(f"mask folder {path}: no picture in it; known are {', '.join(SUFFIXES)}")
    return torch.stack([_read(file, size) for file, *_ in files])


def _read(file: Path, size: int) -> Tensor:
    """Read a mask picture as bool [size, size]."""
    mask = read_mask(file)[0, 0].bool()
    height, width = mask.shape
    if width != height:
        raise UsageError(
            f"mask picture {file}: {width} x {height} pixels; a mask must be "
            f"square (it is then resized to {size} x {size}): crop or pad it"
        )
    nearest = (torch.arange(size) * 2 + 1) * height // (2 * size)
    missing = mask[nearest][:, nearest]
    if missing.all() or not missing.any():
        colour, state = ("white", "missing") if missing.all() else ("black", "known")
        raise UsageError(
            f"mask picture {file}: all {colour}, so every pixel would be {state}; paint what is "
            "missing white and what is known black"
        )
    return missing
