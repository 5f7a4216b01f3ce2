"""Filling as fast as a machine can: fixed shapes, nothing checked twice, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from gapfill.compute import aside, autocast, capture, fast_math, resolve_precision
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.randomness import filled_names, filling


class Filler:
    """`inpaint` for batches of one size and dtype, prepared once.

    Shapes are checked and values are not: the mask is taken on trust, so that nothing waits for
    the GPU. Known pixels come back bit for bit in every precision.

    >>> import gapfill
    >>> filler = Filler(gapfill.create("telea"), size=32, batch_size=2)
    >>> image, mask = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, 1, 32, 32)
    >>> mask[..., 8:16, 8:16] = 1
    >>> filler(image, mask).shape
    torch.Size([2, 3, 32, 32])

    Args:
        model: a trained model, on the device where it shall fill.
        size: side of the pictures, or (height, width).
        batch_size: pictures in a batch.
        dtype: of the pictures, uint8 or a float in [0, 1].
        precision: `fp32`, `bf16`, or `auto`, which is bf16 where the hardware multiplies it.
        mode: `eager`; `compile`, with torch.compile; `graph`, a CUDA graph; `auto` is a graph on a
            GPU and eager elsewhere.

    Raises:
        UsageError: the model is not trained, does not take this size, or cannot have this mode.
    """

    def __init__(
        self,
        model: Inpainter,
        size: int | tuple[int, int],
        batch_size: int = 1,
        dtype: torch.dtype = torch.uint8,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        mode: Literal["auto", "eager", "compile", "graph"] = "auto",
    ) -> None:
        model.require_training()
        height, width = (size, size) if isinstance(size, int) else size
        model.check_size(height, width)
        self.model = model.eval()
        self.device = model.device
        self.shape = batch_size, 3, height, width
        self.dtype = dtype
        self.precision = resolve_precision(precision, self.device)
        self.mode = mode
        self._network = model.fill
        self._paint = self._call
        if mode == "compile":
            self._network = torch.compile(model.fill, dynamic=False)
        elif mode == "graph" and self.device.type != "cuda":
            raise UsageError("mode 'graph' needs a model on a CUDA device.")
        elif mode == "graph":
            self._paint = self._captured()
        elif mode == "auto":
            self.mode, self._paint = self._best()

    def __call__(self, image: Tensor, mask: Tensor, seed: int = 0, first: int = 0) -> Tensor:
        """Fill the holes.

        Args:
            image: [N, 3, H, W] of the size and dtype that were promised, on any device; N may be
                less than was promised, as in a last batch.
            mask: [N, 1, H, W] or [1, 1, H, W], 0 and 1, 1 = missing.
            seed: names the noise of a stochastic model, together with a picture's number.
            first: the number of the first picture.

        Returns:
            The filled pictures, on the model's device.

        Raises:
            UsageError: another shape or dtype.
        """
        shape, count = tuple(image.shape), len(image)
        if shape[1:] != self.shape[1:] or not 0 < count <= self.shape[0]:
            raise UsageError(
                f"this filler takes {list(self.shape)} {self.dtype}, or fewer pictures; "
                f"got {list(shape)} {image.dtype}."
            )
        if image.dtype != self.dtype:
            raise UsageError(
                f"this filler takes {list(self.shape)} {self.dtype}; "
                f"got {list(shape)} {image.dtype}."
            )
        if mask.shape[1:] != (1, *self.shape[2:]) or len(mask) not in (1, count):
            raise UsageError(f"mask must be {[count, 1, *self.shape[2:]]}; got {list(mask.shape)}.")
        image = self._whole(image.to(self.device, non_blocking=True))
        mask = mask.to(self.device, torch.float32, non_blocking=True)
        mask = self._whole(mask.expand(count, -1, -1, -1))
        with self.model.seeding(seed, first, self.shape[0]):
            return self._paint(image, mask)[:count]

    def _whole(self, batch: Tensor) -> Tensor:
        """The batch with as many pictures as were promised: the last stands for those that lack."""
        lacking = self.shape[0] - len(batch)
        return torch.cat([batch, batch[-1:].expand(lacking, -1, -1, -1)]) if lacking else batch

    @torch.no_grad()
    def _call(self, image: Tensor, mask: Tensor) -> Tensor:
        with fast_math(self.device, self.precision), autocast(self.device, self.precision):
            return self.model.paint(image, mask, self._network)

    def _captured(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The call as a CUDA graph, with inputs and result at fixed places."""
        height, width = self.shape[2:]
        image = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        mask = torch.zeros(self.shape[0], 1, height, width, device=self.device)
        mask[..., : height // 2, : width // 2] = 1
        names = torch.arange(self.shape[0], device=self.device)

        def call() -> Tensor:
            with filling(names):
                return self._call(image, mask)

        with aside(self.device):
            for _ in range(3):  # libraries choose and allocate at first
                call()
        filled, replay = capture(call)

        def paint(newest: Tensor, hole: Tensor) -> Tensor:
            image.copy_(newest)
            mask.copy_(hole)
            if (fresh := filled_names()) is not None:
                names.copy_(fresh)
            replay()
            return filled.clone()

        return paint

    def _best(self) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
        """A graph on a GPU, if the model's `fill` can be captured; some work on the CPU."""
        if self.device.type == "cuda":
            try:
                return "graph", self._captured()
            except RuntimeError:
                torch.cuda.synchronize(self.device)
        return "eager", self._call
