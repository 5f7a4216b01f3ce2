"""The learning rate as a function of the step alone: warm-up, then down to nearly zero."""

from __future__ import annotations

import math
from typing import Literal


def factor(
    step: int, total: int, warmup: float = 0.0, shape: Literal["cosine", "linear"] = "cosine"
) -> float:
    """What every learning rate is multiplied by.

    Args:
        step: from 0.
        total: steps of the run; its last step still learns.
        warmup: share of the run over which the factor rises.
        shape: how it falls.

    >>> [round(factor(step, 4, shape="linear"), 2) for step in range(4)]
    [0.8, 0.6, 0.4, 0.2]
    """
    now, rising = step + 1, round(warmup * total)
    if now < rising:
        return now / rising
    share = now / (total + 1)
    return (1 + math.cos(math.pi * share)) / 2 if shape == "cosine" else 1 - share
