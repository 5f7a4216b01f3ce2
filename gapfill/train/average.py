"""Weights averaged exponentially over the last part of a run."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

_torch: Any = torch  # whose stubs hide the foreach functions


class Average:
    """A copy of a module that follows its weights slowly; its buffers are the module's own.

    BatchNorm's statistics are copied, since the average of running averages fits nobody. The
    weights' share is a tensor on request, so that a captured step need not know the step's number;
    timm's `ModelEmaV3`, whose formula the warm-up is, takes a number.

    Args:
        module: what is followed.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = deepcopy(module).eval().requires_grad_(False)
        self.decay = 0.0
        self._weights = list(self.module.parameters()), list(module.parameters())
        self._buffers = list(self.module.buffers()), list(module.buffers())

    def share(self, step: int) -> float:
        """How much of the newest weights enters after `step` (from 0): all at first, then less."""
        return 1 - min(self.decay, 1 - (1 + step) ** -0.8)

    @torch.no_grad()
    def follow(self, share: float | Tensor) -> None:
        """Move towards the module's weights, and take over its buffers."""
        own, newest = self._weights
        if isinstance(share, float):
            _torch._foreach_lerp_(own, newest, share)
        else:
            way = _torch._foreach_sub(newest, own)
            _torch._foreach_mul_(way, share)
            _torch._foreach_add_(own, way)
        if self._buffers[0]:
            _torch._foreach_copy_(*self._buffers)
