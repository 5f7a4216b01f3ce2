"""What stands with saved weights: `config.json` and its reading."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gapfill import checkpoint
from gapfill._version import __version__
from gapfill.config import build
from gapfill.errors import GapfillError, UsageError


@dataclass(frozen=True)
class Card:
    """What stands with saved weights.

    Attributes:
        model: the registered name.
        config: the model's settings.
        training: what the training cost, if there was one.
        run: what makes the run that it came from this run and no other (`Inpainter.identity`).
        without: the model's critics whose weights were left out.
        began: name, digest and data of the weights that its training began with, if any.
        data: what it was trained on and under which terms.
        gapfill: the version that wrote it.
    """

    model: str
    config: Mapping[str, Any]
    training: Mapping[str, Any] | None = None
    run: Mapping[str, Any] | None = None
    without: tuple[str, ...] = ()
    began: Mapping[str, str] | None = None
    data: str = ""
    gapfill: str = ""


def read_card(folder: Path) -> Card:
    """What a saved model's `config.json` says of it.

    Raises:
        UsageError: the folder holds no saved model.
        GapfillError: the file is damaged, or is none of gapfill's.
    """
    path = folder / "config.json"
    if not path.exists():
        raise UsageError(f"{folder} holds no saved model: there is no config.json.")
    return to_card(checkpoint.read_json(path), str(path))


def to_card(about: Mapping[str, Any], where: str) -> Card:
    """Make a card of JSON values, or say what is wrong with them.

    Raises:
        GapfillError: they are none of a card's.
    """
    try:
        return build(Card, about)
    except UsageError as error:
        newer = newer_than_this(str(about.get("gapfill", ""))) if isinstance(about, dict) else ""
        raise GapfillError(f"{where} describes no saved model: {error}{newer}") from error


def leaving_out(weights: Mapping[str, Tensor], modules: Sequence[str]) -> dict[str, Tensor]:
    """The weights that do not belong to these modules, named as a state dict names them."""
    return {name: each for name, each in weights.items() if name.split(".")[0] not in modules}


def newer_than_this(version: str) -> str:
    """What to add to an error about a model that a newer gapfill wrote; else nothing."""
    own, other = (
        [int(part[:9]) for part in re.findall(r"\d+", text)[:3]] for text in (__version__, version)
    )
    if other <= own:
        return ""
    return f" It was saved by gapfill {version[:20]}, and this is {__version__}: install that one."
