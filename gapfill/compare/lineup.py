"""The models of a comparison made from Python: words as on the command line, and live models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gapfill import checkpoint
from gapfill.compare.entries import baselines, contestants, numbered
from gapfill.compare.plan import Contestant
from gapfill.compare.settings import file_name
from gapfill.config import plain
from gapfill.errors import GapfillError, UsageError
from gapfill.inpainter import Inpainter
from gapfill.recipe import Recipe
from gapfill.registry import model_class

Models = str | Path | Inpainter | Sequence[str | Path | Inpainter] | Mapping[str, Any]
"""A model, several, or several by the labels that they shall have."""


def line_up(models: Models, size: int) -> tuple[tuple[Contestant, ...], dict[str, str]]:
    """The contestants, the baselines first, and those left out with the reason.

    A live model that was trained is scored as it is. One that was not stands for its name and
    settings: every run begins with weights of its own seed, as if it had been named.

    Raises:
        UsageError: no model, an unknown name, a class that is not registered.
    """
    pairs = _pairs(models)
    found = list(contestants(baselines(), size)[0])
    left_out: dict[str, str] = {}
    for label, item in pairs:
        entries, out = _entries(item, size)
        left_out |= out
        if label is not None:
            if len(entries) != 1:
                raise UsageError(f"'{label}' must be one model; '{item}' are {len(entries)}.")
            entries = (replace(entries[0], label=label),)
        for entry in entries:
            if all(replace(entry, named=each.named) != each for each in found):
                found.append(numbered(entry, {file_name(each.label) for each in found}))
    return tuple(found), left_out


def words(models: Models) -> list[Any]:
    """JSON values that name the models: the same for the same ones, so that a folder is."""
    return [[label, _word(item)] for label, item in _pairs(models)]


def _pairs(models: Models) -> list[tuple[str | None, Any]]:
    if isinstance(models, str | Path | Inpainter):
        models = [models]
    if isinstance(models, Mapping):
        pairs: list[tuple[str | None, Any]] = [(str(name), item) for name, item in models.items()]
    else:
        pairs = [(None, item) for item in models]
    if not pairs:
        raise UsageError("there is nothing to compare: give at least one model.")
    for _, item in pairs:
        if not isinstance(item, str | Path | Inpainter):
            raise UsageError(
                f"a model is a name, a folder or an Inpainter, not {type(item).__name__}."
            )
    return pairs


def _entries(item: Any, size: int) -> tuple[tuple[Contestant, ...], dict[str, str]]:
    if not isinstance(item, Inpainter):
        return contestants([str(item)], size)
    _check(item, size)
    if item.needs_training and item.trained:
        return (Contestant(item.name, model=item),), {}
    return (Contestant(item.name, recipe=Recipe(item.name, plain(item.config))),), {}


def _check(model: Inpainter, size: int) -> None:
    """Make sure that a live model can be saved, loaded and given these pictures."""
    try:
        known = model_class(model.name)
    except GapfillError:
        known = None
    if known is not type(model):
        cls = type(model).__name__
        raise UsageError(f'{cls} is not registered: put @gapfill.register("my-name") above it.')
    own = getattr(model.config, "size", size)
    if model.multiple is None and own != size:
        raise UsageError(
            f"this '{model.name}' is for {own}×{own} pictures; they are {size}×{size}."
        )
    if model.multiple is not None:
        model.check_size(size, size)


def _word(item: Any) -> Any:
    if not isinstance(item, Inpainter):
        return str(item)
    weights = checkpoint.digest(item.state_dict()) if item.trained else None
    return [item.name, plain(item.config), weights]
