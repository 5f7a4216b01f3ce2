"""What loaders yield, in the forms in which people have it: pictures, and masks if any."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gapfill.data.checks import as_rgb, check_images
from gapfill.errors import UsageError
from gapfill.masks.given import check_mask

_PICTURES = ("image", "images", "img", "picture", "pictures", "pixel_values", "x")
_MASKS = ("mask", "masks", "hole", "holes")


def open_item(item: Any) -> tuple[Tensor, Tensor | None, Any]:
    """The pictures of a batch, its masks, and what stands where masks could and is none.

    Args:
        item: pictures, (pictures, masks or labels) or a dictionary of them, as tensors or arrays;
            [N, H, W, 3] is turned round, [N, 1, H, W] is grey.

    Returns:
        Pictures [N, 3, H, W]; masks, bool [N, 1, H, W], or None; a second thing that has the
        pictures' sides and is no mask, or None.

    Raises:
        UsageError: pictures or masks that make no sense.
    """
    second = None
    if isinstance(item, Mapping):
        name = next((name for name in _PICTURES if name in item), None)
        if name is None:
            known, found = ", ".join(_PICTURES), ", ".join(map(str, item))[:200]
            raise UsageError(f"a batch with {found} has no pictures: name them one of {known}.")
        second = next((item[name] for name in _MASKS if name in item), None)
        item = item[name]
    elif isinstance(item, list | tuple) and item:
        item, second = item[0], item[1] if len(item) > 1 else None
    images = _upright(_tensor(item))
    check_images(images)
    mask = _mask(_tensor(second), images)
    if mask is not None:
        return images, check_mask(mask, images), None
    other = isinstance(second, Tensor | np.ndarray) and second.ndim >= 3
    return images, None, second if other else None


def say_unused(second: Any) -> None:
    """Tell the user, once, of what stands beside the pictures and is no mask."""
    text = f"{list(second.shape)} {str(second.dtype).removeprefix('torch.')}"
    note = f"beside the pictures the loader gives {text}, no masks of 0 and 1: they are not used"
    tqdm.write(note, file=sys.stderr)


def pictures_of(given: Any, size: int) -> Tensor:
    """Pictures to validate on, whatever holds them: a tensor, a table, a stream, a loader, a path.

    Raises:
        UsageError: none, or pictures that make no sense.
    """
    if isinstance(given, str | Path):
        from gapfill.data.table import open_table

        return open_table(given, size).images
    if hasattr(given, "validation") and hasattr(given, "split"):
        found = given.validation
        return given.images if found is None else found
    images = getattr(given, "images", given)
    if isinstance(images, Tensor | np.ndarray):
        images = _upright(_tensor(images))
        check_images(images)
        return images
    try:
        batches = [open_item(item)[0] for item in given]
    except TypeError as error:
        raise UsageError(
            f"val takes pictures, a loader, a table or a folder, not {type(given).__name__}."
        ) from error
    if not batches:
        raise UsageError("val gave no pictures.")
    if len({each.shape[1:] for each in batches}) > 1 or len({each.dtype for each in batches}) > 1:
        raise UsageError("the batches of val are not all of one size and type.")
    return torch.cat(batches)


def check_loader(loader: Any) -> None:
    """Say what leads from pictures that are no batches yet to batches.

    Raises:
        UsageError: a folder, a table, one tensor or array, or what gives nothing at all.
    """
    images = ""
    if isinstance(loader, str | Path):
        images = f"gapfill.open_table({str(loader)[:100]!r}).part('train').images"
    elif hasattr(loader, "images") and hasattr(loader, "split"):
        images = "table.part('train').images"
    elif isinstance(loader, Tensor):
        images = "images"
    elif isinstance(loader, np.ndarray):
        images = "torch.from_numpy(images)"
    if images:
        raise UsageError(
            f"fit takes batches of pictures, not {type(loader).__name__}: "
            f"give gapfill.Stream({images})."
        )


def _tensor(value: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value


def _upright(images: Any) -> Any:
    """Channels before rows and columns, grey as RGB."""
    if not isinstance(images, Tensor) or images.ndim != 4:
        return images
    if images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    return as_rgb(images)


def _mask(second: Any, images: Tensor) -> Tensor | None:
    """The second of a batch as a mask of 0 and 1, if that is what it looks like."""
    if not isinstance(second, Tensor) or second.ndim not in (3, 4):
        return None
    if second.ndim == 3:
        second = second[:, None]
    if second.shape[1] != 1 and second.shape[3] == 1:
        second = second.permute(0, 3, 1, 2)
    if second.shape != (len(images), 1, *images.shape[2:]):
        return None
    if second.dtype == torch.uint8 and bool(((second == 0) | (second == 255)).all()):
        second = second > 0
    return second if bool(((second == 0) | (second == 1)).all()) else None
