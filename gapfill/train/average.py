"""Weights averaged exponentially over the last part of a run."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

_torch: Any = torch  # whose stubs hide the foreach and fused functions


class Average:
    """A copy of a module that follows its weights slowly; the rest of it is the module's own.

    Buffers share the module's memory, since the average of running averages fits nobody, and so do
    the parts in `without`. The weights' share is a tensor on request, so that a captured step need
    not know the step's number; timm's `ModelEmaV3`, whose formula the warm-up is, takes a number.

    Args:
        module: what is followed.
        without: names of its modules that are not averaged, as nobody asks for their average.
    """

    def __init__(self, module: nn.Module, without: Collection[str] = ()) -> None:
        weights = dict(module.named_parameters(remove_duplicate=False))
        names = {
            id(weight): name
            for name, weight in weights.items()
            if name.split(".")[0] not in without
        }
        rest = [weight for weight in weights.values() if id(weight) not in names]
        # What a deep copy finds here it takes for its copy.
        memo: dict[int, Any] = {id(each): each.detach() for each in module.buffers()}
        memo |= {id(each): nn.Parameter(each.detach(), False) for each in rest}
        self.module = deepcopy(module, memo).eval().requires_grad_(False)
        self.decay = 0.0
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for name in names.values():
            own, newest = groups.setdefault(weights[name].dtype, ([], []))
            own.append(self.module.get_parameter(name))
            newest.append(weights[name])
        self._groups = list(groups.values())  # each of one dtype, which one kernel takes

    def share(self, step: int) -> float:
        """How much of the newest weights enters after `step` (from 0): all at first, then less."""
        return 1 - min(self.decay, 1 - (1 + step) ** -0.8)

    @torch.no_grad()
    def follow(self, share: float | Tensor) -> None:
        """Move towards the module's weights.

        Args:
            share: of the newest weights; float32 on their device where it is a tensor.
        """
        for own, newest in self._groups:
            if isinstance(share, Tensor):
                _lerp(own, newest, share)
            else:
                _torch._foreach_lerp_(own, newest, share)


def _lerp(own: list[Tensor], newest: list[Tensor], share: Tensor) -> None:
    """`_foreach_lerp_` by a share that is a tensor, which PyTorch has under another name.

    It is a step of gradient descent down ½ ‖own - newest‖², whose gradient is weight decay less
    the newest weights, at a learning rate of the share: one pass over both.
    """
    _torch._fused_sgd_(
        own,
        newest,
        [],
        weight_decay=1.0,
        momentum=0.0,
        lr=share,
        dampening=0.0,
        nesterov=False,
        maximize=True,
        is_first_step=False,
    )
