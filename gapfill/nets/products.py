"""Convolutions that a CPU computes as matrix products where a layer has more weights than work.

oneDNN rearranges a layer's weights, and the gradient towards them, at every call. Deep in an
encoder, where maps are 4×4 and the weights count in millions, that costs several times the
arithmetic. There the classes below gather the windows as the rows of a matrix and multiply.
Everywhere else, and on a GPU, they are their parents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, faster on a CPU where the weights outnumber the outputs."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parent's name
        """Convolve [N, C, H, W]."""
        windows = _windows(self, *input.shape[-2:])
        if windows is None or not _pays(self, input, windows, self.out_channels):
            return super().forward(input)
        x, weight = _autocast(input, self.weight)
        rows = F.linear(_Columns.apply(x, windows), _matrix(weight))
        result = rows.view(len(x), *windows.grid, -1).permute(0, 3, 1, 2)
        return _biased(result, self.bias)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, faster on a CPU where the weights outnumber the inputs."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002
        """Convolve [N, C, H, W], transposed."""
        plain = output_size is None and not any(self.output_padding)
        reach = self.kernel_size[0] - 2 * int(self.padding[0])
        height, width = ((side - 1) * self.stride[0] + reach for side in input.shape[-2:])
        windows = _windows(self, height, width) if plain else None
        if windows is None or not _pays(self, input, windows, self.in_channels):
            return super().forward(input, output_size)
        x, weight = _autocast(input, self.weight)
        rows = x.permute(0, 2, 3, 1).reshape(-1, self.in_channels) @ _matrix(weight)
        return _biased(_Fold.apply(rows, windows), self.bias)


class _Windows(NamedTuple):
    """The square windows that slide over a map of `height` × `width`."""

    height: int
    width: int
    kernel: int
    stride: int
    padding: int

    @property
    def grid(self) -> tuple[int, int]:
        """How many there are down and across."""
        reach = 2 * self.padding - self.kernel
        down, across = ((side + reach) // self.stride + 1 for side in (self.height, self.width))
        return down, across

    @property
    def number(self) -> int:
        """How many there are."""
        return self.grid[0] * self.grid[1]


class _Columns(Function):
    """The windows of [N, C, H, W] as rows, [N · windows, kernel · kernel · C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: _Windows) -> Tensor:
        ctx.windows = windows
        kernel, stride, padding = windows[2:]
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, *(padding,) * 4))
        found = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)
        return found.permute(0, 1, 2, 4, 5, 3).reshape(len(x) * windows.number, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Fold.apply(gradients[0], ctx.windows), None  # type: ignore[return-value]


class _Fold(Function):
    """The adjoint of `_Columns`: every row is added to its window, which gives [N, C, H, W]."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, windows: _Windows) -> Tensor:
        ctx.windows = windows
        height, width, kernel, stride, padding = windows
        down, across = windows.grid
        parts = rows.view(-1, down, across, kernel, kernel, rows.shape[1] // kernel**2)
        shape = len(parts), height + 2 * padding, width + 2 * padding, parts.shape[-1]
        padded = rows.new_zeros(shape)
        for i in range(kernel):
            for j in range(kernel):
                place = padded[:, i : i + stride * down : stride, j : j + stride * across : stride]
                place += parts[:, :, :, i, j]
        inside = padded[:, padding : padding + height, padding : padding + width]
        return inside.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Columns.apply(gradients[0], ctx.windows), None  # type: ignore[return-value]


def _windows(layer: nn.Conv2d | nn.ConvTranspose2d, height: int, width: int) -> _Windows | None:
    """The layer's windows over its finer map, or None where it is no plain, square convolution."""
    if isinstance(layer.padding, str) or layer.groups > 1 or layer.padding_mode != "zeros":
        return None
    if any(len({*pair}) > 1 for pair in (layer.kernel_size, layer.stride, layer.padding)):
        return None
    if layer.dilation != (1, 1):
        return None
    return _Windows(height, width, layer.kernel_size[0], layer.stride[0], layer.padding[0])


def _pays(
    layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, windows: _Windows, channels: int
) -> bool:
    """Whether the coarser map, of so many `channels`, holds at most half as many values as weights.

    That is where the two ways cost the same, with and without the CPU's bf16 instructions. A graph
    that is exported is for other machines and batches of any size: there it stays a convolution.
    """
    if torch.compiler.is_exporting():
        return False
    few = 2 * len(x) * windows.number * channels <= layer.weight.numel()
    return few and x.device.type == "cpu" and x.ndim == 4


def _matrix(weight: Tensor) -> Tensor:
    """A weight [A, B, k, k] as [A, k · k · B]: a view where it is channels_last."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _biased(result: Tensor, bias: Tensor | None) -> Tensor:
    return result if bias is None else result + bias.to(result.dtype)[:, None, None]


def _autocast(*tensors: Tensor) -> list[Tensor]:
    """The tensors as autocast would hand them to a convolution."""
    if not torch.is_autocast_enabled("cpu"):
        return list(tensors)
    return [tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors]
