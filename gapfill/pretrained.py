"""The weights that come with the package, found by their model's name and what they are for.

`weights/NAME/TAG/` is a saved model, in half precision, with a card beside it: what it is, which
command made it, of which data and under which terms, what it reaches and where it fails. A tag says
the masks that it was trained under, `any` or a kind of mask such as `center`, or `small` for few
weights that fill any hole.
"""

from __future__ import annotations

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
    found = [path.parent.name for path in FOLDER.glob(f"{name}/*/config.json")]
    return tuple(sorted(found, key=lambda tag: (tag != GENERAL, tag)))


def names() -> list[str]:
    """The models that have weights, sorted."""
    return sorted({path.parents[1].name for path in FOLDER.glob("*/*/config.json")})


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
