"""What travels between a model and the trainer: batches, loss terms and updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gapfill.untraced import untraced

Terms = dict[str, Tensor]
"""Loss terms by name, each a scalar that is already weighted; the trainer adds them up.

A term whose name starts with `REPORTED` is logged and takes no part in the sum.
"""

REPORTED = "report/"


class Batch:
    """What one training step sees.

    Attributes:
        image: the true pictures, float [N, 3, H, W] in [-1, 1].
        mask: float [N, 1, H, W], 1 = missing.
        making: what surrounds the making of what updates share.
    """

    def __init__(self, image: Tensor, mask: Tensor) -> None:
        self.image = image
        self.mask = mask
        self.making: Callable[[], AbstractContextManager[None]] = nullcontext
        self._shared: dict[str, Any] = {}

    @property
    def known(self) -> Tensor:
        """The pictures with zero (mid-grey) wherever the mask hides them."""
        return self.once("known", lambda: self.image * (1 - self.mask))

    def paste(self, filled: Tensor) -> Tensor:
        """The composite: `filled` in the hole, the true picture around it."""
        return self.known + filled * self.mask

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Return `make()`, computed at the first call of this step and shared by all its updates.

        Two updates may share a generated image only while no update between them changes the
        generator's weights; the one that must not reach the generator detaches it.
        """
        if key not in self._shared:
            self._make(key, make)
        return self._shared[key]

    # Compiled losses stop here and go on behind it: what two of them share is a piece by itself, so
    # that the first one's backward does not use it up. The second finds it and does not stop.
    @partial(untraced, recursive=False)
    def _make(self, key: str, make: Callable[[], Any]) -> None:
        with self.making():
            self._shared[key] = make()


When = Callable[[int, int], bool]
"""Whether it is an update's turn, from the step (from 0) and the number of steps of the run."""


def always(step: int, total: int) -> bool:
    """An update made on every step."""
    del step, total
    return True


@dataclass(frozen=True)
class _Every:
    period: int

    def __call__(self, step: int, total: int) -> bool:
        return step % self.period == self.period - 1

    def span(self, total: int) -> range:
        return range(self.period - 1, total - total % self.period)


@dataclass(frozen=True)
class _Between:
    start: float
    stop: float

    def __call__(self, step: int, total: int) -> bool:
        return step in self.span(total)

    def span(self, total: int) -> range:
        return range(max(0, round(self.start * total)), min(total, round(self.stop * total)))


def every(period: int) -> When:
    """An update made on every `period`-th step.

    >>> [step for step in range(12) if every(5)(step, 12)]
    [4, 9]
    """
    return _Every(period)


def between(start: float, stop: float = 1.0) -> When:
    """An update made in one phase of a run, from share `start` of its steps to share `stop`.

    Phases that meet, such as `between(0, 0.2)` and `between(0.2)`, share no step and miss none.

    >>> [step for step in range(10) if between(0.2, 0.5)(step, 10)]
    [2, 3, 4]
    """
    return _Between(start, stop)


def span(when: When, total: int) -> range:
    """The steps from an update's first turn to its last; empty if it never has one.

    `always`, `every` and `between` know it. Others are asked from both ends, step by step.

    >>> span(between(0.5), 10**9), span(every(5), 12)
    (range(500000000, 1000000000), range(4, 10))
    """
    if isinstance(when, _Every | _Between):
        return when.span(total)
    steps = range(total)
    first = next((step for step in steps if when(step, total)), total)
    last = next((step for step in reversed(steps[first:]) if when(step, total)), first - 1)
    return range(first, last + 1)


@dataclass(frozen=True)
class Look:
    """What was seen when a run was scored on its validation pictures.

    Attributes:
        step: after how many steps.
        scores: means over the validation pictures by name, such as `hole_psnr`; by "score" the best
            weights are chosen, higher is better.
        best: whether it is the best look so far.
        samples: uint8 [N, 3, S, 3·S], the first few pictures: corrupted, filled and real side by
            side.
    """

    step: int
    scores: Mapping[str, float]
    best: bool
    samples: Tensor


@dataclass(frozen=True)
class Update:
    """One kind of optimiser step: which weights, down which loss, on which steps."""

    name: str
    optimizer: Optimizer
    loss: Callable[[Batch], Terms]
    when: When = always

    @property
    def weights(self) -> list[Tensor]:
        """The weights that the optimiser holds, in its order."""
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]
