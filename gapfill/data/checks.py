"""What a user hands in as pictures, checked; what is wrong is said with the cure."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gapfill.errors import UsageError

LUMA = (0.299, 0.587, 0.114)
"""Grey of a colour, as JPEG has it (ITU-R BT.601)."""
_WANTED = "images must be uint8 or float in [0, 1]"


def check_images(images: Any) -> None:
    """Refuse what is no batch of RGB pictures, uint8 or float in [0, 1].

    Raises:
        UsageError: says what came and what is wanted.
    """
    if not isinstance(images, Tensor):
        raise UsageError(
            f"images must be a tensor [N, 3, H, W]; got {type(images).__name__}."
            f"{_as_tensor(images)}"
        )
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise UsageError(
            f"images must be [N, 3, H, W], RGB; got {list(images.shape)}.{_as_rgb(images)}"
        )
    if images.dtype == torch.uint8:
        return
    kind = str(images.dtype).removeprefix("torch.")
    if not images.is_floating_point():
        raise UsageError(f"{_WANTED}; got {kind}.{_as_bytes(images)}")
    low, high = torch.stack(torch.aminmax(images)).tolist()
    if low >= 0 and high <= 1:
        return
    wild = ~images.isfinite()
    if bool(wild.any()):
        which, count = int(wild.flatten(1).any(1).nonzero()[0]), int(wild.sum())
        raise UsageError(
            f"{_WANTED}; got {kind} with {count:,} value{'s' * (count > 1)} NaN or infinite, the "
            f"first in picture {which}. Find out where that comes from, or give "
            "x.nan_to_num().clamp(0, 1)."
        )
    digits = 1 if low < -0.05 or high > 1.05 else 7
    values = f"{low:.{digits}f} to {high:.{digits}f}".replace("-", "−")
    raise UsageError(f"{_WANTED}; got {kind} with values {values}. {_into_range(low, high)}.")


def as_rgb(images: Any) -> Any:
    """Grey pictures [N, 1, H, W] as three equal channels, without a copy; others as they are."""
    grey = isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] == 1
    return images.expand(-1, 3, -1, -1) if grey else images


def as_grey(images: Tensor) -> Tensor:
    """The luma [N, 1, H, W] of pictures [N, 3, H, W], of their dtype."""
    weights = torch.tensor(LUMA, device=images.device)[:, None, None]
    luma = (images.float() * weights).sum(1, keepdim=True)
    return (luma.round() if images.dtype == torch.uint8 else luma.clamp(0, 1)).to(images.dtype)


def _into_range(low: float, high: float) -> str:
    """What brings finite values from `low` to `high` into [0, 1], as far as the two can tell."""
    if low > -0.1 and high < 1.1:
        return "Use x.clamp(0, 1) if they overshoot"
    if low >= 0:
        if high <= 2:
            return "Divide by the value that is white in them"
        if high <= 256:
            return "Divide by 255"
        return "Divide by the value that is white in them, 65535 where they had 16 bits"
    if low >= -1.05 and high <= 1.05:
        return "Use (x + 1) / 2 if they are in [-1, 1]"
    if low > -20 and high < 20:
        return (
            "They look normalised by a mean and a standard deviation, as for ImageNet: leave that "
            "out, or undo it with x * std + mean"
        )
    if low > -256 and high < 256:
        return "They look like levels less their mean: add it again and divide by 255"
    return "Give them as they are in their files, divided by the value that is white there"


def _as_tensor(images: Any) -> str:
    if type(images).__module__.startswith("numpy"):
        return " Use torch.from_numpy(x)."
    if isinstance(images, dict):
        keys = ", ".join(map(str, images))[:80]
        return f" Its keys are {keys}: give the pictures alone."
    if isinstance(images, list | tuple) and images and isinstance(images[0], Tensor):
        return " Use torch.stack(x)."
    if type(images).__module__.startswith("PIL"):
        return " Use torchvision.transforms.functional.to_tensor(x)[None]."
    return ""


def _as_rgb(images: Tensor) -> str:
    if not images.numel():
        return " There is no picture in it."
    if images.ndim == 3:
        if images.shape[0] == 3:
            return " Use x[None] for a batch of one."
        if images.shape[2] == 3:
            return " Use x.permute(2, 0, 1)[None] for a batch of one."
        return " Use x[:, None].expand(-1, 3, -1, -1) if they are grey."
    if images.ndim != 4:
        return ""
    if images.shape[1] == 1:
        return " Use x.expand(-1, 3, -1, -1) for grey pictures."
    if images.shape[3] == 3:
        return " Use x.permute(0, 3, 1, 2) for channels that come last."
    if images.shape[1] == 4:
        return " Use x[:, :3] if the fourth channel is alpha."
    return ""


def _as_bytes(images: Tensor) -> str:
    if images.is_complex() or images.dtype == torch.bool:
        return ""
    low, high = int(images.min()), int(images.max())
    if low >= 0 and high <= 255:
        return " Use x.to(torch.uint8)." if high > 1 else " Use x.float() or x.to(torch.uint8)."
    if low >= 0:
        return f" They go up to {high}: use x.float() / 65535 if they have 16 bits."
    return ""
