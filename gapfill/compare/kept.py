"""Scores, pictures and costs kept from before, where measuring again would give the same.

What a measurement depends on is hashed into its name: weights, pictures, masks, metrics, seed,
device, versions and gapfill's own code. Whatever changes, another name is looked for and not found.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

import gapfill
from gapfill import checkpoint
from gapfill.config import plain
from gapfill.console import say
from gapfill.errors import GapfillError
from gapfill.inpainter import Inpainter


class Kept:
    """Measurements in a folder, each a checkpoint under the digest of all that it depends on.

    Args:
        folder: where they are.
        common: what all of them depend on, JSON values.
    """

    def __init__(self, folder: Path, common: dict[str, Any]) -> None:
        self.folder = folder
        self.common = common | {"torch": torch.__version__, "code": _code()}
        self.found = self.made = 0
        checkpoint.sweep(folder)

    def has(self, what: dict[str, Any]) -> bool:
        """Whether something is kept under this name."""
        return self._path(what).is_file()

    def of(self, what: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was measured before under this name, or what `measure` gives now, which is kept.

        Args:
            what: all that the measurement depends on beside what is common, JSON values.
            measure: gives tensors and plain values by name.
        """
        path = self._path(what)
        if path.is_file():
            try:
                state = checkpoint.load(path)
                self.found += 1
                return state
            except GapfillError as error:
                say(f"{error} It is measured again.")
        state = measure()
        self.made += 1
        checkpoint.save(path, state)
        return state

    def summary(self) -> str:
        """A line on what was kept from before, or nothing where nothing was."""
        if not self.found:
            return ""
        return (
            f"{self.found} of {self.found + self.made} measurements are kept from before: same "
            f"weights, pictures, masks, metrics and code. Delete {self.folder} to measure again."
        )

    def _path(self, what: dict[str, Any]) -> Path:
        text = json.dumps([self.common, what], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.pt"


def identity(model: Inpainter) -> dict[str, Any]:
    """All of a model that a fill depends on: name, settings, weights, and a plug-in's code."""
    return {
        "model": model.name,
        "config": plain(model.config),
        "weights": checkpoint.digest(
            {name: each.detach().cpu() for name, each in model.state_dict().items()}
        ),
        "code": _module(type(model)),
    }


@cache
def _code() -> str:
    """The SHA-256 of gapfill's own modules."""
    root = Path(gapfill.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(f"{path.relative_to(root).as_posix()}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _module(cls: type) -> str | None:
    """The SHA-256 of the module that a plug-in's class is from."""
    if cls.__module__.startswith("gapfill."):
        return None
    try:
        return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None
