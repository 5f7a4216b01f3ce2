"""What travels between a model and the trainer: batches, loss terms and updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

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
    """

    def __init__(self, image: Tensor, mask: Tensor) -> None:
        self.image = image
        self.mask = mask
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
            self._shared[key] = make()
        return self._shared[key]


def always(step: int) -> bool:
    """An update made on every step."""
    del step
    return True


def every(period: int) -> Callable[[int], bool]:
    """An update made on every `period`-th step.

    >>> [step for step in range(12) if every(5)(step)]
    [4, 9]
    """
    return lambda step: step % period == period - 1


def between(start: int, stop: int | None = None) -> Callable[[int], bool]:
    """An update made from step `start` on, and before step `stop` if one is given.

    >>> [step for step in range(6) if between(2, 4)(step)]
    [2, 3]
    """
    return lambda step: step >= start and (stop is None or step < stop)


@dataclass(frozen=True)
class Update:
    """One kind of optimiser step: which weights, down which loss, on which steps."""

    name: str
    optimizer: Optimizer
    loss: Callable[[Batch], Terms]
    when: Callable[[int], bool] = always

    @property
    def weights(self) -> list[Tensor]:
        """The weights that the optimiser holds, in its order."""
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]
