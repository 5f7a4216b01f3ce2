"""Recipes: one YAML file says what a run is, holding only what differs from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from gapfill import masks
from gapfill.config import Range, build
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.registry import create
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
    batch_size: Annotated[int, Range(2)] = 64
    flip: bool = True
    train: Training = field(default_factory=Training)

    def create(self) -> Inpainter:
        """The untrained model."""
        return create(self.model, **self.settings)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe, and make sure that its model takes its settings.

    Raises:
        UsageError: no such file, no YAML, or a setting that does not exist, each in one line.
    """
    import yaml

    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is no YAML: {reason}") from error
    recipe = build(Recipe, values if values is not None else {}, where=str(path))
    masks.check(recipe.mask)
    from gapfill.registry import model_class

    build(model_class(recipe.model).Config, recipe.settings, where=f"{path}: settings")
    return recipe
