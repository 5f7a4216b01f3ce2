"""The losses of the last steps, left on their device until the log wants them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Losses(NamedTuple):
    """The terms of one step, `update/term` by name; `update/loss` is an update's sum."""

    names: tuple[str, ...]
    values: Tensor


class Ledger:
    """Collects the losses of each step; one look at the host checks and averages them."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, Losses]] = []

    def add(self, step: int, losses: Losses) -> None:
        """Note the losses of a step (from 0)."""
        self._pending.append((step, losses))

    def clear(self) -> None:
        """Forget what was noted."""
        self._pending.clear()

    def close(self) -> tuple[dict[str, Any], tuple[int, str, float] | None]:
        """Return the means since the last time, and the first loss that is no finite number.

        Returns:
            A line for the log, empty if nothing was noted, and None or (step, update, loss).
        """
        if not self._pending:
            return {}, None
        numbers = iter(torch.cat([losses.values for _, losses in self._pending]).tolist())
        found: dict[str, list[float]] = {}
        wrong = None
        for step, losses in self._pending:
            # `zip` asks the names first, so that it takes no number too many.
            for name, number in zip(losses.names, numbers, strict=False):
                found.setdefault(name, []).append(number)
                if wrong is None and name.endswith("/loss") and not math.isfinite(number):
                    wrong = step + 1, name.removesuffix("/loss"), number
        line: dict[str, Any] = {"step": self._pending[-1][0] + 1}
        line |= {name: round(_mean(values), 6) for name, values in found.items()}
        self.clear()
        return line, wrong


def _mean(values: Iterable[float]) -> float:
    """The mean; `statistics.fmean` refuses infinities of both signs."""
    values = list(values)
    return sum(values) / len(values)
