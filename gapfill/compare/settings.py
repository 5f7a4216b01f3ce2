"""Settings of one contestant: `cnn:lr=5e-4,steps=2000`, over those of the whole comparison."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gapfill import masks
from gapfill.config import build, nearest
from gapfill.console import parse_set
from gapfill.errors import UsageError
from gapfill.recipe import Recipe
from gapfill.registry import model_class
from gapfill.train import Training
from gapfill.train.settings import LENGTHS

_WORD = re.compile(r"(.+?):([A-Za-z_][\w.]*=.*)", re.DOTALL)
_BETWEEN = re.compile(r",(?![^\[{]*[\]}])")  # no comma of a list
_RUN = ("mask", "batch_size", "flip")
_COMMON = {
    "seed": "the runs of all models have the same seeds: --seed, --seeds",
    "device": "all models are trained on one device: --device",
    "size": "all models fill the same pictures: --size",
}


def split(word: str) -> tuple[str, str]:
    """A word's model and the settings behind its colon, which may be none.

    >>> split("cnn:lr=5e-4,width=32"), split("cnn"), split("C:/models/mine")
    (('cnn', 'lr=5e-4,width=32'), ('cnn', ''), ('C:/models/mine', ''))
    """
    found = _WORD.fullmatch(word)
    return (found[1], found[2]) if found else (word, "")


@dataclass(frozen=True)
class Said:
    """What a word says of its own model.

    Attributes:
        settings: of the model, fields of its `Config`.
        train: of the trainer.
        run: its masks, batch size and mirroring.
    """

    settings: Mapping[str, Any]
    train: Mapping[str, Any]
    run: Mapping[str, Any]

    def over(self, recipe: Recipe, where: str) -> Recipe:
        """The recipe with this in the place of what it says.

        Raises:
            UsageError: a value that makes no sense.
        """
        if "mask" in self.run:
            masks.check(self.run["mask"])
        settings = {**recipe.settings, **self.settings}
        build(model_class(recipe.model).Config, settings, where=where)
        changes = {
            "settings": settings,
            "train": recipe.train.changed(self.train, where=where),
            **self.run,
        }
        return build(Recipe, vars(recipe) | changes, where=where)


def read(text: str, recipe: Recipe, where: str) -> Said:
    """The settings in `NAME=VALUE,NAME=VALUE`, sorted by what they are settings of.

    A name is the model's own setting, or one of its training. Where both have one of this name,
    `settings.NAME` and `train.NAME` say which is meant.

    Raises:
        UsageError: a name that nobody has, that both have, or that belongs to the comparison.
    """
    model = model_class(recipe.model)
    own = {field.name for field in fields(model.Config)}
    training = {field.name for field in fields(Training)} if model.optimised() else set()
    run = set(_RUN) if model.optimised() else set()
    said: dict[str, dict[str, Any]] = {"settings": {}, "train": {}, "run": {}}
    pairs = _BETWEEN.split(text) if text else []
    for name, value in parse_set(pairs, where).items():
        part, dot, rest = name.rpartition(".")
        if rest in _COMMON:
            raise UsageError(f"{where}: '{rest}' is not for one model: {_COMMON[rest]}.")
        if not dot and rest in own & training:
            raise UsageError(
                f"{where}: '{rest}' is a setting of the model and of its training: write "
                f"settings.{rest} or train.{rest}."
            )
        if rest in own and part in ("", "settings"):
            said["settings"][rest] = value
        elif rest in training and part in ("", "train"):
            said["train"][rest] = value
        elif rest in run and not dot:
            said["run"][rest] = value
        else:
            known = sorted((own | training | run) - {*_COMMON})
            raise UsageError(f"{where}: unknown setting '{name}'. {nearest(rest, known)}")
    return Said(**said)


def under(recipe: Recipe, asked: Mapping[str, Any], length: Mapping[str, Any]) -> Recipe:
    """A recipe as the comparison trains it: what the command line asks of all stands over it.

    Args:
        recipe: what is known of one model.
        asked: settings of the trainer and of the run that were asked for.
        length: how long to train where neither says it.
    """
    train = {name: value for name, value in asked.items() if name not in _RUN}
    run = {name: value for name, value in asked.items() if name in _RUN}
    timed = any(getattr(recipe.train, name) is not None for name in LENGTHS)
    if not timed and not any(name in asked for name in LENGTHS):
        train |= length
    return replace(recipe, train=recipe.train.changed(train), **run)


def differences(recipe: Recipe, common: Recipe) -> list[str]:
    """In what a contestant's training differs from the comparison's, in words."""
    found = []
    if recipe.train.limit != common.train.limit:
        found.append(recipe.train.limit)
    if recipe.batch_size != common.batch_size:
        found.append(f"batches of {recipe.batch_size}")
    if recipe.mask != common.mask:
        found.append(f"{recipe.mask} masks")
    ours, others = recipe.train.identity(), common.train.identity()
    found += [
        f"{name}={value}"
        for name, value in ours.items()
        if name not in (*LENGTHS, "seed") and value != others[name]
    ]
    if recipe.flip != common.flip:
        found.append("mirrored pictures" if recipe.flip else "no mirrored pictures")
    return found


def file_name(label: str) -> str:
    """A label as the name of a folder on every system."""
    return re.sub(r'[<>:"/\\|?*]', "-", label)
