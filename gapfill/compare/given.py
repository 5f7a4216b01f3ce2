"""Pictures from Python as the tables that a comparison reads: tensors, streams, loaders, paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gapfill.compare.plan import test_pictures
from gapfill.data import Stream, Table, open_table
from gapfill.data.items import open_item, pictures_of
from gapfill.data.seen import digests
from gapfill.errors import UsageError
from gapfill.masks import SMALLEST, Handed, digest

_VAL, _TEST = 0.05, 0.1  # shares, those of folders without a split
_SEED = 0


def tables(
    data: Any, val: Any, test: Any, size: int | None, crop: str, extra: list[str]
) -> tuple[Table, Table | None]:
    """The pictures to learn from, split, and other test pictures, if they were given.

    Without `test` and `val`, a tenth and a twentieth of pictures that nobody split are held back by
    chance; the table's rule says so.

    Args:
        data: a folder or zip, a table, or what `pictures` takes.
        val: validation pictures, where `data` has no split; None holds some back.
        test: as `data`; a table with its own split gives its test pictures. None: those of `data`.
        size: the side of pictures that are read from files; None: 64.
        crop: how they are cut.
        extra: more folders to learn from, where `data` is one.

    Raises:
        UsageError: what holds no pictures, or too few, or pictures of another size.
    """
    if data is None or isinstance(data, str | Path):
        table = open_table(data, size or 64, crop, extra=extra)
    elif isinstance(data, Table):
        table = data
    else:
        table = _divided(pictures(data, "data"), val, test is not None)
        val = None
    if val is not None:
        raise UsageError("val= is for pictures without a split: a tensor, a stream or a loader.")
    if size not in (None, table.size):
        raise UsageError(f"size={size}, but the pictures are {table.size}×{table.size}.")
    if test is None:
        return _overlapping(table, None), None
    if isinstance(test, str | Path):
        other = test_pictures(open_table(test, table.size, crop))
    elif isinstance(test, Table):
        other = test_pictures(test)
    else:
        other = _table([(pictures(test, "test"), 2)], "given test pictures")
    if other.size != table.size:
        raise UsageError(
            f"the test pictures are {other.size}×{other.size}, the others "
            f"{table.size}×{table.size}."
        )
    return _overlapping(table, other), other


def pictures(given: Any, name: str) -> Tensor:
    """The pictures of a tensor, an array, a stream or a loader, uint8 on the CPU.

    Args:
        given: what holds them; a loader is read once.
        name: the argument that it came as.

    Raises:
        UsageError: no pictures, others than square ones, or a loader without a length.
    """
    if isinstance(given, Stream | Tensor | np.ndarray):
        found = pictures_of(given, 0)
    elif isinstance(given, Iterable) and isinstance(given, Sized):
        found = _read(given, name)
    else:
        raise UsageError(
            f"{name}= takes a folder, a table, a tensor, a stream or a loader with a length, not "
            f"{type(given).__name__}."
        )
    height, width = found.shape[-2:]
    if height != width or height < SMALLEST:
        raise UsageError(
            f"{name}= must hold square pictures of at least {SMALLEST}×{SMALLEST}; got "
            f"{width}×{height}."
        )
    if found.dtype != torch.uint8:
        found = (found.float() * 255).round().byte()
    return found.detach().cpu().contiguous()


def _read(loader: Iterable[Any], name: str) -> Tensor:
    batches = []
    try:
        length = len(loader)  # type: ignore[arg-type]
    except TypeError as error:  # a DataLoader over an iterable has none, and may have no end
        raise UsageError(f"{name}= takes a loader with a length: give a tensor.") from error
    for item in loader:
        images, mask, _ = open_item(item)
        if mask is not None:
            raise UsageError(
                f"the loader of {name}= gives masks with its pictures: give the pictures alone, "
                "and the masks as mask= and masks=."
            )
        batches.append(images)
    if not length or not batches:
        raise UsageError(f"{name}= gave no pictures.")
    if len({(each.shape[1:], each.dtype) for each in batches}) > 1:
        raise UsageError(f"the batches of {name}= are not all of one size and type.")
    return torch.cat(batches)


def _divided(images: Tensor, val: Any, tested: bool) -> Table:
    """Pictures that nobody split, as a table with a split."""
    held = {
        1: 0 if val is not None else _count(images, _VAL),
        2: 0 if tested else _count(images, _TEST),
    }
    if len(images) - sum(held.values()) < 2:
        raise UsageError(
            f"{len(images)} pictures are too few to hold some back: give more, or val= and test=."
        )
    split = torch.zeros(len(images), dtype=torch.int8)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_SEED))
    split[order[: held[1]]] = 1
    split[order[held[1] : sum(held.values())]] = 2
    table = _table([(images, 0)], "given pictures")
    rule = f"chance, seed {_SEED}" if any(held.values()) else ""
    table = replace(table, split=split, rule=rule)
    if val is None:
        return table
    more = _table([(pictures(val, "val"), 1)], "given validation pictures")
    if more.size != table.size:
        raise UsageError(
            f"the validation pictures are {more.size}×{more.size}, the others "
            f"{table.size}×{table.size}."
        )
    return replace(
        table,
        images=torch.cat([table.images, more.images]),
        names=table.names + more.names,
        split=torch.cat([table.split, more.split]),
    )


def _count(images: Tensor, share: float) -> int:
    return max(1, round(share * len(images)))


def _table(parts: list[tuple[Tensor, int]], title: str) -> Table:
    """Pictures of known splits, named by their places."""
    images, numbers = parts[0]
    what = ("picture", "validation", "test")[numbers]
    return Table(
        images=images,
        names=tuple(f"{what}-{number:06d}" for number in range(len(images))),
        split=torch.full((len(images),), numbers, dtype=torch.int8),
        title=title,
        crop="none",
    )


def _overlapping(table: Table, test: Table | None) -> Table:
    """The table with a note where test pictures are among its training pictures."""
    if test is None and not bool((table.split == 2).any()):
        return table
    tested = (test or table.part("test")).images
    among = int(torch.isin(digests(tested), digests(table.part("train").images)).sum())
    if not among:
        return table
    note = f"{among:,} of the {len(tested):,} test pictures are among the training pictures"
    return replace(table, notes=(*table.notes, note))


def kinds(given: Any) -> list[str]:
    """What `masks=` takes as kinds of masks: names, tensors [M, 1, S, S], or several of them.

    A tensor's kind is called after its digest, and after its name where it has one.

    Raises:
        UsageError: neither a kind nor masks.
    """
    if isinstance(given, str | Tensor | np.ndarray):
        given = [given]
    if isinstance(given, Mapping):
        return [_kind(item, f"{name}:") for name, item in given.items()]
    return [_kind(item, "") for item in given]


def _kind(item: Any, name: str) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, np.ndarray):
        item = torch.from_numpy(np.ascontiguousarray(item))
    handed = Handed(item)
    return Handed(item, f"{name}{digest(handed.bank[:, None])[:8]}") if name else handed
