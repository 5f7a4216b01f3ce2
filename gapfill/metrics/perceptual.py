"""LPIPS: how far two pictures are apart, as a trained network sees them.

It never reaches for the network: weights that are not on the machine are reported as missing, with
the cure.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from gapfill import trunks
from gapfill.compute import true_float32
from gapfill.errors import UsageError

MIN_SIDE = trunks.TRUNKS["alexnet"].min_side
_BATCH = 64

Distance = Callable[[Tensor, Tensor], Tensor]


def lpips_missing(side: int = MIN_SIDE) -> str:
    """Why there is no LPIPS here, or nothing where there is; cheaper than loading it.

    Args:
        side: the shorter side of the pictures that it is for.
    """
    if side < MIN_SIDE:
        return f"pictures of {side} pixels a side; its network needs at least {MIN_SIDE}"
    try:
        trunks.find("alexnet")
    except trunks.NoTrunkError as error:
        return str(error)
    return "" if find_spec("lpips") else "the package lpips is not installed: pip install lpips"


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
    if reason := lpips_missing(side):
        return None, reason
    try:
        weights, _ = trunks.find("alexnet")
        import lpips
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
        with torch.no_grad(), true_float32(torch.device(device)):
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
