"""Initial weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from gapfill.nets.unet import Residual


def initialise(module: nn.Module) -> None:
    """DCGAN's initial weights: N(0, 0.02), BatchNorm's gain N(1, 0.02), biases zero.

    Source: Radford et al. 2016, section 4, and the gain of its published code.
    """
    for part in _held(module):
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)


def initialise_relu(module: nn.Module) -> None:
    """Initial weights that keep the signal's size through ReLU layers without BatchNorm.

    Source: He et al. 2015, "Delving Deep into Rectifiers".
    """
    for part in _held(module):
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def initialise_residual(module: nn.Module) -> None:
    """Initial weights for residual blocks without BatchNorm, whose branches end in a zero.

    What ends in a zero stays one, so that each block begins as its skip. Everywhere else a layer
    keeps the signal's size; the first one of a branch is smaller by the root of the number of
    branches, so that the first steps move the sum of them no further than they would move one.
    Source: Zhang et al. 2019, "Fixup Initialization", for branches of two layers.
    """
    branches = [part for part in module.modules() if isinstance(part, Residual)]
    first = {id(part.first[-1]) for part in branches}
    for part in _held(module):
        if not isinstance(part, nn.Conv2d | nn.Linear):
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
        if part.weight.count_nonzero():
            inner = id(part) in first
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu" if inner else "linear")
            if inner:
                with torch.no_grad():
                    part.weight.mul_(len(branches) ** -0.5)


def _held(module: nn.Module) -> Iterator[nn.Module]:
    """The layers that hold numbers: on the meta device there is nothing to draw."""
    for part in module.modules():
        if not getattr(getattr(part, "weight", None), "is_meta", False):
            yield part
