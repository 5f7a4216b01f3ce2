"""The learning rate as a function of the step alone: warm-up, then down to nearly zero or level."""

from __future__ import annotations

import math
from typing import Literal

Shape = Literal["cosine", "linear", "constant"]


def factor(step: int, total: int, warmup: float = 0.0, shape: Shape = "cosine") -> float:
    """What every learning rate is multiplied by.

    Args:
        step: from 0.
        total: steps of the run; its last step still learns.
        warmup: share of the run over which the factor rises.
        shape: how it falls; `constant` stays at 1.

    >>> [round(factor(step, 4, shape="linear"), 2) for step in range(4)]
    [0.8, 0.6, 0.4, 0.2]
    >>> [round(factor(step, 7, 0.5, "linear"), 2) for step in range(7)]
    [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25]
    """
    now, rising = step + 1, round(warmup * total)
    if now < rising:
        return now / rising
    if shape == "constant":
        return 1.0
    share = (now - rising) / (total + 1 - rising)
    return (1 + math.cos(math.pi * share)) / 2 if shape == "cosine" else 1 - share
