"""Recipes: one YAML file says what a run is, holding only what differs from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from gapfill import masks
from gapfill.config import Range, build, read_yaml
from gapfill.data.stream import LARGEST_BATCH
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.reading.regular import expand
from gapfill.registry import create, model_class
from gapfill.train import Training


@dataclass(frozen=True)
class Recipe:
    """What a training run is.

    Attributes:
        model: a registered name.
        settings: the model's own settings, fields of its `Config`.
        mask: which masks to train with: a kind, or a mixture such as `rect+brush`.
        batch_size: pictures a step, over all processes.
        flip: mirror every second picture, at random.
        train: settings of the trainer.
    """

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    mask: str = "center"
    batch_size: Annotated[int, Range(2, LARGEST_BATCH)] = 64
    flip: bool = True
    train: Training = field(default_factory=Training)

    def sized(self, size: int) -> Recipe:
        """The recipe for pictures of this size, where its model has one and the recipe none."""
        if "size" not in model_class(self.model).Config.__dataclass_fields__:
            return self
        return replace(self, settings={"size": size, **self.settings})

    def create(self) -> Inpainter:
        """The untrained model."""
        return create(self.model, **self.settings)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe, and make sure that its model takes its settings.

    Raises:
        UsageError: no such file, no YAML, or a setting that does not exist, each in one line.
    """
    path = expand(path)
    try:
        values = read_yaml(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}.") from error
    except UsageError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    try:
        recipe = build(Recipe, values if values is not None else {})
        masks.check(recipe.mask)
        build(model_class(recipe.model).Config, recipe.settings, where="settings")
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return recipe
