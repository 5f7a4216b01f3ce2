"""Differences of models that filled the same holes, by a paired bootstrap over pictures and runs.

What makes one picture harder than another is hard for every model, and cancels in a difference.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95

_CELLS = 4_000_000  # counts that are held at once

Scores = Mapping[str, Mapping[Any, np.ndarray]]


@dataclass(frozen=True)
class Difference:
    """How much better one model is than another, in the metric's unit, with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


class Bootstrap:
    """Means of every model over resampled pictures and runs, the same pictures for all.

    A resample draws N of the N pictures, with replacement, once for all models. Of a model with R
    runs it also draws R - 1, for itself: R draws would make the mean vary by (R - 1) / R of what it
    does (McCarthy and Snowden 1985). A model of one run counts as that run alone.

    Args:
        scores: by model and column, per-picture scores float [R, N]; N is the same for all.
        resamples: how many times to draw.
        seed: names the draws. A model's own also depend on its name, so that no model changes
            another's interval.
    """

    def __init__(self, scores: Scores, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        self._means: dict[tuple[str, Hashable], float] = {}
        self._resampled: dict[tuple[str, Hashable], np.ndarray] = {}
        runs = {
            (name, column): _whole(array)
            for name, columns in scores.items()
            for column, array in columns.items()
        }
        if not runs:
            return
        drawn = _over_pictures(np.concatenate(list(runs.values())), resamples, seed)
        first = 0
        for (name, column), array in runs.items():
            mine = drawn[:, first : first + len(array)]
            first += len(array)
            self._means[name, column] = float(array.mean())
            self._resampled[name, column] = (
                mine * _of_runs(name, len(array), resamples, seed)
            ).sum(1)

    def difference(
        self, first: str, second: str, column: Hashable, better: str
    ) -> Difference | None:
        """How much better `first` is than `second`, or None where one has no finite mean.

        Args:
            first: a model.
            second: another.
            column: which of their scores.
            better: "higher", "lower" or "one", where distances of the means to 1 are compared.
        """
        pair = (first, column), (second, column)
        if any(not np.isfinite(self._means.get(key, np.nan)) for key in pair):
            return None
        one, other = (_merit(np.array(self._means[key]), better) for key in pair)
        drawn = _merit(self._resampled[pair[0]], better) - _merit(self._resampled[pair[1]], better)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Difference(float(one - other), float(low), float(high))

    def lead(self, column: Hashable, better: str) -> dict[str, Any] | None:
        """How far the best of a column is ahead of each other model, as results.json holds it.

        Returns:
            {"best": name, "ahead": {name: [mean, low, high]}}, or None where nobody has a mean.
        """
        means = {
            name: float(_merit(np.array(mean), better))
            for (name, key), mean in self._means.items()
            if key == column and np.isfinite(mean)
        }
        if not means:
            return None
        best = max(means, key=lambda name: means[name])
        ahead = {}
        for name in sorted(means.keys() - {best}, key=lambda name: -means[name]):
            found = self.difference(best, name, column, better)
            assert found is not None
            ahead[name] = [round(value, 6) for value in (found.mean, found.low, found.high)]
        return {"best": best, "ahead": ahead}


def _merit(mean: np.ndarray, better: str) -> np.ndarray:
    """How good a mean is: larger is better, whatever the metric's direction."""
    return {"higher": mean, "lower": -mean}.get(better, -np.abs(mean - 1))


def _whole(array: np.ndarray) -> np.ndarray:
    """The scores [R, N]; a run with a value that is not finite has none, which nothing warns of."""
    found = np.asarray(array, np.float64)
    return np.where(np.isfinite(found).all(-1, keepdims=True), found, np.nan)


def _over_pictures(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means [resamples, rows] of rows [rows, N] over resampled pictures."""
    count = rows.shape[-1]
    draws = np.random.default_rng(seed)
    size = max(1, _CELLS // count)
    found = []
    for start in range(0, resamples, size):
        number = min(size, resamples - start)
        at = draws.integers(0, count, (number, count)) + np.arange(number)[:, None] * count
        times = np.bincount(at.ravel(), minlength=number * count).reshape(number, count)
        found.append(times.astype(np.float64) @ rows.T / count)
    return np.concatenate(found)


def _of_runs(name: str, runs: int, resamples: int, seed: int) -> np.ndarray:
    """The share [resamples, runs] of each run in a resampled mean."""
    if runs == 1:
        return np.ones((resamples, 1))
    draws = np.random.default_rng([seed, crc32(name.encode())])
    return draws.multinomial(runs - 1, [1 / runs] * runs, resamples) / (runs - 1)
