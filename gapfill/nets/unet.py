"""A U-Net over residual blocks, with or without a time that it listens to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gapfill.nets.backbones import Backbone
from gapfill.nets.layers import BatchNorm2d, PixelShuffle, at_least_float32, upsampled
from gapfill.nets.padding import padded


def _norm(channels: int, normed: bool) -> nn.Module:
    return BatchNorm2d(channels) if normed else nn.Identity()


class Residual(nn.Module):
    """Two 3×3 convolutions, each after BatchNorm and SiLU, added to what came in.

    Args:
        inputs: channels of what comes in.
        outputs: channels of what goes out.
        code: length of the code that scales and shifts the second normalisation; 0 for none.
        normed: whether there is BatchNorm.
    """

    def __init__(self, inputs: int, outputs: int, code: int = 0, normed: bool = True) -> None:
        super().__init__()
        self.first = nn.Sequential(
            _norm(inputs, normed), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.norm = _norm(outputs, normed)
        self.modulate = nn.Linear(code, 2 * outputs) if code else None
        self.second = nn.Sequential(nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second[-1].weight)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]; `code` is [N, length]."""
        y = self.norm(self.first(x))
        if self.modulate is not None:
            scale, shift = self.modulate(code)[:, :, None, None].chunk(2, 1)
            y = y * (1 + scale) + shift
        return self.skip(x) + self.second(y)


class Attention(nn.Module):
    """Self-attention over all places of a feature map, added to what came in."""

    def __init__(self, channels: int, heads: int = 4, normed: bool = True) -> None:
        super().__init__()
        self.heads = math.gcd(heads, channels)
        self.norm = _norm(channels, normed)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W], unchanged in shape."""
        count, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)
        parts = qkv.view(count, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*parts.unbind(0))
        y = y.transpose(1, 2).reshape(count, height, width, channels).permute(0, 3, 1, 2)
        return x + self.out(y)


class TimeCode(nn.Module):
    """A time in [0, 1] as a vector: sines and cosines, then two dense layers."""

    def __init__(self, length: int, frequencies: int = 32) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.layers = nn.Sequential(
            nn.Linear(2 * frequencies, length), nn.SiLU(), nn.Linear(length, length), nn.SiLU()
        )

    def forward(self, time: Tensor) -> Tensor:
        """Times [N] to codes [N, length]."""
        place = torch.arange(self.frequencies, device=time.device) / self.frequencies
        angle = at_least_float32(time[:, None]) * torch.exp(place * math.log(1000.0))
        return self.layers(torch.cat([angle.sin(), angle.cos()], 1))


class Encoder(nn.Module):
    """The way down: the first convolution halves the side, each further level halves it again.

    Args:
        inputs: channels of the pictures.
        channels: of each level, from the finest.
        attention: the levels, counted from the finest, that end with self-attention.
        code: length of the time code; 0 for none.
        normed: whether there is BatchNorm.
    """

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        attention: Sequence[int] = (),
        code: int = 0,
        normed: bool = True,
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        self.reductions = [2 ** (level + 1) for level in range(len(channels))]
        self.halve = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise([inputs, *channels])
        )
        self.blocks = nn.ModuleList(Residual(c, c, code, normed) for c in channels)
        self.attention = nn.ModuleList(
            Attention(c, normed=normed) if level in attention else nn.Identity()
            for level, c in enumerate(channels)
        )

    def forward(self, x: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """The feature maps of all levels, from the finest."""
        features = []
        for halve, block, attend in zip(self.halve, self.blocks, self.attention, strict=True):
            x = attend(block(halve(x), code))
            features.append(x)
        return features


class UNet(nn.Module):
    """An encoder, and the way back up: each level joins the features beside it to those below.

    Nothing is computed at full resolution but the first and the last convolution, which keeps
    it affordable on a CPU.

    Args:
        inputs: channels that come in.
        width: channels at half resolution; each level below has twice as many, up to eight times.
        outputs: channels that go out, of any size: there is no last activation.
        timed: whether `forward` takes a time, which scales and shifts every block's features.
        dropout: share of the encoder's feature maps that training hides, at an eighth of the side
            and below, where a map sees past the hole: nothing learnt by heart gets round it.
        encoder: gives feature maps in place of the own encoder; it has `channels` and
            `reductions`, from the finest, and is not timed.
        normed: whether there is BatchNorm, in the own encoder too.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int = 3,
        *,
        timed: bool = False,
        dropout: float = 0.0,
        encoder: Encoder | Backbone | None = None,
        normed: bool = True,
    ) -> None:
        super().__init__()
        code = 4 * width if timed else 0
        self.time = TimeCode(code) if timed else None
        self.encoder = encoder or Encoder(
            inputs, [width, 2 * width, 4 * width, 8 * width], (2,), code, normed
        )
        channels, reductions = self.encoder.channels, self.encoder.reductions
        widths = [width * min(reduction // 2, 8) for reduction in reductions]
        self.hide = nn.ModuleList(
            nn.Dropout2d(dropout if reduction >= 8 else 0.0) for reduction in reductions
        )
        self.bottom = Residual(channels[-1], widths[-1], code, normed)
        self.narrow = nn.ModuleList(
            nn.Conv2d(below, here, 1) for below, here in pairwise(widths[::-1])
        )
        self.blocks = nn.ModuleList(
            Residual(here + beside, here, code, normed)
            for here, beside in zip(widths[-2::-1], channels[-2::-1], strict=True)
        )
        self.head = nn.Sequential(
            _norm(width, normed),
            nn.SiLU(),
            nn.Conv2d(width, outputs * reductions[0] ** 2, 3, padding=1),
            PixelShuffle(reductions[0]),
        )

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]; `time` is [N], in [0, 1].

        Sides that cannot be halved often enough are padded inside.
        """
        code = self.time(time) if self.time is not None and time is not None else None
        return padded(partial(self._padded, code=code), x, self.encoder.reductions[-1])

    def _padded(self, x: Tensor, code: Tensor | None) -> Tensor:
        maps = self.encoder(x, code)
        features = [hide(each) for hide, each in zip(self.hide, maps, strict=True)]
        x = self.bottom(features[-1], code)
        for narrow, block, beside in zip(self.narrow, self.blocks, features[-2::-1], strict=True):
            x = upsampled(narrow(x), beside.shape[-2:])
            x = block(torch.cat([x, beside], 1), code)
        return self.head(x)
