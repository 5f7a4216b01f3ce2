"""A bank: the test pictures of a comparison as files, for programs that are no part of it.

A folder with `manifest.json` and PNG files: `pictures/` holds the true pictures, `masks/KIND/` the
masks, white = missing, and `holes/KIND/` the pictures with their holes grey. A picture has the same
file name in all of them, and whoever fills it gives the result this name again.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gapfill import masks
from gapfill.checkpoint import read_json, write_json
from gapfill.config import Range, build, plain
from gapfill.data import Table
from gapfill.errors import GapfillError, UsageError
from gapfill.pictures import read_mask, read_picture

MANIFEST = "manifest.json"
FOLDERS = PICTURES, MASKS, HOLES = "pictures", "masks", "holes"
GREY = 128
"""The level of a missing pixel in `holes/`."""

_FORMAT = "gapfill bank 1"
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Data:
    """Which pictures a bank holds.

    Attributes:
        title: what their set is called.
        split: `test`, or `all` where a set without a test split is used whole.
        size: their side in pixels.
        crop: how they were cut out of the files they came from.
        digest: SHA-256 of the pixels of all, one picture after the other, [3, S, S] each.
    """

    title: str
    split: Literal["test", "all"]
    size: Annotated[int, Range(8, 2048)]
    crop: str
    digest: str


@dataclass(frozen=True)
class Masks:
    """The masks of one kind.

    Attributes:
        kind: what `--masks` calls it.
        folder: its folder in `masks/` and `holes/`.
        seed: the seed of every comparison's test masks.
        area: the mean share that is missing.
        digest: what `gapfill.masks.digest` says of them all.
    """

    kind: str
    folder: str
    seed: Literal[0]
    area: Annotated[float, Range(0, 1)]
    digest: str


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        file: its name in every folder of the bank.
        name: where it came from.
        sha256: of its RGB pixels, row by row from the top.
    """

    file: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says: the pictures, their masks, and how both were made."""

    format: Literal["gapfill bank 1"]
    missing: Literal["white"]
    data: Data
    masks: tuple[Masks, ...]
    pictures: tuple[Picture, ...]


def test_masks(kind: str, count: int, size: int) -> Tensor:
    """The masks of `count` test pictures, the same in every comparison: float [N, 1, S, S]."""
    return masks.draw(kind, range(count), size, seed=0)


def describe(test: Table, kinds: Sequence[str]) -> Manifest:
    """The manifest of the bank of these test pictures under these kinds of masks.

    Raises:
        UsageError: two kinds whose folders would have one name.
    """
    drawn = {kind: test_masks(kind, len(test), test.size) for kind in kinds}
    folders = [folder_of(kind) for kind in kinds]
    if len(set(folders)) < len(folders):
        raise UsageError(f"two of the masks {', '.join(kinds)} would have one folder in the bank.")
    split: Literal["test", "all"] = "test" if bool((test.split == 2).all()) else "all"
    files = zip(file_names(test.names), test.names, test.images, strict=True)
    return Manifest(
        format=_FORMAT,
        missing="white",
        data=Data(test.title, split, test.size, test.crop, test.digest()),
        masks=tuple(
            Masks(kind, folder, 0, round(masks.area(holes).mean().item(), 4), masks.digest(holes))
            for (kind, holes), folder in zip(drawn.items(), folders, strict=True)
        ),
        pictures=tuple(Picture(file, name, _sha256(image)) for file, name, image in files),
    )


def write(folder: Path, test: Table, kinds: Sequence[str]) -> bool:
    """Write a bank, whole or not at all; one that is there already is checked and kept.

    Returns:
        Whether it was written.

    Raises:
        UsageError: something else is in the folder.
        GapfillError: it cannot be written, or what is there was changed.
    """
    manifest = describe(test, kinds)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / MANIFEST).is_file():
            raise UsageError(f"{folder} is not empty and holds no bank. Give another --out.")
        if other := difference(read(folder), manifest):
            raise UsageError(f"{folder} holds a bank of {other}. Give another --out.")
        verify(folder, manifest)
        return False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as temporary:
            made = Path(temporary) / "bank"
            _write(made, test, manifest)
            if folder.exists():
                folder.rmdir()  # an empty one; not every system renames onto it
            made.replace(folder)
    except OSError as error:
        raise GapfillError(f"cannot write {folder}: {error.strerror or error}.") from error
    return True


def _write(folder: Path, test: Table, manifest: Manifest) -> None:
    files = [picture.file for picture in manifest.pictures]
    _save(folder / PICTURES, files, test.images)
    for each in manifest.masks:
        drawn = test_masks(each.kind, len(test), test.size)
        _save(folder / MASKS / each.folder, files, drawn.byte() * 255)
        grey = torch.where(drawn.bool(), torch.tensor(GREY, dtype=torch.uint8), test.images)
        _save(folder / HOLES / each.folder, files, grey)
    write_json(folder / MANIFEST, plain(manifest))


def _save(folder: Path, files: Sequence[str], images: Tensor) -> None:
    """Write uint8 pictures [N, 1 or 3, S, S] as PNG files."""
    folder.mkdir(parents=True)
    for file, image in zip(files, images.movedim(1, -1), strict=True):
        Image.fromarray(image.squeeze(-1).contiguous().numpy()).save(folder / file)


def is_bank(folder: Path) -> bool:
    """Whether a manifest in `folder` claims to be a bank's, of whatever version."""
    try:
        found = read_json(folder / MANIFEST)
    except GapfillError:
        return False
    return str(found.get("format")).startswith("gapfill bank")


def read(folder: Path) -> Manifest:
    """Read a bank's manifest, and refuse what is not exactly one.

    Raises:
        GapfillError: there is none, or it is no JSON.
        UsageError: a setting that is missing, unknown or of another type; a name that leads out of
            the bank, or stands there twice; a hash that is none.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise GapfillError(f"there is no {path}. `gapfill bank` writes one.")
    manifest = build(Manifest, read_json(path), where=str(path))
    for what, names in (
        ("pictures", [picture.file for picture in manifest.pictures]),
        ("masks", [each.folder for each in manifest.masks]),
    ):
        if not names:
            raise UsageError(f"{path}: {what} is empty.")
        if len({name.casefold() for name in names}) < len(names):
            raise UsageError(f"{path}: a name stands twice in {what}.")
        for name in names:
            if name != _plain_name(name):
                raise UsageError(f"{path}: {name!r} in {what} is no plain file name.")
    hashes = [manifest.data.digest, *(each.digest for each in manifest.masks)]
    for text in [*hashes, *(picture.sha256 for picture in manifest.pictures)]:
        if not _SHA256.fullmatch(text):
            raise UsageError(f"{path}: {text!r} is no SHA-256 (64 hexadecimal digits).")
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Make sure that the pictures and masks in `folder` are those of its manifest.

    Raises:
        GapfillError: a file that is missing, unreadable or of other content, by its name.
    """
    for picture in manifest.pictures:
        path = folder / PICTURES / picture.file
        image = torch.from_numpy(np.array(read_picture(path))).movedim(-1, 0)
        if _sha256(image) != picture.sha256:
            raise GapfillError(f"{path} is not the picture that {MANIFEST} speaks of.")
    for each in manifest.masks:
        home, side = folder / MASKS / each.folder, manifest.data.size
        drawn = [read_mask(home / picture.file, (side, side)) for picture in manifest.pictures]
        if masks.digest(torch.cat(drawn)) != each.digest:
            raise GapfillError(f"{home} does not hold the masks that {MANIFEST} speaks of.")


def difference(there: Manifest, here: Manifest) -> str:
    """What tells two banks apart, in a few words, or nothing where one serves for the other.

    Kinds of masks that only `there` has do no harm.
    """
    for name in ("size", "crop", "split", "title"):
        one, two = getattr(there.data, name), getattr(here.data, name)
        if one != two and there.data.digest != here.data.digest:
            return f"other pictures ({name}: {one} there, {two} here)"
    if there.data.digest != here.data.digest:
        return "other pictures (their SHA-256 differ)"
    if [one.file for one in there.pictures] != [one.file for one in here.pictures]:
        return "the same pictures under other names"
    known = {each.kind: each for each in there.masks}
    for each in here.masks:
        if each.kind not in known:
            return f"other masks ({', '.join(known)} there, {each.kind} here)"
        if known[each.kind].digest != each.digest:
            return f"other {each.kind} masks (their SHA-256 differ)"
    return ""


def file_names(names: Sequence[str]) -> tuple[str, ...]:
    """The file names of pictures in a bank: their own, as PNG, numbered where two would agree.

    >>> file_names(["faces/01.jpg", "faces/02.jpg"]), file_names(["a/1.jpg", "b/1.png"])
    (('01.png', '02.png'), ('0-1.png', '1-1.png'))
    """
    stems = [_plain_name(PurePosixPath(name).stem) for name in names]
    if len({stem.casefold() for stem in stems}) < len(stems):
        width = len(str(len(stems) - 1))
        stems = [f"{number:0{width}}-{stem}" for number, stem in enumerate(stems)]
    return tuple(f"{stem}.png" for stem in stems)


def folder_of(kind: str) -> str:
    """The folder of a kind of masks: its name, or what a file system takes for one.

    >>> folder_of("rect+brush"), folder_of("file:my/holes.png")
    ('rect+brush', 'file-my-holes.png')
    """
    return _plain_name(kind)


def _plain_name(text: str) -> str:
    """The text with a dash for what some file system, or some tool's pattern, would not take."""
    return re.sub(r"[^\w.+-]+", "-", text).lstrip(".-") or "picture"


def _sha256(image: Tensor) -> str:
    """The SHA-256 of a picture's RGB pixels, uint8 [3, S, S], row by row from the top."""
    return hashlib.sha256(image.movedim(0, -1).contiguous().numpy().data).hexdigest()
