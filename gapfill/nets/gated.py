"""Convolutions that weigh their own outputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class GatedConv(nn.Module):
    """A convolution whose every output is multiplied by a gate in [0, 1] of its own.

    Source: Yu et al. 2019, equation 3, with ELU as there. Features start with twice He's initial
    weights: a gate starts at about a half, and sixteen layers of PyTorch's own would hand on
    nothing but their biases.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.both = nn.Conv2d(inputs, 2 * outputs, kernel, stride, padding, dilation)
        features, gate = self.both.weight.data.chunk(2)
        nn.init.kaiming_normal_(features).mul_(2)
        nn.init.kaiming_normal_(gate, nonlinearity="linear")
        nn.init.zeros_(self.both.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        features, gate = self.both(x).chunk(2, 1)
        return F.elu(features) * gate.sigmoid()
