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

    Args:
        module: whose weights there are.
        updates: whose losses.
    """

    def __init__(self, module: nn.Module, updates: Sequence[Update]) -> None:
        _make_room(module)
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


def _make_room(module: nn.Module) -> None:
    """Forget what was compiled for a module of another kind.

    PyTorch compiles a function a few times at most, and models share some of theirs; further seeds
    of the same model share all that was compiled.
    """
    kind = type(module), tuple(each.shape for each in module.parameters())
    if kind != _latest[0]:
        torch.compiler.reset()
        _latest[0] = kind


_latest: list[object] = [None]


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
