"""What can be known of a loader that is not gapfill's, without reading it to its end."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gapfill.randomness import seeded


def digest(value: Any) -> str:
    """The SHA-256 of tensors, arrays, pictures, numbers and texts, also nested.

    Raises:
        TypeError: it holds something else.
    """
    found = hashlib.sha256()
    for piece in _pieces(value):
        found.update(len(piece).to_bytes(8, "little"))
        found.update(piece)
    return found.hexdigest()


def samples(loader: Any) -> str | None:
    """The digest of the first, the middle and the last item that a loader reads from.

    None where it has no items by number, where they cannot be read, and where an item is another at
    each time, as random crops are.
    """
    items = loader if isinstance(loader, list | tuple) else getattr(loader, "dataset", None)
    try:
        count = len(items)  # type: ignore[arg-type]
        places = sorted({0, count // 2, count - 1})
        found = []
        for seed in (0, 1):
            with unmoved(loader, seed):
                found.append(digest([items[place] for place in places]))  # type: ignore[index]
    except Exception:  # a stranger's dataset may raise anything
        return None
    return found[0] if found[0] == found[1] else None


@contextmanager
def unmoved(loader: Any, seed: int) -> Iterator[None]:
    """Random numbers that `seed` names inside the block; outside, all generators as they were."""
    owners = (loader, getattr(loader, "sampler", None))
    own = [getattr(owner, "generator", None) for owner in owners]
    own = [each for each in own if isinstance(each, torch.Generator)]
    states = [each.get_state() for each in own]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with seeded(seed):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for each, state in zip(own, states, strict=True):
            each.set_state(state)


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key in value:
            yield repr(key).encode()
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield f"{len(value)} items".encode()
        for item in value:
            yield from _pieces(item)
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        yield repr(value).encode()
    elif isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array_interface__"):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError("an array of objects")
        yield f"{array.dtype} {array.shape}".encode()
        yield array.tobytes()
    else:
        raise TypeError(type(value).__name__)
