"""Which pictures a model has learned from, so that a test picture among them is noticed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from gapfill import checkpoint
from gapfill.data.stream import Source, Stream

_FILE = "seen.safetensors"


@dataclass(frozen=True, eq=False)
class Seen:
    """The pictures of all trainings of a model.

    Attributes:
        pictures: their digests, int64 [N], sorted, each once (see `digests`).
        others: whether there were more that nobody knows, from a loader of the user's own.
        trainings: how many there were; more than one where weights were trained further.
    """

    pictures: Tensor
    others: bool
    trainings: int

    @classmethod
    def after(cls, before: Seen | None, source: Source) -> Self:
        """What is known after a training on `source`."""
        known = isinstance(source, Stream)
        new = digests(source.images) if known else torch.empty(0, dtype=torch.int64)
        if before is None:
            return cls(new.unique(), not known, 1)
        pictures = torch.cat([before.pictures, new]).unique()
        return cls(pictures, before.others or not known, before.trainings + 1)

    @classmethod
    def unknown(cls) -> Self:
        """What is known of a model that was trained nobody knows how."""
        return cls(torch.empty(0, dtype=torch.int64), True, 1)

    def among(self, images: Tensor) -> Tensor:
        """Which of the pictures, uint8 [N, 3, S, S], were learned from: bool [N]."""
        return torch.isin(digests(images), self.pictures)

    def save(self, folder: Path, weights: str) -> None:
        """Write it beside the weights whose digest is `weights`."""
        about = {"weights": weights, "others": self.others, "trainings": self.trainings}
        checkpoint.save_weights(folder / _FILE, {"pictures": self.pictures}, about)

    @classmethod
    def load(cls, folder: Path, weights: str | None) -> Self | None:
        """Read what stands beside the weights; None where nothing does, or of other weights.

        Raises:
            DamagedError: the file is damaged.
        """
        path = folder / _FILE
        if not path.is_file():
            return None
        tensors, about = checkpoint.load_weights(path)
        try:
            if about["weights"] != weights:
                return None
            return cls(tensors["pictures"], bool(about["others"]), int(about["trainings"]))
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.DamagedError(f"{path} is damaged ({error!r}).") from error


def digests(images: Tensor) -> Tensor:
    """The first 64 bits of the SHA-256 of each picture [N, 3, S, S] in 8 bits: int64 [N].

    Among 200,000 pictures two others have the same one with a probability of 10⁻⁹.
    """
    if images.dtype != torch.uint8:
        images = (images * 255).round().to(torch.uint8)
    rows = images.detach().cpu().contiguous().flatten(1).numpy()
    first = (hashlib.sha256(row.data).digest()[:8] for row in rows)
    return torch.tensor([int.from_bytes(each, "little", signed=True) for each in first])
