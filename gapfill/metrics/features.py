"""What networks see in pictures, as rows of numbers, for the distances between sets of pictures.

Inception's pool3 where its weights are on this machine: only on it are distances called FID and
KID. Otherwise VGG16, of LPIPS, under its own name. Nothing is downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gapfill import trunks
from gapfill.compute import true_float32
from gapfill.errors import GapfillError, UsageError

INCEPTION_FILES = (
    "weights-inception-2015-12-05-6726825d.pth",  # torch-fidelity's
    "pt_inception-2015-12-05-6726825d.pth",  # the same bytes, pytorch-fid's
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_SIDE = 299
_LAST_WIDTH = 2048  # channels that come into Inception's last block, and into no other
_BATCH = 50


@dataclass(frozen=True)
class Features:
    """A network that turns pictures into rows of features.

    Attributes:
        network: its name, and the layer.
        kernel: key and title of the kernel distance on its features.
        frechet: key and title of the Fréchet distance on its features.
        of: uint8 [N, 3, H, W] to float64 [N, d], a batch at a time.
    """

    network: str
    kernel: tuple[str, str]
    frechet: tuple[str, str]
    of: Callable[[Tensor], Tensor]


def load_features(
    device: torch.device | str = "cpu", side: int = INCEPTION_SIDE
) -> tuple[Features | None, str]:
    """Loads the network that the distances between sets of pictures look through.

    Args:
        device: where it computes.
        side: the shorter side of the pictures that it is for.

    Returns:
        (features, ""), or (None, reason) where no network is on this machine.
    """
    try:
        network = Inception(find_inception()[0]).to(device)
    except trunks.NoTrunkError:
        pass
    else:
        of = _batched(network, device)
        return Features("Inception pool3", ("kid", "KID"), ("fid", "FID"), of), ""
    least = trunks.TRUNKS["vgg16"].min_side
    if side < least:
        return None, f"pictures of {side} pixels a side; its network needs at least {least}"
    try:
        trunk = trunks.load("vgg16", device)
    except trunks.NoTrunkError as error:
        return None, str(error)
    of = _batched(lambda images: trunk(images / 127.5 - 1)[-1].mean((2, 3)), device)
    return Features("VGG16 relu5_3", ("kd_vgg16", "KD-VGG16"), ("fd_vgg16", "FD-VGG16"), of), ""


def _batched(network: Callable[[Tensor], Tensor], device: torch.device | str) -> Any:
    def of(images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise UsageError(
                f"features of {images.dtype} {list(images.shape)}; they are of what would be "
                "saved, torch.uint8 [N, 3, H, W]: round first"
            )
        with torch.no_grad(), true_float32(torch.device(device)):
            parts = [network(batch.to(device).float()) for batch in images.split(_BATCH)]
        return torch.cat(parts).double().cpu()

    return of


def find_inception() -> tuple[dict[str, Tensor], Path]:
    """Find Inception's weights of 2015, which FID and KID are defined on.

    Raises:
        trunks.NoTrunkError: they are nowhere, or only files that are not the published one.
    """
    wrong = []
    for folder in (trunks.home(), Path(torch.hub.get_dir()) / "checkpoints"):
        for path in (folder / name for name in INCEPTION_FILES):
            try:
                return trunks.read_published(path, INCEPTION_SHA256), path
            except FileNotFoundError:
                continue
            except (OSError, GapfillError) as error:
                wrong.append(f"{path} is not used: {error}")
    found = "; ".join(wrong) or "Inception's weights are not on this machine"
    raise trunks.NoTrunkError(f"{found}. FID and KID need {INCEPTION_FILES[0]} in {trunks.home()}.")


class Inception(nn.Module):
    """Inception v3 of 2015 up to pool3, as FID and KID are defined on it.

    torchvision's network with the weights ported from TensorFlow's graph, whose average pooling
    leaves padding out of the mean, whose last block pools by the maximum, and whose bilinear
    resizing has its samples at the pixels' corners.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        from torchvision.models import Inception3

        super().__init__()
        with torch.device("meta"):
            self.network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
        self.network.add_module("fc", nn.Identity())
        body = {key: value for key, value in weights.items() if not key.startswith("fc.")}
        self.network.load_state_dict(body, assign=True)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, 2048] of float pictures [N, 3, H, W] in [0, 255]."""
        with _Pooling():
            return self.network((resize(images, INCEPTION_SIDE) - 128) / 128)


class _Pooling(TorchFunctionMode):
    """TensorFlow's pooling in place of torchvision's, inside the block."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is F.avg_pool2d:
            if args[0].shape[1] == _LAST_WIDTH:
                func = F.max_pool2d
            else:
                kwargs["count_include_pad"] = False
        return func(*args, **kwargs)


def resize(images: Tensor, side: int) -> Tensor:
    """Bilinear resizing as TensorFlow 1 had it: output pixel i samples at i · size / side."""
    across, down = (_samples(length, side).to(images) for length in images.shape[:1:-1])
    return down @ (images @ across.T)


def _samples(length: int, side: int) -> Tensor:
    """The weights [side, length] of input pixels in output pixels, along one side."""
    where = torch.arange(side, dtype=torch.float64) * length / side
    low = where.long()
    weights = torch.zeros(side, length, dtype=torch.float64)
    share = where - low
    weights[torch.arange(side), low] = 1 - share
    weights[torch.arange(side), (low + 1).clamp(max=length - 1)] += share
    return weights
