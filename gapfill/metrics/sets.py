"""Distances between sets of pictures, on features that a network sees in them.

A fill may be right without being the one true picture: these ask whether the fills as a set look
like real pictures. On Inception's pool3 they are FID and KID; on other features they are not, and
have to say so in their names.
"""

import math

import numpy as np
import torch
from torch import Tensor

from gapfill.errors import UsageError

SUBSETS, SUBSET_SIZE = 100, 1000
FRECHET_MIN = 2048
_BLOCK = 1024


def frechet_distance(
    one: Tensor | np.ndarray, other: Tensor | np.ndarray, *, min_n: int = FRECHET_MIN
) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features; FID on Inception's.

    It is biased upwards for small sets, so those are refused. On other features than Inception's
    pool3 it is not FID: name the features beside the number.

    Args:
        one: features [n, d].
        other: features [m, d].
        min_n: the fewest rows accepted of either.

    Raises:
        UsageError: fewer rows than `min_n`, or features that do not fit each other.

    Source:
        Heusel et al. 2017, equation 6, with unbiased covariances.
    """
    first, second = _features(one, other)
    fewest = min(len(first), len(second))
    if fewest < min_n:
        raise UsageError(
            f"Fréchet distance of {fewest} pictures: it is biased for few, and needs at least "
            f"{min_n}; for smaller sets use the kernel distance (KID)"
        )
    shift = (first.mean(0) - second.mean(0)).square().sum()
    spread, roots = first.new_zeros(()), []
    for features in (first, second):
        covariance = torch.cov(features.T).reshape(features.shape[1], -1)
        values, vectors = torch.linalg.eigh(covariance)
        roots.append(vectors * values.clamp(min=0).sqrt() @ vectors.T)
        spread += values.sum()
    # The trace of the root of A·B is the nuclear norm of √A·√B, which is never complex.
    overlap = torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    return max(0.0, (shift + spread - 2 * overlap).item())


def kernel_distance(one: Tensor | np.ndarray, other: Tensor | np.ndarray) -> float:
    """Squared maximum mean discrepancy of two sets of features; KID on Inception's.

    Unbiased, with the kernel (x·y / d + 1)³; over the whole sets instead of over random subsets,
    so that it is a function of the features alone. Below zero by chance where the sets are alike.
    It is unbiased for independent sets only: where both show the same pictures, as fills and their
    truths do, take `kernel_distances`.

    Args:
        one: features [n, d], n at least 2.
        other: features [m, d], m at least 2.

    Source:
        Bińkowski et al. 2018, section 4.
    """
    first, second = _features(one, other)
    n, m = len(first), len(second)
    within_first = (_kernel_sum(first, first) - _kernel_diagonal(first)) / (n * (n - 1))
    within_second = (_kernel_sum(second, second) - _kernel_diagonal(second)) / (m * (m - 1))
    return within_first + within_second - 2 * _kernel_sum(first, second) / (n * m)


def kernel_distances(
    one: Tensor | np.ndarray,
    other: Tensor | np.ndarray,
    *,
    paired: bool,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
    seed: int = 0,
) -> Tensor:
    """`kernel_distance` of random subsets of two sets of features: their mean is the KID.

    Args:
        one: features [n, d].
        other: features [m, d].
        paired: whether row i of both stands for the same picture, such as a fill and its truth.
            Then no picture is on both sides of a subset. If it were, the estimate would not be
            unbiased: a perfect fill would come out below zero, by as much as a good fill is above.
        subsets: how many, 100 as by its authors.
        size: rows of each set in a subset, 1,000 as by its authors; fewer where the sets are
            smaller than twice that: half of the smaller one.
        seed: names the subsets. They depend on it and on the numbers of rows alone, so that all
            models are seen through the same ones.

    Returns:
        float64 [subsets].

    Raises:
        UsageError: fewer than four rows, or features that do not fit each other.

    Source:
        Bińkowski et al. 2018, section 4 and their evaluation code.
    """
    first, second = _features(one, other)
    n, m = len(first), len(second)
    if min(n, m) < 4 or (paired and n != m):
        raise UsageError(
            f"kernel distances of {n} and {m} features: they need four of each at least, and as "
            "many of one as of the other where they are paired"
        )
    size = min(size, min(n, m) // 2)
    source = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(subsets):
        left = torch.randperm(n, generator=source)
        right = left[size:] if paired else torch.randperm(m, generator=source)
        found.append(kernel_distance(first[left[:size]], second[right[:size]]))
    return torch.tensor(found, dtype=torch.float64)


def _kernel_sum(first: Tensor, second: Tensor) -> float:
    width = first.shape[1]
    blocks = (((rows @ second.T) / width + 1) ** 3 for rows in first.split(_BLOCK))
    return math.fsum(block.sum().item() for block in blocks)


def _kernel_diagonal(features: Tensor) -> float:
    return (((features * features).sum(1) / features.shape[1] + 1) ** 3).sum().item()


def _features(one: Tensor | np.ndarray, other: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    first, second = (torch.as_tensor(features).detach().double() for features in (one, other))
    for features in (first, second):
        if features.ndim != 2 or len(features) < 2 or not features.shape[1]:
            raise UsageError(
                f"features of shape {list(features.shape)}: they must be [n, d], n at least 2"
            )
        if not features.isfinite().all():
            raise UsageError("features: they hold NaN or infinity")
    if first.shape[1] != second.shape[1]:
        raise UsageError(
            f"features of {first.shape[1]} and {second.shape[1]} columns: both sets must come "
            "from the same network"
        )
    return first, second
