"""Critics that judge a picture patch by patch."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gapfill.nets.layers import down, with_mask
from gapfill.nets.products import Conv2d


class PatchCritic(nn.Module):
    """Strided convolutions down to a map of logits, one for each patch of the picture.

    It has no BatchNorm: a picture's logits and their slopes depend on that picture alone.

    Args:
        width: channels after the first convolution, up to four times as many later.
        kernel: side of its convolutions.
        spectral: whether each convolution is divided by its spectral norm, as Miyato et al. 2018
            do, so that no slope is steeper than 1.
        masked: whether it sees the mask as a fourth channel.
    """

    def __init__(
        self, width: int, *, kernel: int = 5, spectral: bool = False, masked: bool = False
    ) -> None:
        super().__init__()
        self.masked = masked
        channels = [4 if masked else 3, width, 2 * width, 4 * width, 4 * width]
        layers = [
            nn.Conv2d(before, after, kernel, 2, (kernel - 1) // 2)
            for before, after in pairwise(channels)
        ]
        layers.append(nn.Conv2d(channels[-1], 1, 3, padding=1))
        self.layers = nn.ModuleList(map(spectral_norm, layers) if spectral else layers)

    def maps(self, pictures: Tensor, masks: Tensor) -> list[Tensor]:
        """The feature maps of all layers; the last is that of the logits, [N, 1, h, w]."""
        x, found = with_mask(pictures, masks) if self.masked else pictures, []
        for layer in self.layers:
            x = layer(F.leaky_relu(x, 0.2) if found else x)
            found.append(x)
        return found

    def forward(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Logits [N, 1, h, w] of pictures in [-1, 1] and their masks."""
        return self.maps(pictures, masks)[-1]


class PatchGAN(nn.Sequential):
    """pix2pix's critic: three halvings with BatchNorm, and a logit for each patch of 38 pixels.

    It sees the mask as a fourth channel.

    Args:
        width: channels after the first convolution; twice as many after each further one.
    """

    def __init__(self, width: int) -> None:
        leaky = partial(nn.LeakyReLU, 0.2)
        super().__init__(
            down(4, width, leaky(), norm=False),
            down(width, 2 * width, leaky()),
            down(2 * width, 4 * width, leaky()),
            Conv2d(4 * width, 1, 3, padding=1),
        )

    def forward(self, pictures: Tensor, masks: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Logits [N, 1, H / 8, W / 8] of pictures in [-1, 1] and their masks."""
        return super().forward(with_mask(pictures, masks))
