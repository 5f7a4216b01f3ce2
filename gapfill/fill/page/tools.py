"""The models of the page, opened and warm before the first click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gapfill import pretrained, ranks, registry
from gapfill.errors import UsageError, one_line
from gapfill.fill.painting import fill_any_size
from gapfill.inpainter import Inpainter
from gapfill.reading.regular import shortened

_SIDE = 256  # of the picture that each model fills once, so that the first click does not wait


@dataclass(frozen=True, eq=False)
class Tool:
    """A model under the word that it was asked for with."""

    name: str
    model: Inpainter


def usual() -> list[str]:
    """The words for what the page offers by itself, in this order.

    First the weights that come with gapfill and are for holes of any kind, then the classical
    methods that need neither training nor another package.

    >>> "telea" in usual()
    True
    """
    trained = registry.list_models(pretrained=True)
    found = [f"{name}@{tag}" for name in trained for tag in pretrained.tags(name) if _any(tag)]
    for name in sorted(registry.built_in()):
        cls = registry.model_class(name)
        plain = cls.about.group == "classical" and cls.lacking.__func__ is _LACKING
        if plain and not registry.create(name).needs_training:
            found.append(name)
    return found


_LACKING = Inpainter.lacking.__func__  # that of a model which needs no other package


def _any(tag: str) -> bool:
    return tag == pretrained.GENERAL


def prepare(words: Sequence[str], device: str = "auto") -> list[Tool]:
    """Open the models and let each fill a small picture; those with weights of their own first.

    Args:
        words: names that need no training, `NAME@TAG`, or folders of saved models; each once.
        device: where to compute.

    Raises:
        UsageError: a word that means no model, or no device.
        GapfillError: a saved model that cannot be read, or something that a model lacks.
    """
    if not words:
        raise UsageError("--models wants at least one model.")
    where, tools = ranks.resolve(device), []
    for word in dict.fromkeys(words):
        model = registry.open_model(word).to(where)
        tools.append(Tool(one_line(shortened(word)), model))
        picture = torch.full((1, 3, _SIDE, _SIDE), 128, dtype=torch.uint8)
        hole = torch.zeros(1, 1, _SIDE, _SIDE)
        hole[..., _SIDE // 4 : _SIDE // 2, _SIDE // 4 : _SIDE // 2] = 1
        fill_any_size(model, picture, hole)
    return sorted(tools, key=lambda tool: not tool.model.needs_training)
