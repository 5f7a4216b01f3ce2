"""Fast Fourier convolutions: layers that see the whole picture at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gapfill.nets.layers import BatchNorm2d, at_least_float32


class FourierUnit(nn.Module):
    """A 1×1 convolution over the frequencies of a feature map.

    Source: Chi et al. 2020, "Fast Fourier Convolution", as Suvorov et al. 2022 use it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1, bias=False),
            BatchNorm2d(2 * channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W], unchanged in shape; both transforms are made in float32 or more."""
        sides = x.shape[-2:]
        with torch.autocast(x.device.type, enabled=False):
            waves = torch.fft.rfft2(at_least_float32(x), norm="ortho")
        y = self.layers(torch.cat([waves.real, waves.imag], 1))
        with torch.autocast(x.device.type, enabled=False):
            real, imag = at_least_float32(y).chunk(2, 1)
            waves = torch.complex(real.contiguous(), imag.contiguous())
            return torch.fft.irfft2(waves, s=sides, norm="ortho")


class SpectralTransform(nn.Module):
    """A Fourier unit between two 1×1 convolutions that halve the channels and double them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.narrow = nn.Sequential(
            nn.Conv2d(channels, half, 1, bias=False), BatchNorm2d(half), nn.ReLU()
        )
        self.unit = FourierUnit(half)
        self.widen = nn.Conv2d(half, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W], unchanged in shape."""
        x = self.narrow(x)
        return self.widen(x + self.unit(x))


class FFC(nn.Module):
    """One convolution in two streams, a local and a global one, each hearing both.

    Args:
        channels: of both streams together.
        ratio: share of them that is global.
    """

    def __init__(self, channels: int, ratio: float = 0.75) -> None:
        super().__init__()
        self.local = channels - 2 * round(ratio * channels / 2)
        rest = channels - self.local
        self.to_local = nn.Conv2d(channels, self.local, 3, padding=1, bias=False)
        self.to_global = nn.Conv2d(self.local, rest, 3, padding=1, bias=False)
        self.spectral = SpectralTransform(rest)
        self.finish = nn.Sequential(BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W], the local stream first, unchanged in shape."""
        local, rest = x[:, : self.local], x[:, self.local :]
        return self.finish(
            torch.cat([self.to_local(x), self.to_global(local) + self.spectral(rest)], 1)
        )


class FFCBlock(nn.Sequential):
    """Two fast Fourier convolutions, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__(FFC(channels), FFC(channels))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """[N, channels, H, W], unchanged in shape."""
        return input + super().forward(input)
