"""Optimisers by timm's names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gapfill.types import Update


def optimizer(module: nn.Module, lr: float, opt: str = "adam", **settings: Any) -> Optimizer:
    """An optimiser over the weights of `module`.

    Args:
        module: whose weights.
        lr: learning rate at its height; the trainer's schedule scales it.
        opt: any name that `timm.optim.list_optimizers()` knows.
        settings: the optimiser's own, such as `betas`; `weight_decay` spares biases and norms.
    """
    from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]

    if opt in ("adam", "adamw"):
        settings.setdefault("fused", True)
    return create_optimizer_v2(module, opt=opt, lr=lr, **settings)


def optimizers_of(updates: Iterable[Update]) -> list[Optimizer]:
    """The optimisers of the updates, each once."""
    return list({id(update.optimizer): update.optimizer for update in updates}.values())
