"""The learning rate as a function of the step alone: warm-up, then down to nearly zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from gapfill.train.settings import Training


def schedulers(optimizers: Iterable[Optimizer], settings: Training, total: int) -> list[Any]:
    """One of timm's schedulers for each optimiser, all with the same multiplier.

    To be made before a checkpoint is loaded, whose optimisers hold rates that have fallen already.
    """
    from timm.scheduler.cosine_lr import CosineLRScheduler
    from timm.scheduler.poly_lr import PolyLRScheduler

    shape: dict[str, Any] = {
        # One step longer than the run, so that its last step still learns.
        "t_initial": total + 1,
        "warmup_t": round(settings.warmup * total),
        "warmup_lr_init": 0.0,
        "lr_min": 0.0,
        "t_in_epochs": False,
    }
    if settings.schedule == "cosine":
        return [CosineLRScheduler(optimizer, **shape) for optimizer in optimizers]
    return [PolyLRScheduler(optimizer, power=1.0, **shape) for optimizer in optimizers]
