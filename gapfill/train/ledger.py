"""The losses of the last steps, left on their device until the log wants them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class Ledger:
    """Collects loss terms by step and update; one look at the host checks and averages them."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, str, dict[str, Tensor]]] = []

    def add(self, step: int, update: str, terms: dict[str, Tensor]) -> None:
        """Note the detached terms of one update of a step (from 0); "loss" is their sum."""
        self._pending.append((step, update, terms))

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
        losses = torch.stack([terms["loss"].float() for _, _, terms in self._pending]).tolist()
        wrong = None
        for (step, update, _), loss in zip(self._pending, losses, strict=True):
            if wrong is None and not math.isfinite(loss):
                wrong = step + 1, update, loss
        values: dict[str, list[Tensor]] = {}
        for _, update, terms in self._pending:
            for term, value in terms.items():
                values.setdefault(f"{update}/{term}", []).append(value.float())
        means = torch.stack([torch.stack(found).mean() for found in values.values()]).tolist()
        line: dict[str, Any] = {"step": self._pending[-1][0] + 1}
        line |= {key: round(mean, 6) for key, mean in zip(values, means, strict=True)}
        self.clear()
        return line, wrong
