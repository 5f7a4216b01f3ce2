"""What models have in common that look at their fills through a frozen network while they learn."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gapfill import losses, trunks
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.types import Batch, Terms, Update

_HEADS = {"alexnet": "alex", "vgg16": "vgg"}
"""LPIPS's names of the networks."""


class Eye:
    """A published network and LPIPS's weights of its features, shared by all models of a process.

    It is no module: it stands in no state dict, optimiser or average, and is not copied with a
    model.

    Args:
        name: of the trunk, one of `trunks.TRUNKS`.
        device: where it looks.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.trunk = trunks.load(name, device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.heads = [head.to(device) for head in _heads(name)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Eye:
        return self

    def maps(self, pictures: Tensor, levels: int | None = None) -> list[Tensor]:
        """Its first feature maps of pictures [N, 3, H, W] in [-1, 1]; by default all five."""
        return self.trunk(pictures, levels)

    def distance(self, made: Tensor, image: Tensor) -> Tensor:
        """LPIPS between made and true pictures, the mean over them."""
        return losses.perceptual(self.maps, self.heads, made, image)

    def score(self, one: Tensor, other: Tensor, image: Tensor, spread: float) -> Tensor:
        """LPIPS of two made pictures from the true ones, less a share of that between them."""
        return losses.perceptual_score(self.maps, self.heads, one, other, image, spread)


@cache
def eye(name: str, device: torch.device) -> Eye:
    """The one that this process has of a trunk on a device.

    Raises:
        NoTrunkError: its weights are not on this machine.
    """
    return Eye(name, device)


def _heads(name: str) -> list[Tensor]:
    """LPIPS's weights of a trunk's features, a vector for each map, as its package has them."""
    package = importlib.util.find_spec("lpips")  # found, not imported: that takes seconds
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "weights" / "v0.1" / f"{_HEADS[name]}.pth"
    weights = torch.load(file, map_location="cpu", weights_only=True)
    return [weights[f"lin{number}.model.1.weight"].flatten() for number in range(len(weights))]


class Perceptive(Inpainter):
    """An inpainter with terms in its loss that see through a published network.

    The weights of these terms stand in its `Config`. None there stands for `usual` where the
    network is on this machine and sees pictures of this size, and for 0 elsewhere; `config` says
    which it came to, and so do a saved model and a run's folder.
    """

    trunk: ClassVar[str] = "alexnet"
    usual: ClassVar[Mapping[str, float]] = {"perceptual": 0.0}
    """The terms, and the weight of each that None stands for."""
    eye: Eye | None = None

    def __init__(self, config: Any) -> None:
        unset = [name for name in self.usual if getattr(config, name) is None]
        if unset:
            can = config.size >= trunks.TRUNKS[self.trunk].min_side and sees(self.trunk)
            weights = self.usual if can else dict.fromkeys(unset, 0.0)
            config = replace(config, **{name: weights[name] for name in unset})
        super().__init__(config)

    @property
    def looks(self) -> bool:
        """Whether it needs the network while it learns."""
        return any(getattr(self.config, name) for name in self.usual)

    def require_parts(self) -> None:
        """The network, where a term has a weight."""
        if self.looks:
            self.open_eye()

    def updates(self) -> list[Update]:
        """Those of the next class, with the network at hand."""
        self.open_eye()
        return super().updates()

    def open_eye(self) -> None:
        """Get the network that the terms need, if any has a weight."""
        least = trunks.TRUNKS[self.trunk].min_side
        if self.looks and self.config.size < least:
            raise UsageError(
                f"{self.name}: {self._asked()} needs pictures of at least {least} pixels a side; "
                f"size is {self.config.size}."
            )
        try:
            self.eye = eye(self.trunk, self.device) if self.looks else None
        except trunks.NoTrunkError as error:
            raise UsageError(
                f"{self.name}: {self._asked()} needs a network to look through: {error}"
            ) from error

    def _asked(self) -> str:
        return ", ".join(name for name in self.usual if getattr(self.config, name))

    def perceived(self, batch: Batch) -> Terms:
        """LPIPS's distance of the composites, if it has a weight."""
        return self.perceived_in(batch, lambda: self.filled(batch))

    def perceived_in(self, batch: Batch, picture: Callable[[], Tensor]) -> Terms:
        """LPIPS's distance of the composites of another picture, made if it has a weight."""
        if self.eye is None or not self.config.perceptual:
            return {}
        distance = self.eye.distance(batch.paste(picture()), batch.image)
        return {"perceptual": self.config.perceptual * distance}


def sees(trunk: str) -> bool:
    """Whether a trunk's weights are on this machine."""
    try:
        eye(trunk, torch.device("cpu"))
    except trunks.NoTrunkError:
        return False
    return True
