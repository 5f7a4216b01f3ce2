"""Losses compiled each by itself, without what belongs to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gapfill.types import Batch, Update


class Losses:
    """The updates' losses, compiled.

    Ahead of time nobody knows whose gradients will be asked for, so that a compiled loss has the
    gradients of all weights that it met. While one player's is made, the others' weights are
    therefore frozen; what several share (`Batch.once`) is made with none frozen, by itself.

    PyTorch compiles a function a few times in a process at most, and models share some of theirs.
    So whatever the process compiled before is forgotten here, and compiled anew where it is called.

    Args:
        module: whose weights there are.
        updates: whose losses.
    """

    def __init__(self, module: nn.Module, updates: Sequence[Update]) -> None:
        torch.compiler.reset()
        self._losses = {update.name: _compiled(update.loss) for update in updates}
        self._others = {update.name: _others(module, update) for update in updates}
        self._frozen: list[Tensor] = []

    def terms(self, update: Update, batch: Batch) -> Any:
        """The loss terms of an update; gradients flow to its own weights, through shared ones."""
        batch.making = self._thawed
        batch.known  # noqa: B018, what all share is there before anything is traced
        self._frozen = self._others[update.name]
        try:
            _ask(self._frozen, False)
            return self._losses[update.name](batch)
        finally:
            _ask(self._frozen, True)
            self._frozen = []

    @contextmanager
    def _thawed(self) -> Iterator[None]:
        frozen, self._frozen = self._frozen, []  # so that what is shared inside freezes nothing
        _ask(frozen, True)
        try:
            yield
        finally:
            _ask(frozen, False)
            self._frozen = frozen


def _others(module: nn.Module, update: Update) -> list[Tensor]:
    """The weights that ask for gradients and are not the update's."""
    own = {id(weight) for weight in update.weights}
    weights = (weight for weight in module.parameters() if weight.requires_grad)
    return [weight for weight in weights if id(weight) not in own]


def _ask(weights: Sequence[Tensor], gradients: bool) -> None:
    for weight in weights:
        weight.requires_grad_(gradients)


def _compiled(loss: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
    return torch.compile(loss, dynamic=False)
