"""Metrics that compare a filled picture with the true one, pixel by pixel.

All of them are pure functions of uint8 pictures [N, 3, H, W], as they would be saved, and masks
[N, 1, H, W] with 1 = missing, on any device, and return one number a picture: float64 [N].
Differences of levels and their squares are whole numbers, which float32 holds exactly; float64
holds their sums. So only what is no whole number, as in SSIM, is computed in float64 throughout.

A new metric is one function under `@metric(...)`: it takes ``(filled, real, mask)`` and returns
float64 [N].
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gapfill.config import nearest
from gapfill.errors import UsageError

Score = Callable[[Tensor, Tensor, Tensor], Tensor]
_Score = TypeVar("_Score", bound=Score)

WINDOW = 11
_SIGMA = 1.5
# Pictures scored at once: what a CPU's caches hold, and enough to keep a GPU busy.
_CHUNK, _CHUNK_CUDA = 64, 512

# What rounding to whole levels alone leaves behind: two independent errors, each uniform over one
# level, differ by 1/6 in the mean square and by 1/3 in the mean. Added above and below, they keep
# the ratios finite where the truth is flat, and weigh nothing beside any visible texture.
_SQUARE_NOISE = 1 / 6
_NOISE = 1 / 3


@dataclass(frozen=True)
class Metric:
    """A metric under its key, with what a table needs to show it.

    `better` says which values are good: the higher, the lower, or those near one.
    """

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower", "one"]
    digits: int
    function: Score


_metrics: dict[str, Metric] = {}
METRICS: Mapping[str, Metric] = MappingProxyType(_metrics)


def metric(
    key: str, title: str, unit: str, *, better: Literal["higher", "lower", "one"], digits: int
) -> Callable[[_Score], _Score]:
    """Registers the function below it under `key`; a taken key is refused."""

    def register(function: _Score) -> _Score:
        if key in _metrics:
            raise UsageError(f"metric {key!r}: the key is taken by {_metrics[key].title!r}")
        _metrics[key] = Metric(key, title, unit, better, digits, function)
        return function

    return register


def score(
    filled: Tensor,
    real: Tensor,
    mask: Tensor,
    keys: Iterable[str] | None = None,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Computes metrics for every picture, some pictures at a time.

    Args:
        filled: uint8 [N, 3, H, W].
        real: as many.
        mask: [N, 1, H, W], or [1, 1, H, W] for all.
        keys: of the metrics; without them all of `METRICS`.
        device: where to compute; without it where the pictures are.

    Returns:
        key -> float64 [N], in the order of `METRICS`, on the device of `filled`.

    Raises:
        UsageError: a key that is none, pictures that are not uint8 [N, 3, H, W], a mask of another
            size or with other values than 0 and 1, or a picture without a hole.
    """
    _hole(filled, real, mask)
    chosen = list(METRICS) if keys is None else [_known(key) for key in keys]
    device = filled.device if device is None else device
    size = _CHUNK_CUDA if device.type == "cuda" else _CHUNK
    chosen.sort(key=list(METRICS).index)
    parts: dict[str, list[Tensor]] = {key: [] for key in chosen}
    mask = mask.expand(len(real), -1, -1, -1)
    for chunk in zip(*(each.split(size) for each in (filled, real, mask)), strict=True):
        moved = [each.to(device) for each in chunk]
        for key in chosen:
            parts[key].append(METRICS[key].function(*moved).to(filled.device))
    return {key: torch.cat(parts[key]) for key in chosen}


def _known(key: str) -> str:
    """The key of a metric, or what is wrong with it."""
    if key not in METRICS:
        raise UsageError(f"there is no metric '{key}'. {nearest(key, METRICS)}")
    return key


def summary(values: Tensor) -> dict[str, Any]:
    """Sums up one metric over a set: mean, standard error of the mean, and the count.

    The standard error is the sample standard deviation over the square root of n. JSON knows
    neither infinity nor NaN (and identical pictures have an infinite PSNR): where the mean would
    be one of them, it is None, and a note says why.

    >>> summary(torch.tensor([1.0, 2.0, 3.0]))
    {'mean': 2.0, 'se': 0.5773502691896258, 'n': 3}
    >>> summary(torch.tensor([1.0, float("inf")]))["note"]
    '1 of 2 values are not finite: no mean'
    """
    values = values.double()
    count = values.numel()
    wild = count - int(values.isfinite().sum())
    if wild or not count:
        note = f"{wild} of {count} values are not finite: no mean" if wild else "no values"
        return {"mean": None, "se": None, "n": count, "note": note}
    error = values.std().item() / math.sqrt(count) if count > 1 else None
    return {"mean": values.mean().item(), "se": error, "n": count}


# In the hole, and over the whole picture --------------------------------------------------------


@metric("hole_psnr", "hole PSNR", "dB", better="higher", digits=2)
def psnr_hole(filled: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """PSNR over the missing pixels and all channels, in dB; infinite for identical ones.

    It is below the `psnr` of the composited picture by exactly 10·log10(1 / missing share).
    """
    hole = _hole(filled, real, mask)
    return _decibels(_mean((filled.float() - real.float()).square(), hole))


@metric("psnr", "PSNR", "dB", better="higher", digits=2)
def psnr(filled: Tensor, real: Tensor, _mask: Tensor | None = None) -> Tensor:
    """PSNR over all pixels and channels, in dB; infinite for identical pictures."""
    _pair(filled, real)
    return _decibels(_sum((filled.float() - real.float()).square()) / real.shape[1:].numel())


@metric("hole_ssim", "hole SSIM", "", better="higher", digits=4)
def ssim_hole(filled: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Mean of the SSIM map over the windows whose centre is missing.

    Only windows that lie fully inside the picture count, as in `ssim`. Where no missing pixel is
    the centre of one (a hole within five pixels of the border), the mean is over the windows that
    overlap the hole.
    """
    hole = _hole(filled, real, mask)
    quality = _ssim_map(filled, real)
    margin = WINDOW // 2
    chosen = hole[:, :, margin:-margin, margin:-margin].clone()
    without = ~chosen.flatten(1).any(1)
    chosen[without] = F.max_pool2d(hole[without].float(), WINDOW, stride=1) > 0
    return _mean(quality, chosen)


@metric("ssim", "SSIM", "", better="higher", digits=4)
def ssim(filled: Tensor, real: Tensor, _mask: Tensor | None = None) -> Tensor:
    """SSIM after Wang et al. 2004: Gaussian windows of 11 × 11, σ = 1.5, range 1.

    The mean over the windows that lie fully inside the picture, a channel at a time, with
    population covariances: what scikit-image gives for ``gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False``.
    """
    return _ssim_map(filled, real).mean((1, 2, 3))


@metric("hole_l1", "hole L1", "", better="lower", digits=4)
def l1_hole(filled: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference over the missing pixels and all channels, black to white = 1."""
    hole = _hole(filled, real, mask)
    return _mean((filled.float() - real.float()).abs(), hole) / 255


@metric("l1", "L1", "", better="lower", digits=4)
def l1(filled: Tensor, real: Tensor, _mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference over all pixels and channels, black to white = 1."""
    _pair(filled, real)
    return _sum((filled.float() - real.float()).abs()) / real.shape[1:].numel() / 255


# How it looks -----------------------------------------------------------------------------------


@metric("sharpness", "sharpness", "", better="one", digits=2)
def sharpness(filled: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Gradient energy in the hole, filled over real: 1 is as sharp as the truth, below is blurry.

    The energy is the mean, over neighbours (right and below) that are both missing and over the
    three colour channels, of the squared difference in levels, plus the 1/6 that rounding alone
    would leave. A hole without two neighbouring pixels scores 1.
    """
    hole = _hole(filled, real, mask)
    across, down = _neighbours(hole)
    inside = (across[0] & across[1], down[0] & down[1])
    energy, truth = (_over_pairs(_jumps(image, square=True), inside) for image in (filled, real))
    return (energy + _SQUARE_NOISE) / (truth + _SQUARE_NOISE)


@metric("seam", "seam", "", better="one", digits=2)
def seam(filled: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute jump across the hole's border, filled over real: above 1 the border shows.

    A jump is the difference in levels between a missing pixel and a known one right, left, above
    or below it, in each colour channel; the 1/3 that rounding alone would leave is added to both
    means. A hole that leaves no pixel known scores 1.
    """
    hole = _hole(filled, real, mask)
    across, down = _neighbours(hole)
    border = (across[0] ^ across[1], down[0] ^ down[1])
    jump, truth = (_over_pairs(_jumps(image, square=False), border) for image in (filled, real))
    return (jump + _NOISE) / (truth + _NOISE)


def diversity(samples: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference in the hole between two fills of one picture, over all pairs.

    Args:
        samples: uint8 [S, N, 3, H, W], at least two fills of each of N pictures.
        mask: [N, 1, H, W].

    Returns:
        float64 [N], black to white = 1; 0 for a method that always fills alike.
    """
    if samples.ndim != 5 or len(samples) < 2:
        raise UsageError(
            f"diversity: samples of shape {tuple(samples.shape)}; it takes at least two fills of "
            "each picture, uint8 [S, N, 3, H, W]"
        )
    hole = _hole(samples[0], samples[1], mask)
    count = len(samples)
    # Sorted, the k-th smallest of S values stands above k others and below S - 1 - k: so the sum
    # over all pairs needs no pairs.
    rank = torch.arange(count, dtype=torch.float64, device=samples.device)
    ordered = samples.sort(dim=0).values.double()
    total = torch.einsum("s,snchw->nchw", 2 * rank - (count - 1), ordered)
    return _mean(total, hole) / (count * (count - 1) / 2) / 255


# Parts ------------------------------------------------------------------------------------------


def _pair(filled: Tensor, real: Tensor) -> None:
    for name, image in (("filled", filled), ("real", real)):
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] != 3:
            raise UsageError(
                f"{name} pictures: {image.dtype} {list(image.shape)}; metrics take what would be "
                "saved, torch.uint8 [N, 3, H, W]: round first"
            )
    if filled.shape != real.shape:
        raise UsageError(
            f"filled pictures {list(filled.shape)}, real ones {list(real.shape)}: "
            "they must have the same shape"
        )


def _hole(filled: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Checks the inputs and returns the mask as bool."""
    _pair(filled, real)
    expected = [len(real), 1, *real.shape[2:]]
    if list(mask.shape) == [1, *expected[1:]]:
        mask = mask.expand(expected)
    if list(mask.shape) != expected:
        raise UsageError(f"mask of shape {list(mask.shape)}; these pictures need {expected}")
    hole = mask == 1
    if not (hole | (mask == 0)).all():
        raise UsageError("mask: it holds other values than 0 (known) and 1 (missing)")
    empty = (~hole.flatten(1).any(1)).nonzero()[:, 0].tolist()
    if empty:
        raise UsageError(
            f"mask: no pixel is missing in {len(empty)} of {len(hole)} pictures (the first is "
            f"number {empty[0]}); there is no hole to score"
        )
    return hole


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Means [N] of values [N, C, H, W] over the positions [N, 1, H, W] and all channels."""
    total = _sum(torch.where(where, values, 0))
    return total / (where.sum((1, 2, 3)) * values.shape[1])


def _sum(values: Tensor) -> Tensor:
    """Sums [N] of maps [N, C, H, W], in float64.

    Whole numbers up to 255² are added exactly along a row of 258 pixels in float32 already; a
    longer row rounds its sum to seven digits, 1e-6 dB. It saves a map in float64.
    """
    return values.sum(3).sum((1, 2), dtype=torch.float64)


def _decibels(error: Tensor) -> Tensor:
    return 10 * torch.log10(255**2 / error)


def _ssim_map(filled: Tensor, real: Tensor) -> Tensor:
    """SSIM of every window inside the picture: float64 [N, 3, H - 10, W - 10]."""
    _pair(filled, real)
    if min(real.shape[2:]) < WINDOW:
        raise UsageError(
            f"SSIM of pictures of {real.shape[2]} x {real.shape[3]} pixels: its window needs "
            f"at least {WINDOW} x {WINDOW}"
        )
    x, y = filled.double() / 255, real.double() / 255
    mean_x, mean_y, xx, yy, xy = (_blur(values) for values in (x, y, x * x, y * y, x * y))
    small, smaller = 0.01**2, 0.03**2
    covariance, variances = xy - mean_x * mean_y, xx - mean_x**2 + yy - mean_y**2
    likeness = (2 * mean_x * mean_y + small) * (2 * covariance + smaller)
    return likeness / ((mean_x**2 + mean_y**2 + small) * (variances + smaller))


def _blur(values: Tensor) -> Tensor:
    """Gaussian means over the windows inside the picture.

    Products with banded matrices: on a CPU several times faster than float64 convolutions.
    """
    height, width = (_windows(length, values.device) for length in values.shape[2:])
    return height.T @ (values @ width)


def _windows(length: int, device: torch.device) -> Tensor:
    """The weights [length, length - 10] of every window along one side, a column a window."""
    position = torch.arange(length, dtype=torch.float64, device=device)
    margin = WINDOW // 2
    offset = position[:, None] - position[margin:-margin]
    weights = torch.exp(-((offset / _SIGMA) ** 2) / 2).where(offset.abs() <= margin, 0)
    return weights / weights.sum(0)


def _jumps(image: Tensor, *, square: bool) -> tuple[Tensor, Tensor]:
    """Differences to the right and the lower neighbour, squared or absolute."""
    levels = image.float()
    across, down = levels.diff(dim=3), levels.diff(dim=2)
    return (across.square(), down.square()) if square else (across.abs(), down.abs())


def _neighbours(hole: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The hole at both ends of every horizontal and every vertical pair of neighbours."""
    return (
        (hole[..., :, :-1], hole[..., :, 1:]),
        (hole[..., :-1, :], hole[..., 1:, :]),
    )


def _over_pairs(jumps: tuple[Tensor, Tensor], chosen: tuple[Tensor, Tensor]) -> Tensor:
    """Mean [N] of the jumps over the chosen pairs and all channels; 0 where there are none."""
    sums = [_sum(torch.where(w, v, 0)) for v, w in zip(jumps, chosen, strict=True)]
    counts = [where.sum((1, 2, 3)) * jumps[0].shape[1] for where in chosen]
    return (sums[0] + sums[1]) / (counts[0] + counts[1]).clamp(min=1)
