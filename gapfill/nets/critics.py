"""Networks from pictures to logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from gapfill.nets.crops import crop_around
from gapfill.nets.layers import convolution, down, with_mask
from gapfill.nets.padding import enlarged, rounded
from gapfill.nets.products import Conv2d
from gapfill.nets.unet import Encoder

View = Literal["global", "local", "both"]
"""What a critic judges: the whole picture, the part around the hole, or each by a critic."""


class Critic(nn.Sequential):
    """DCGAN's discriminator: strided convolutions down to one logit a picture, no dense layer.

    Args:
        size: side of the pictures, a multiple of 16.
        width: channels after the first convolution.
        act: makes the activation.
        norm: BatchNorm after every convolution but the first and the last.
    """

    def __init__(
        self, size: int, width: int, act: Callable[[], nn.Module], norm: bool = True
    ) -> None:
        w = width
        super().__init__(
            down(3, w, act(), norm=False),
            down(w, 2 * w, act(), norm),
            down(2 * w, 4 * w, act(), norm),
            down(4 * w, 8 * w, act(), norm),
            Conv2d(8 * w, 1, size // 16),
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """Logits [N] of pictures [N, 3, S, S] in [-1, 1]."""
        return super().forward(input).flatten()


class Critics(nn.ModuleDict):
    """A critic of the whole picture, `global`, or of the part around the hole, `local`, or both.

    Source: the global and the local discriminator of Li et al. 2017 and Iizuka et al. 2017.

    Args:
        make: makes a critic for pictures of a side, a multiple of 16: others are padded to it.
        size: side of the whole pictures.
        view: which.
    """

    def __init__(self, make: Callable[[int], nn.Module], size: int, view: View = "global") -> None:
        sides = {"global": size, "local": size // 2}
        chosen = sides if view == "both" else (view,)
        super().__init__({name: make(rounded(sides[name])) for name in chosen})

    def forward(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Logits [N], or [2N] of two critics, whose mean loss is the mean of their losses."""
        return torch.cat([self.judge(view, pictures, masks) for view in self])

    def judge(self, view: str, pictures: Tensor, masks: Tensor) -> Tensor:
        """Logits [N] of one of the critics."""
        seen = pictures if view == "global" else crop_around(pictures, masks)
        return self[view](enlarged(seen))


class ResidualCritic(nn.Module):
    """Residual blocks without normalisation on the way down, and one logit a picture.

    It sees the mask as a fourth channel. A picture's logit and its slope depend on that picture
    alone, and both are smooth, as penalties on slopes want them.

    Args:
        size: side of the pictures.
        width: channels at half resolution; twice as many at each of the three levels below.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(4, [width, 2 * width, 4 * width, 8 * width], normed=False)
        self.logit = nn.Sequential(nn.SiLU(), Conv2d(8 * width, 1, rounded(size) // 16))

    def forward(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Logits [N] of pictures [N, 3, S, S] in [-1, 1]."""
        return self.logit(self.encoder(enlarged(with_mask(pictures, masks)))[-1]).flatten()


class _Features(nn.Sequential):
    """Five-pixel convolutions of stride 2 and a dense layer: what one eye of the critic sees."""

    def __init__(self, size: int, width: int, depth: int) -> None:
        channels = [3, *(width * min(2**step, 8) for step in range(depth))]
        side = -(-size // 2**depth)
        super().__init__(
            *(convolution(channels[n], channels[n + 1], 5, 2) for n in range(depth)),
            nn.Flatten(),
            nn.Linear(channels[-1] * side**2, 16 * width),
            nn.ReLU(),
        )


class TwoEyed(nn.Module):
    """One logit from features of the whole picture and of the part around its hole.

    Source: Iizuka et al. 2017.

    Args:
        size: side of the whole pictures.
        width: channels after the first convolutions.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.whole = _Features(size, width, depth=5)
        self.part = _Features(size // 2, width, depth=4)
        self.logit = nn.Linear(32 * width, 1)

    def forward(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """Logits [N]."""
        part = crop_around(pictures, masks)
        return self.logit(torch.cat([self.whole(pictures), self.part(part)], 1)).flatten()
