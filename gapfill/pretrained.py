"""The weights that come with the package, found by their model's name and what they are for.

`weights/NAME/TAG/` is a saved model, 16 bits a weight, with a card beside it: what it is, which
command made it, of which data and under which terms, what it reaches and where it fails. A tag says
the masks that it was trained under, `any` or a kind of mask such as `center`, or `small` for few
weights that fill any hole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gapfill.config import nearest
from gapfill.errors import UsageError

FOLDER = Path(__file__).parent / "weights"
WORD = "pretrained"
"""Stands for the most general weights of a model: `unet@pretrained`."""
GENERAL = "any"
"""The tag of weights for holes of any kind."""


def tags(name: str) -> tuple[str, ...]:
    """The weights that there are of a model, the most general first; none, if there are none."""
    if name not in names():  # which may be any word that a user wrote
        return ()
    found = [path.parent.name for path in FOLDER.glob(f"{name}/*/config.json")]
    return tuple(sorted(found, key=lambda tag: (tag != GENERAL, tag)))


def names() -> list[str]:
    """The models that have weights, sorted."""
    return sorted({path.parents[1].name for path in FOLDER.glob("*/*/config.json")})


@dataclass(frozen=True)
class Weights:
    """What is known of weights without loading them.

    Attributes:
        name: the model.
        tag: which of its weights.
        size: side of the pictures that they were trained on.
        mask: the kinds of masks that they were trained under.
        steps: of their training.
        megabytes: of their file, 1 MB = 10^6 bytes.
        data: the pictures that they were trained on, and the terms.
    """

    name: str
    tag: str
    size: int
    mask: str
    steps: int
    megabytes: float
    data: str


def weights_of(name: str) -> list[Weights]:
    """The weights that there are of a model, the most general first."""
    return [_read(name, tag) for tag in tags(name)]


def _read(name: str, tag: str) -> Weights:
    folder = FOLDER / name / tag
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Weights(
        name,
        tag,
        size=about["config"]["size"],
        mask=about["run"]["mask"],
        steps=about["training"]["steps"],
        megabytes=(folder / "model.safetensors").stat().st_size / 1e6,
        data=about.get("data", ""),
    )


def folder_of(name: str, tag: bool | str = True) -> Path:
    """The saved model that a name and a tag mean.

    Args:
        name: a model.
        tag: one of `tags(name)`, or True for the first.

    Raises:
        UsageError: there are none of this model, or none with this tag.
    """
    there = tags(name)
    if not there:
        having = ", ".join(names()) or "none"
        raise UsageError(f"no weights of '{name}' come with gapfill. There are those of: {having}.")
    if tag is True or tag == WORD:
        tag = there[0]
    if tag not in there:
        raise UsageError(f"no weights of '{name}' are called '{tag}'. {nearest(str(tag), there)}")
    return FOLDER / name / str(tag)


def split(word: str) -> tuple[str, str] | None:
    """The name and the tag in a word such as `unet@any`; None where it has no tag."""
    name, at, tag = word.partition("@")
    return (name, tag) if at and name and tag and "/" not in word else None


def card(name: str, tag: bool | str = True) -> str:
    """The card that stands with the weights, as Markdown.

    Raises:
        UsageError: as for `folder_of`.
    """
    return (folder_of(name, tag) / "card.md").read_text(encoding="utf-8")
