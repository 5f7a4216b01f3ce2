"""How far the fills, as a set, are from real pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gapfill import metrics
from gapfill.compare.kept import Kept
from gapfill.data import Table
from gapfill.metrics.sets import FRECHET_MIN, SUBSET_SIZE, SUBSETS

_KERNEL = {"unit": "", "better": "lower", "digits": 3, "of": "sets"}
_FRECHET = _KERNEL | {"digits": 2}
_SEED = 0
_FEWEST = 4


class Sets:
    """Distances between sets of pictures, all seen through one network.

    Args:
        test: the real test pictures.
        train: the pictures to learn from, of which as many as there are test pictures are held
            against these: what two sets of real pictures are apart.
        device: where the network computes.
    """

    def __init__(self, test: Table, train: Table, device: torch.device) -> None:
        self.count = len(test)
        self.network, self.reason = metrics.load_features(device, min(test.images.shape[2:]))
        if self.network is not None and self.count < _FEWEST:
            self.network, self.reason = None, f"{self.count} pictures; it needs at least {_FEWEST}"
        self._test, self._train = test, train

    @cached_property
    def real(self) -> Tensor | None:
        """The test pictures, as the network sees them."""
        return self.network.of(self._test.images) if self.network else None

    @cached_property
    def floor(self) -> dict[str, Any]:
        """What two sets of real pictures are apart."""
        return self._floor(self._train)

    def keep(self, kept: Kept, train: str) -> None:
        """Take the floor from what was measured before on the pictures whose digest is `train`."""
        self.floor = kept.of({"floor": train}, lambda: self._floor(self._train))

    def columns(self) -> list[dict[str, Any]]:
        """What the results have columns of: one distance, or both where the pictures are many."""
        if self.network is None:
            # Which network it would have been is not known before one is there.
            return [{"key": "kd_vgg16", "title": "KD-VGG16", **_KERNEL}]
        (key, title), (other, name) = self.network.kernel, self.network.frechet
        found = [{"key": key, "title": title, **_KERNEL}]
        if self.count >= FRECHET_MIN:
            found.append({"key": other, "title": name, **_FRECHET})
        return found

    def of(self, filled: Tensor) -> dict[str, Tensor]:
        """The distances of composites [N, 3, S, S] from the real pictures that they are made of.

        Returns:
            By key, the kernel distance of every subset and the one Fréchet distance.
        """
        if self.network is None or self.real is None:
            return {}
        return self._between(self.network.of(filled), self.real, paired=True)

    def summarise(self, runs: Sequence[dict[str, Tensor]]) -> dict[str, dict[str, Any]]:
        """What results.json says of a model's runs under one kind of mask.

        All runs are seen through the same subsets: a subset's distance is its mean over the runs.
        """
        if self.network is None:
            key = self.columns()[0]["key"]
            return {key: {"mean": None, "se": None, "n": 0, "reason": self.reason}}
        return {
            key: _summary(torch.stack([run[key] for run in runs]).mean(0), self.count)
            for key in runs[0]
        }

    def about(self) -> dict[str, Any]:
        """How the distances were made, and what two sets of real pictures are apart."""
        return {
            "network": self.network.network if self.network else None,
            "subsets": SUBSETS,
            "subset_size": min(SUBSET_SIZE, self.count // 2),
            "seed": _SEED,
            "real": self.floor,
        }

    def _floor(self, train: Table) -> dict[str, Any]:
        if self.network is None or self.real is None or len(train) < _FEWEST:
            return {}
        count = min(self.count, len(train))
        chosen = torch.linspace(0, len(train) - 1, count).round().long()
        seen = self.network.of(train.images[chosen])
        found = self._between(seen, self.real, paired=False)
        return {key: _summary(values, count) for key, values in found.items()}

    def _between(self, seen: Tensor, real: Tensor, *, paired: bool) -> dict[str, Tensor]:
        assert self.network is not None
        found = {
            self.network.kernel[0]: metrics.kernel_distances(seen, real, paired=paired, seed=_SEED)
        }
        if min(len(seen), len(real)) >= FRECHET_MIN:
            distance = metrics.frechet_distance(seen, real)
            found[self.network.frechet[0]] = torch.tensor([distance], dtype=torch.float64)
        return found


def _summary(values: Tensor, count: int) -> dict[str, Any]:
    """Mean over the subsets, its standard error, and how far subsets lie apart."""
    found: dict[str, Any] = {"mean": values.mean().item(), "se": None, "n": count}
    if len(values) > 1:
        spread = values.std().item()
        found |= {"se": spread / math.sqrt(len(values)), "sd": spread}
    return found
