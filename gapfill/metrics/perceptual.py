"""Metrics that look at pictures through a network: LPIPS, and the FID and KID distances.

None of them ever reaches for the network: weights that are not on the machine are reported as
missing, with where they belong.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gapfill import trunks
from gapfill.errors import UsageError

MIN_SIDE = trunks.TRUNKS["alexnet"].min_side
_BATCH = 64
_BLOCK = 1024

Distance = Callable[[Tensor, Tensor], Tensor]


def load_lpips(
    device: torch.device | str = "cpu", side: int = MIN_SIDE
) -> tuple[Distance | None, str]:
    """Loads LPIPS (AlexNet, version 0.1) if its trunk is on this machine; downloads nothing.

    Args:
        device: where it computes.
        side: the shorter side of the pictures that it is for.

    Returns:
        (function, "") where ``function(filled, real)`` takes uint8 [N, 3, H, W] of at least 31
        pixels a side and gives float64 [N], lower is nearer; or (None, reason).
    """
    if side < MIN_SIDE:
        return None, f"pictures of {side} pixels a side; its network needs at least {MIN_SIDE}"
    try:
        weights, _ = trunks.find("alexnet")
        import lpips
    except trunks.NoTrunkError as error:
        return None, str(error)
    except ImportError as error:
        return None, f"the package lpips cannot be imported ({error}): pip install lpips"

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # torchvision warns about the keyword that lpips uses; the random trunk it builds first
        # must not move the caller's random numbers.
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    # lpips names the layers slice1.0.weight …, torchvision features.0.weight …
    trunk = {
        name: weights[f"features.{name.split('.', 1)[1]}"] for name in network.net.state_dict()
    }
    network.net.load_state_dict(trunk)
    network.requires_grad_(False).eval().to(device)

    def distance(filled: Tensor, real: Tensor) -> Tensor:
        _check_pair(filled, real)
        parts = []
        with torch.no_grad():
            for pair in zip(filled.split(_BATCH), real.split(_BATCH), strict=True):
                one, other = (image.to(device).float() / 127.5 - 1 for image in pair)
                parts.append(network(one, other).flatten().double().to(filled.device))
        return torch.cat(parts)

    return distance, ""


def _check_pair(filled: Tensor, real: Tensor) -> None:
    """Refuses what LPIPS would take without a word and score wrongly."""
    for name, image in (("filled", filled), ("real", real)):
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] != 3:
            raise UsageError(
                f"LPIPS: {name} pictures are {image.dtype} {list(image.shape)}; it takes "
                "torch.uint8 [N, 3, H, W] and scales them itself"
            )
    if filled.shape != real.shape:
        raise UsageError(
            f"LPIPS: filled pictures {list(filled.shape)}, real ones {list(real.shape)}: "
            "they must have the same shape"
        )
    if min(real.shape[2:]) < MIN_SIDE:
        raise UsageError(
            f"LPIPS: pictures of {real.shape[2]} x {real.shape[3]} pixels; its network needs at "
            f"least {MIN_SIDE} x {MIN_SIDE}"
        )


def frechet_distance(
    one: Tensor | np.ndarray, other: Tensor | np.ndarray, *, min_n: int = 2048
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
