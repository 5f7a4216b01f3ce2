"""Filling a folder of pictures: past what is bad, and on where it was interrupted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gapfill import ranks
from gapfill.checkpoint import digest_of, read_json, sweep, write_json
from gapfill.errors import GapfillError, UsageError
from gapfill.fill.encoding import FORMATS
from gapfill.fill.kept import Photo, read_photo
from gapfill.fill.painting import paint_many
from gapfill.fill.photo import ALPHA, Marking, read_hole, write
from gapfill.pictures import pictures_in
from gapfill.reading.formats import SUFFIXES, UNREAD_PICTURES, allowed
from gapfill.reading.regular import composed, expand
from gapfill.registry import is_saved, open_model, saved_in

RECORD = "fill.json"
"""What an output folder says of how its pictures were filled."""

_BATCH = 16
_PIXELS = 16_000_000  # of the pictures that are held at once


@dataclass
class Summary:
    """What became of a folder.

    Attributes:
        filled: how many pictures were filled now.
        there: how many were filled before.
        failed: why others were not, by name.
        lost: how many pictures lost what, in words.
    """

    filled: int = 0
    there: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Job:
    """A picture of the folder, its mask, where it has one, and the file to write."""

    photo: Path
    mask: Path | str | None
    out: Path

    def state(self) -> list[list[int]]:
        """What tells picture and mask from others of their names: sizes and times of writing."""
        made_of = [self.photo, *([self.mask] if isinstance(self.mask, Path) else [])]
        there = [path.stat() for path in made_of if path.exists()]  # reading it says what is not
        return [[found.st_size, found.st_mtime_ns] for found in there]


class _Done:
    """What was filled, and what of: a line for each picture, in the output folder."""

    def __init__(self, out: Path) -> None:
        self.path = out / "filled.jsonl"
        self._known: dict[str, Any] = {}
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        for line in lines:
            with suppress(ValueError, TypeError):  # the last one, of a run that was killed
                name, state = json.loads(line)
                self._known[name] = state

    def has(self, job: _Job) -> bool:
        """Whether the file is there and was made of this picture and this mask."""
        return job.out.is_file() and self._known.get(job.out.name) == job.state()

    def add(self, out: Path, state: list[list[int]]) -> None:
        """Note that a file was written, and of what: `state` is from before it was read."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([out.name, state]) + "\n")


@dataclass(frozen=True)
class _Opened:
    """A picture that was read, with its hole, and as a model sees it."""

    job: _Job
    state: list[list[int]]
    photo: Photo
    hole: np.ndarray
    picture: Tensor


def fill_folder(
    model: str,
    folder: Path,
    mask: Path | str,
    out: Path,
    *,
    marking: Marking | None = None,
    device: str = "auto",
    seed: int = 0,
    context: str = "auto",
    grain: bool = True,
    quality: int | None = None,
    ending: str | None = None,
    quiet: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Fill every picture directly in `folder`; what stands in `out` already is not filled again.

    A picture that cannot be filled is named, and the others go on. A picture is filled again where
    it, or its mask, is another than what was written was made of.

    Args:
        model: a folder of a saved model, or a name that needs no training.
        folder: pictures.
        mask: a folder with a mask for each, by name, or one mask for all, or `alpha`.
        out: where the filled pictures go, under the names that they had.
        marking: how masks are read.
        device: where to compute.
        seed: names the noise of a stochastic model.
        context: how much around each hole the model sees.
        grain: give enlarged fills the grain of their surroundings.
        quality: 1 to 100, of JPEG and WebP.
        ending: the format to write, such as `.png`; without it each picture's own, and PNG where
            that is none of `FORMATS`.
        quiet: no progress bar.
        say: gets a line for each picture that cannot be filled.

    Raises:
        UsageError: folders or options that make no sense, pictures in `out` that were filled
            otherwise, a model that is not trained.
        GapfillError: the disk is full.
    """
    from tqdm import tqdm

    marking = marking or Marking()
    folder, out = expand(folder), expand(out)
    mask = expand(mask) if isinstance(mask, Path) else mask
    jobs = _jobs(folder, mask, out, ending)
    filler = open_model(model).to(ranks.resolve(device))
    masks = str(mask.resolve() if isinstance(mask, Path) else mask)
    how = {"model": _name(model), "pictures": str(folder.resolve()), "mask": masks}
    how |= asdict(marking) | {"seed": seed, "context": context, "grain": grain}
    _keep_record(out, how | {"quality": quality, "format": ending})
    done = _Done(out)
    todo = [job for job in jobs if not done.has(job)]
    found = Summary(there=len(jobs) - len(todo))
    stems = {composed(job.photo.stem) for job in jobs}  # of RAW beside JPEG, one is enough
    for path in sorted(folder.iterdir()):
        unread = path.suffix.lower() in UNREAD_PICTURES and not path.name.startswith(".")
        if unread and composed(path.stem) not in stems and path.is_file():
            found.failed[path.name] = f"{path.suffix} is no format that is read"
            say(f"{path.name} is left out: {found.failed[path.name]}; allowed are {allowed()}.")

    def opened(job: _Job) -> _Opened:
        if job.mask is None:
            raise UsageError(f"there is no mask of its name in {mask}.")
        state, photo = job.state(), read_photo(job.photo)
        hole = read_hole(photo, job.photo, job.mask, marking)
        return _Opened(job, state, photo, hole, photo.picture().clone())

    def failed(job: _Job, error: GapfillError) -> None:
        found.failed[job.photo.name] = str(error)
        bar.clear()
        say(f"{job.photo.name} is left out: {error}")
        bar.update()

    def finish(batch: list[_Opened]) -> None:
        pictures, holes = [each.picture for each in batch], [each.hole for each in batch]
        paint_many(filler, pictures, holes, seed, context, grain)
        for each in batch:
            uncover = each.job.mask == ALPHA
            try:
                lost = write(each.photo, each.picture, each.hole, each.job.out, quality, uncover)
            except UsageError as error:  # its format has no room for it
                failed(each.job, error)
                continue
            done.add(each.job.out, each.state)
            found.lost.update(lost)
            found.filled += 1
            bar.update()

    with tqdm(total=len(todo), desc="filling", unit="img", disable=quiet or None) as bar:
        for batch in _batches(todo, opened, failed):
            try:
                finish(batch)
            except UsageError:
                # One of them is to blame: each is read again and filled alone.
                for each in batch:
                    try:
                        finish([opened(each.job)])
                    except UsageError as error:
                        failed(each.job, error)
    return found


def _jobs(folder: Path, mask: Path | str, out: Path, ending: str | None) -> list[_Job]:
    """What there is to do, in the order of the pictures' names."""
    if out.resolve() == folder.resolve():
        raise UsageError(f"--out is {folder} itself. Give a folder of its own.")
    if out.is_file():
        raise UsageError(f"--out {out} is a file: of a folder of pictures a folder is made.")
    photos = pictures_in(folder)
    if not photos:
        raise UsageError(f"{folder} holds no pictures (looked for {' '.join(SUFFIXES)}).")
    masks: dict[str, Path] | None = None
    if isinstance(mask, Path):
        if not mask.exists():
            raise UsageError(f"there is no mask at {mask}.")
        masks = pictures_in(mask) if mask.is_dir() else None
    jobs = []
    for stem, photo in photos.items():
        mine = mask if masks is None else masks.get(stem)
        own = photo.suffix if photo.suffix.lower() in FORMATS else ".png"
        jobs.append(_Job(photo, mine, out / f"{photo.stem}{ending or own}"))
    return jobs


def _batches(
    jobs: list[_Job],
    opened: Callable[[_Job], _Opened],
    failed: Callable[[_Job, GapfillError], None],
) -> Iterator[list[_Opened]]:
    """Pictures read a few at a time; those that cannot be are passed over."""
    batch: list[_Opened] = []
    for job in jobs:
        try:
            batch.append(opened(job))
        except GapfillError as error:
            failed(job, error)
            continue
        if len(batch) == _BATCH or sum(each.hole.size for each in batch) >= _PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch


def _name(model: str) -> str:
    """What tells a model from another: its weights' hash, or its name where it has none."""
    digest = digest_of(saved_in(expand(model)) / "model.safetensors") if is_saved(model) else None
    return digest or model


def _keep_record(out: Path, settings: dict[str, Any]) -> None:
    """Make sure that the pictures in `out`, if there are any, were filled in this way.

    Raises:
        UsageError: they were not, or nobody knows.
    """
    path = out / RECORD
    sweep(out)  # first: what a kill left behind is nobody's picture
    if out.is_dir() and any(out.iterdir()):
        try:
            there = read_json(path)
        except GapfillError as error:
            raise UsageError(
                f"{out} is not empty and holds no {RECORD}. Give another --out."
            ) from error
        for key, value in settings.items():
            if there.get(key) != value:
                raise UsageError(
                    f"{out} holds pictures that were filled otherwise ({key}: {there.get(key)} "
                    f"there, {value} now). Give another --out."
                )
    write_json(path, settings)
