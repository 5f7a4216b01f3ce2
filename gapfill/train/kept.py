"""The weights that a run has kept so far, finished or not: its newest checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from gapfill.checkpoint import DamagedError
from gapfill.errors import GapfillError, UsageError
from gapfill.train.folder import Plan, checkpoints, read_plan
from gapfill.train.state import Saved, read_state

Which = Literal["best", "last"]
"""The averaged weights that did best on the validation pictures, or the last averaged ones."""


@dataclass(frozen=True)
class Kept:
    """What a run has kept.

    Attributes:
        plan: what it set out to do.
        state: how far it has come.
        weights: the weights that were asked for.
    """

    plan: Plan
    state: Saved
    weights: Mapping[str, Tensor]

    @property
    def cost(self) -> dict[str, Any]:
        """What the training has cost so far."""
        images, seconds = self.state.step * self.state.batch_size, self.state.seconds
        return {
            "steps": self.state.step,
            "images": images,
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 2) if seconds else None,
            "precision": self.plan.decided.get("precision"),
            "batch_size": self.state.batch_size,
        }


def kept_weights(folder: Path, which: Which) -> Kept:
    """The weights in a run's newest checkpoint that is whole; the folder stays as it is.

    Raises:
        UsageError: there is no run, no checkpoint yet, or none that was scored.
        GapfillError: the plan or all checkpoints are damaged, or of different runs.
    """
    plan = read_plan(folder)
    if plan is None:
        raise UsageError(f"{folder} is no run's folder: there is no plan.json.")
    state = _newest(folder)
    if state is None:
        raise UsageError(f"the run in {folder} has no checkpoint yet, so there are no weights.")
    if state.run != plan.run:
        raise GapfillError(f"the newest checkpoint in {folder} is of another run than plan.json.")
    weights = state.best_weights if which == "best" else state.ema or state.module
    if weights is None:
        raise UsageError(
            f"the run in {folder} has no best weights: nothing was scored on validation pictures "
            "up to its checkpoint. Its last weights are those of which='last'."
        )
    return Kept(plan, state, weights)


def _newest(folder: Path) -> Saved | None:
    """The newest checkpoint that is whole."""
    damaged: DamagedError | None = None
    for step, path in reversed(checkpoints(folder)):
        try:
            return read_state(path, step, lambda _: "")
        except DamagedError as error:
            damaged = damaged or error
    if damaged is not None:
        raise damaged
    return None
