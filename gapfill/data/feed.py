"""Training batches: pictures with a mask each, made where they are needed, some steps at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gapfill import masks
from gapfill.data.stream import Source, picture_numbers, to_network
from gapfill.randomness import mix
from gapfill.types import Batch


class MaskedBatches:
    """Training batches: pictures in [-1, 1] with a mask each, by step.

    What a step sees depends on its number alone. On a GPU those of `source.ahead` steps are made
    together, so that a few dozen kernels are launched once for all of them; a CPU, which would lose
    them from its caches, makes one step's at a time.

    Args:
        source: gives the pictures.
        kind: what `masks.draw` takes, a kind or a mixture.
        seed: names the masks.
        device: where the batches are wanted.
        given: the kind's mask pictures, if they are read already.
    """

    def __init__(
        self,
        source: Source,
        kind: str,
        seed: int,
        device: torch.device,
        given: Mapping[str, Tensor] | None = None,
    ) -> None:
        masks.check(kind)
        self.source = source
        self.kind = kind
        self.seed = mix(seed, "training masks")
        self.device = device
        self._given = None if given is None else masks.placed(kind, given, device)
        self._count = source.ahead if device.type == "cuda" else 1
        self._first = -1
        self._pictures: tuple[Tensor, ...] = ()
        self._masks: tuple[Tensor, ...] = ()
        self._upload = _Upload(source, device, self._count)

    def __call__(self, step: int) -> Batch:
        """The batch of `step`, on the device."""
        place = step % self._count
        if step - place != self._first:
            self._load(step - place)
        return Batch(to_network(self._pictures[place]), self._masks[place])

    def _load(self, first: int) -> None:
        images = self._upload(first)
        share = len(images) // self._count
        numbers = picture_numbers(first, self._count, share, self.device)
        if self._given is None:
            read = masks.banks(self.kind, images.shape[-1])
            self._given = masks.placed(self.kind, read, self.device)
        own = self.source.masks()
        if own is not None:
            if self.device.type == "cuda" and not own.is_cuda:
                own = own.pin_memory().to(self.device, non_blocking=True)
            self._pictures, self._masks = (images,), (own.to(self.device, torch.float32),)
            self._first = first
            return
        drawn = masks.draw(self.kind, numbers, images.shape[-1], self.seed, self._given)
        self._pictures, self._masks = images.split(share), drawn.split(share)
        self._first = first


class _Upload:
    """Brings a source's blocks to the device.

    Where the pictures live on the host, because the GPU has no room for them all, the next block is
    gathered in pinned memory and sent on its way while the present one is used.
    """

    def __init__(self, source: Source, device: torch.device, count: int) -> None:
        self.source = source
        self.device = device
        self._count = count
        self._coming: tuple[int, Tensor] | None = None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, first: int) -> Tensor:
        if self._coming is not None and self._coming[0] == first:
            images = self._coming[1]
        else:
            images = self.source.block(first, self._count)
            if self._stream is None or images.device.type == "cuda":
                return images.to(self.device)
            images = self._send(images)
        assert self._stream is not None
        present = torch.cuda.current_stream(self.device)
        present.wait_stream(self._stream)
        images.record_stream(present)
        if self._count > 1:
            following = first + self._count
            self._coming = following, self._send(self.source.block(following, self._count))
        return images

    def _send(self, images: Tensor) -> Tensor:
        with torch.cuda.stream(self._stream):
            return images.pin_memory().to(self.device, non_blocking=True)
