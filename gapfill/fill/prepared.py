"""Filling as fast as a machine can: fixed shapes, nothing checked twice, no waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

from gapfill.compute import (
    CaptureError,
    aside,
    autocast,
    capture,
    fast_math,
    on,
    resolve_precision,
)
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.randomness import filled_names, filling

_log = logging.getLogger("gapfill")


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
            self._paint = self._asked()
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
            UsageError: another shape or dtype, or the model has moved to another device.
        """
        if self.model.device != self.device:
            raise UsageError(
                f"the model was on {self.device} when this filler was prepared, and is on "
                f"{self.model.device} now. Make a new filler."
            )
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
        fast = fast_math(self.device, self.precision)
        with on(self.device), fast, autocast(self.device, self.precision):
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

        stream = torch.cuda.Stream(self.device)
        with aside(stream):
            for _ in range(3):  # libraries choose and allocate at first
                call()
        filled, replay = capture(call, stream)
        # The graph reads the weights where they are now, whatever `model.to` replaces them by.
        tensors = chain(self.model.parameters(), self.model.buffers())
        self._read = [tensor.detach() for tensor in tensors]

        def paint(newest: Tensor, hole: Tensor) -> Tensor:
            image.copy_(newest)
            mask.copy_(hole)
            if (fresh := filled_names()) is not None:
                names.copy_(fresh)
            replay()
            return filled.clone()

        return paint

    def _asked(self) -> Callable[[Tensor, Tensor], Tensor]:
        """A graph, or the reason why there is none."""
        try:
            return self._captured()
        except CaptureError as error:
            raise UsageError(
                f"mode 'graph' asked, but '{self.model.name}' cannot be captured in a CUDA graph "
                f"({error}). Use mode='eager'."
            ) from error

    def _best(self) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
        """A graph on a GPU, if the model's `fill` can be captured; some work on the CPU."""
        if self.device.type == "cuda":
            try:
                return "graph", self._captured()
            except CaptureError as error:
                name = self.model.name
                _log.info(f"{name}: no CUDA graph of its fill ({error}); filling by calls")
        return "eager", self._call
