"""What diffusion over whole pictures goes by: how noisy each time is, and the way of a fill."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TIMES = 1000
"""How many steps of noise there are between a picture and nothing but noise."""


def signal(times: int = TIMES) -> Tensor:
    """The share of the picture in the state after each step of noise, [times + 1], from 1 down.

    The state is `signal · picture + sqrt(1 - signal²) · noise`. Source: the cosine schedule of
    Nichol and Dhariwal 2021, equation 17, no step of which takes more than 0.999 of the variance.
    """
    place = torch.arange(times + 1, dtype=torch.float64) / times
    bar = torch.cos((place + 0.008) / 1.008 * math.pi / 2).square()
    beta = (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
    return torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)]).sqrt()


SIGNAL: list[float] = signal().tolist()
"""`signal` of the times from 0 to `TIMES`."""


def path(steps: int, jump: int, resamplings: int) -> list[int]:
    """The levels of noise that a fill passes, from `steps` to 0.

    At every `jump`-th level it goes back up by so many, until each stretch but the noisiest has
    been walked `resamplings` times. Source: Lugmayr et al. 2022, appendix B.

    >>> path(4, 2, 2)
    [4, 3, 2, 1, 0, 2, 1, 0]
    """
    left = dict.fromkeys(range(0, steps - jump, jump), resamplings - 1)
    levels = [steps]
    while levels[-1] > 0:
        levels.append(levels[-1] - 1)
        if left.get(levels[-1], 0):
            left[levels[-1]] -= 1
            levels.append(levels[-1] + jump)
    return levels
