"""Pictures to begin with, made or found on this machine; none is part of the project."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gapfill.data import faces

_FACES = ((41, "face-1.png"), (4, "face-2.png"), (46, "face-3.png"))
_SIDE = 128
_PHOTO = "astronaut.png"  # a photo by NASA, in the public domain, inside scikit-image


class Example(NamedTuple):
    """A picture to begin with, and how much of it a model shall see (`--context`)."""

    path: Path
    context: str


def examples(folder: Path) -> list[Example]:
    """Write generated faces, and scikit-image's astronaut where that is installed.

    Faces are shown whole, as models of faces saw them in training.

    Nothing is downloaded: of scikit-image, only a file that lies in the package is taken.
    """
    found = []
    for number, name in _FACES:
        face = faces.generate(1, _SIDE, seed=0, start=number)[0]
        Image.fromarray(face.movedim(0, -1).numpy()).save(folder / name)
        found.append(Example(folder / name, "whole"))
    spec = importlib.util.find_spec("skimage")
    for place in (spec.submodule_search_locations or []) if spec else []:
        photo = Path(place) / "data" / _PHOTO
        if photo.is_file():
            found.append(Example(Path(shutil.copyfile(photo, folder / _PHOTO)), "auto"))
    return found
