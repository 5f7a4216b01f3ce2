"""Pictures for training: from a table in memory, or from any iterable of image batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from gapfill import masks, ranks
from gapfill.data import known
from gapfill.data.checks import as_rgb, check_images
from gapfill.data.items import check_loader, open_item, say_unused
from gapfill.errors import UsageError
from gapfill.randomness import mix

LARGEST_BATCH = 65_536
_BLOCK = 1024  # pictures that a stream gathers together, some steps' worth


__all__ = [
    "Replay",
    "Source",
    "Stream",
    "check_images",
    "open_source",
    "picture_numbers",
    "to_network",
]


class Source(Protocol):
    """Pictures by step: what `Stream` and `Replay` have in common."""

    @property
    def ahead(self) -> int:
        """How many steps' pictures are asked for together; 1 for one that must not run ahead."""
        ...

    def block(self, first: int, count: int) -> Tensor:
        """This process's share of the pictures of `count` steps, [count · N, 3, H, W]."""
        ...

    def masks(self) -> Tensor | None:
        """The masks that came with the block read last, bool [N, 1, H, W], if any did."""
        ...

    def epoch(self) -> Iterable[Tensor]:
        """Every picture once, in batches of any size, as it came."""
        ...

    def identity(self, seed: int) -> dict[str, Any]:
        """What makes a run on it this run and no other; its first batch was read under `seed`."""
        ...

    def __len__(self) -> int:
        """Batches an epoch; 0 where nobody knows."""
        ...


class Stream:
    """A table's pictures as batches without end, where batch n depends on (seed, n) alone.

    A run that is resumed at step n therefore sees what an uninterrupted run sees. The table stays
    where it is put (`device`), and gathering and flipping happen there.

    Args:
        images: uint8 [M, 3, S, S], or grey [M, 1, S, S], for instance `table.part("train").images`.
        batch_size: pictures a step, over all processes together.
        seed: names the order and the flips.
        flip: mirror every second picture, at random.
        device: where the table shall live.

    Raises:
        UsageError: no pictures, or a batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int = 64,
        seed: int = 0,
        flip: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        images = as_rgb(images)
        check_images(images)
        if not 1 <= batch_size <= LARGEST_BATCH:
            raise UsageError(f"batch_size must be 1 to {LARGEST_BATCH}; got {batch_size}.")
        self.images = images.to(device)
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self._hashed: tuple[Tensor, int, str] | None = None

    @property
    def ahead(self) -> int:
        """How many batches are made at a time."""
        return max(2, _BLOCK * ranks.world() // self.batch_size)

    def __len__(self) -> int:
        return max(1, len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        return (self.batch(step) for step in range(len(self)))

    def masks(self) -> Tensor | None:
        """None: the masks are drawn."""
        return None

    def epoch(self) -> Iterable[Tensor]:
        """Every picture once, unmirrored."""
        return self.images.split(1024)

    def identity(self, seed: int = 0) -> dict[str, Any]:
        """The pictures' hash, and how they are dealt out."""
        return {
            "pictures": self._digest(),
            "batch_size": self.batch_size,
            "order": self.seed,
            "flip": self.flip,
        }

    def move(self, device: torch.device) -> None:
        """Put the table elsewhere; its hash is taken before, of what is nearer."""
        if self.images.device != device:
            found = self._digest()
            self.images = self.images.to(device)
            if not self.images.is_inference():
                self._hashed = self.images, self.images._version, found

    def _digest(self) -> str:
        """The pictures' SHA-256, taken once while they are the same and nobody writes to them."""
        images = self.images
        if images.is_inference():  # which do not say when they are written to
            return _sha256(images)
        known = self._hashed
        if known is None or known[0] is not images or known[1] != images._version:
            known = self._hashed = images, images._version, _sha256(images)
        return known[2]

    def batch(self, step: int) -> Tensor:
        """This process's share of batch `step`, uint8 [N, 3, S, S]."""
        return self.block(step, 1)

    def block(self, first: int, count: int) -> Tensor:
        """This process's share of `count` batches from `first` on, uint8 [count · N, 3, S, S]."""
        at = torch.cat([self._places(step) for step in range(first, first + count)])
        picked = self.images[at]
        if not self.flip:
            return picked
        numbers = picture_numbers(first, count, len(at) // count, picked.device)
        mirrored = masks.uniform(mix(self.seed, "flip"), numbers, 1) < 0.5
        return torch.where(mirrored[:, :, None, None], picked.flip(-1), picked)

    def _places(self, step: int) -> Tensor:
        """Where in the table this process's pictures of `step` are.

        Raises:
            UsageError: the processes, which may have met after this was made, cannot share a batch.
        """
        epoch, place = divmod(step, len(self))
        share, rest = divmod(self.batch_size, ranks.world())
        if rest:
            raise UsageError(
                f"batch_size {self.batch_size} cannot be shared by {ranks.world()} processes "
                "evenly."
            )
        start = place * self.batch_size + ranks.rank() * share
        places = torch.arange(start, start + share, device=self.images.device)
        # A table smaller than a batch is gone through several times in one.
        return self._permutation(epoch)[places % len(self.images)]

    def _permutation(self, epoch: int) -> Tensor:
        """The order of an epoch, where the table is: drawn on the host, the same everywhere."""
        if epoch != self._epoch or self._order.device != self.images.device:
            generator = torch.Generator().manual_seed(mix(self.seed, "order", epoch))
            order = torch.randperm(len(self.images), generator=generator)
            # From pinned memory, so that nobody waits for what the device still has to do.
            order = order.pin_memory() if self.images.is_cuda else order
            self._order = order.to(self.images.device, non_blocking=True)
            self._epoch = epoch
        return self._order


class Replay:
    """Any iterable of image batches, read again and again.

    Batches may be tensors, (images, labels) pairs, as torchvision's loaders yield them, (images,
    masks) pairs, whose masks are used, or dictionaries (`gapfill.data.items`). A batch
    of another size than the first, such as an epoch's short last one, is left out: BatchNorm
    cannot work with a batch of one, and fixed sizes keep compilation possible. A resumed run
    skips what was read; it is the same run where the loader repeats its order, or draws it from
    torch's random numbers, which are the same at each step.

    Args:
        loader: what is read.
        quiet: do not say what is not used.
    """

    ahead = 1

    def __init__(self, loader: Iterable[Any], quiet: bool = False) -> None:
        check_loader(loader)
        if not isinstance(loader, Iterable):
            raise UsageError(
                f"fit takes an iterable of image batches, not {type(loader).__name__}."
            )
        self.loader = loader
        self.quiet = quiet
        self._position = -1
        self._last: Tensor | None = None
        self._iterator: Iterator[Any] | None = None
        self._shape: torch.Size | None = None
        self._masked = False
        self._mask: Tensor | None = None

    def __len__(self) -> int:
        try:
            return len(self.loader)  # type: ignore[arg-type]
        except TypeError:
            return 0

    def identity(self, seed: int) -> dict[str, Any]:
        """What can be known of a stranger's loader before it is read."""
        first = self.batch(0)
        found = {
            "batches": len(self),
            "batch_size": len(first),
            "shape": list(first.shape[1:]),
            "dtype": str(first.dtype),
            "samples": known.samples(self.loader),
            "first_batch": known.digest(first) if self._repeats(first, seed) else None,
        }
        return {"loader": found}

    def _repeats(self, first: Tensor, seed: int) -> bool:
        """Whether the loader, asked again, begins with the same batch.

        It does if it does not shuffle, or shuffles by torch's random numbers. One that cannot be
        asked again without losing its place is not asked.
        """
        if self._iterator is self.loader or getattr(self.loader, "persistent_workers", False):
            return False
        with known.unmoved(self.loader, seed):
            again = iter(self.loader)
            if again is self._iterator:
                return False
            images = open_item(next(again, None))[0]
        return torch.equal(images, first)

    def batch(self, step: int) -> Tensor:
        """The pictures of `step`, as the loader gave them."""
        if step < self._position:
            if self._iterator is self.loader:
                raise UsageError(
                    "the loader is an iterator, which cannot be read again. Give a list or a "
                    "DataLoader, or say how long by steps instead of a budget."
                )
            self._position, self._iterator = -1, None
        while self._position < step or self._last is None:
            self._last = self._next()
            self._position += 1
        return self._last

    def masks(self) -> Tensor | None:
        """The masks that the loader gave with the batch read last, bool [N, 1, H, W]."""
        return self._mask

    def _check(self, images: Tensor, mask: Tensor | None) -> None:
        """Refuse a batch that is not like the first."""
        assert self._shape is not None
        where = f"batch {self._position + 1} of the loader (from 0)"
        if images.shape[2:] != self._shape[2:]:
            (h, w), (first_h, first_w) = images.shape[2:], self._shape[2:]
            raise UsageError(
                f"{where} has pictures of {w}×{h} after {first_w}×{first_h}: resize them to one "
                "size."
            )
        if (mask is not None) != self._masked:
            raise UsageError(
                f"{where} {'has' if mask is not None else 'lacks'} masks of 0 and 1 beside its "
                f"pictures, unlike the first."
            )

    def block(self, first: int, count: int) -> Tensor:
        """The pictures of `count` steps."""
        return torch.cat([self.batch(step) for step in range(first, first + count)])

    def epoch(self) -> Iterator[Tensor]:
        """One pass, short batches included."""
        for item in self.loader:
            yield open_item(item)[0]

    def _next(self) -> Tensor:
        for _ in range(2):
            if self._iterator is None:
                self._iterator = iter(self.loader)
            for item in self._iterator:
                images, mask, unused = open_item(item)
                if self._shape is None:
                    self._shape, self._masked = images.shape, mask is not None
                    if unused is not None and not self.quiet:
                        say_unused(unused)
                self._check(images, mask)
                if len(images) == self._shape[0]:
                    self._mask = mask
                    return images
            if self._iterator is self.loader:
                raise UsageError(
                    f"the loader ran out after {self._position + 1} batches and is an iterator, "
                    "which cannot be read again. Give a list or a DataLoader, or fewer steps."
                )
            self._iterator = None
        raise UsageError("the loader gave no image batches.")


def open_source(loader: Any, device: torch.device, quiet: bool = False) -> Source:
    """Make a `Source` of what the user handed to `fit`.

    A table moves to the device for good where it fills at most half of the memory that is free.
    """
    if isinstance(loader, Stream):
        if device.type != "cuda" or loader.images.nbytes <= torch.cuda.mem_get_info(device)[0] / 2:
            loader.move(device)
        return loader
    return Replay(loader, quiet)


def _sha256(images: Tensor) -> str:
    return hashlib.sha256(images.cpu().contiguous().numpy().data).hexdigest()


def picture_numbers(first: int, count: int, share: int, device: torch.device) -> Tensor:
    """A number for each picture that this process sees in `count` steps from `first` on.

    No other picture of the run has it, in whatever process.
    """
    steps = torch.arange(first, first + count, device=device)
    start = (steps * ranks.world() + ranks.rank()) * share
    return (start[:, None] + torch.arange(share, device=device)).flatten()


def to_network(images: Tensor) -> Tensor:
    """Public pictures, uint8 or float in [0, 1], as networks see them: float in [-1, 1]."""
    scaled = images.float() / 127.5 if images.dtype == torch.uint8 else images.float() * 2
    return (scaled - 1).contiguous(memory_format=torch.channels_last)
