"""Pictures of one size as one uint8 tensor: built once from a folder or zip, then cached."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from gapfill.cache import cache_folder
from gapfill.checkpoint import write_atomic
from gapfill.data.sources import Source, open_source
from gapfill.data.squares import check_crop, read_squares
from gapfill.errors import GapfillError, UsageError, one_line
from gapfill.pictures import reason_of
from gapfill.reading.regular import expand, is_there, shortened

SPLITS = ("train", "val", "test")
GENERATED_TITLE = "generated faces, not CelebA"
GENERATED_COUNTS = (5_200, 400, 400)

_KIND = b"gapfill table "
_MAGIC = _KIND + b"2\n"
_MOST_UNREADABLE = 0.01


@dataclass(frozen=True, eq=False)
class Table:
    """Pictures of one size as one uint8 tensor, with names and splits.

    Attributes:
        images: uint8 `[N, 3, S, S]`, RGB.
        names: paths relative to their source, with forward slashes.
        split: int8 `[N]`; 0 train, 1 val, 2 test, which are CelebA's numbers.
        title: "CelebA", "generated faces, not CelebA", or the folder's name.
        generated: whether the pictures were drawn by this library.
        crop: "celeba", "center", a number of pixels, or "auto" where pictures differ.
        unreadable: (name, reason) of the pictures that were left out.
        rule: who says which split a picture is in; "" where nobody need say.
        own_split: whether the pictures came with a split, rather than be given one by name.
        notes: what a user must know of how they were listed and split, a sentence each.
    """

    images: torch.Tensor
    names: tuple[str, ...]
    split: torch.Tensor
    title: str
    generated: bool = False
    crop: str = "center"
    unreadable: tuple[tuple[str, str], ...] = ()
    rule: str = ""
    own_split: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Table {self.describe()}>"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """The side of every picture in pixels."""
        return self.images.shape[-1]

    def part(self, name: str) -> Table:
        """Return the pictures of one split: "train", "val" or "test".

        Raises:
            UsageError: no such split, or no pictures in it.
        """
        if name not in SPLITS:
            raise UsageError(f"no split is called {name!r}; there are 'train', 'val' and 'test'.")
        index = (self.split == SPLITS.index(name)).nonzero().flatten()
        if len(index) == 0:
            cure = "Give more pictures."
            if self.own_split:
                others = "others with --test" if name == "test" else "other pictures"
                cure = f"It is split by {self.rule}: mend that, or give {others}."
            raise UsageError(
                f"{self.describe()} has no pictures to {_USES[name]}: of its {len(self):,} "
                f"none {'is' if len(self) == 1 else 'are'} in the {name} split. {cure}"
            )
        first, last = int(index[0]), int(index[-1])
        # CelebA's splits follow one another: a slice shares memory where an index would copy.
        rows = slice(first, last + 1) if last + 1 - first == len(index) else index
        return replace(
            self,
            images=self.images[rows],
            names=tuple(self.names[i] for i in index.tolist()),
            split=self.split[rows],
            unreadable=(),
        )

    @property
    def provenance(self) -> str:
        """What weights that are trained on these pictures say of them."""
        if self.generated or "CelebA" not in self.title:
            return self.title
        return f"{self.title}. CelebA is for non-commercial research; so are weights trained on it."

    @property
    def validation(self) -> torch.Tensor | None:
        """The pictures to validate on, or None where the set is too small to have any."""
        has = bool((self.split == SPLITS.index("val")).any())
        return self.part("val").images if has else None

    def digest(self) -> str:
        """Return the SHA-256 of the pixels, as hexadecimal text."""
        return hashlib.sha256(_memory(self.images)).hexdigest()

    def describe(self) -> str:
        """Say in a few words what is here: title, count of each split, size."""
        counts = torch.bincount(self.split.long(), minlength=3).tolist()
        parts = [f"{n:,} {name}" for n, name in zip(counts, SPLITS, strict=True) if n]
        return f"{self.title} ({', '.join(parts)}), {self.size}×{self.size}"

    def introduce(self) -> str:
        """Say what is here, who split it, and what a user must know of it, in one line."""
        rule = [f"split by {self.rule}"] if self.rule else []
        return "; ".join([", ".join([self.describe(), *rule]), *self.notes])


_USES = {"train": "learn from", "val": "validate on", "test": "test on"}


def open_table(
    path: str | Path | None = None,
    size: int = 64,
    crop: str = "auto",
    *,
    extra: Sequence[str | Path] = (),
    cache: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> Table:
    """Read every picture of a folder or zip as `size`×`size`, from the cache where it can.

    Without `path`, `$GAPFILL_DATA` is read, else `data/celeba` in the current folder, else faces
    are generated. Splits follow CelebA's partition list where there is one, and elsewhere the
    hash of each name, so that adding a picture moves no other.

    Args:
        path: a folder, a zip, or CelebA's own layout.
        size: the side of the pictures in pixels.
        crop: "celeba", "center", the side of a centred square in pixels, or "auto": "celeba"
            for pictures of 178×218 and "center" for others. The pictures of `extra` get the same,
            of "celeba" those of another size "center".
        extra: more folders or zips, all of whose pictures are for training only.
        cache: whether to keep the table in `cache_folder()`.
        seed: which faces to generate, where they are.
        progress: show a bar while reading; by default only in a terminal.

    Raises:
        GapfillError: nothing to read, or more than 1 % of it unreadable.
        UsageError: a size or crop that makes no sense.
    """
    if not isinstance(size, int) or not 8 <= size <= 2048:
        raise UsageError(f"size is {size!r}; it must be a whole number from 8 to 2048.")
    crop = check_crop(str(crop))
    path = path or _default_path()
    tables = [_from_source(open_source(path), size, crop, cache, progress)] if path else []
    tables = tables or [generated_table(size, seed)]
    also = "auto" if crop == "celeba" else crop  # which no other pictures fit
    for more in extra:
        table = _from_source(open_source(more), size, also, cache, progress, for_training=True)
        tables.append(_for_training(table))
    return tables[0] if len(tables) == 1 else _joined(tables)


def generated_table(size: int = 64, seed: int = 0) -> Table:
    """Draw the faces that stand in where there is no data: 5,200 train, 400 val, 400 test."""
    from gapfill.data.faces import generate

    total = sum(GENERATED_COUNTS)
    return Table(
        images=generate(total, size, seed, 0),
        names=tuple(f"face-{i:06d}" for i in range(total)),
        split=torch.arange(3, dtype=torch.int8).repeat_interleave(torch.tensor(GENERATED_COUNTS)),
        title=GENERATED_TITLE,
        generated=True,
    )


def _default_path() -> Path | None:
    if given := os.environ.get("GAPFILL_DATA"):
        if not is_there(expand(given)):
            raise GapfillError(f"no such folder or zip: {shortened(given)} (from $GAPFILL_DATA).")
        return Path(given)
    local = Path("data") / "celeba"
    return local if local.exists() else None


def _for_training(table: Table) -> Table:
    names = tuple(f"{table.title}/{name}" for name in table.names)
    return Table(
        table.images,
        names,
        torch.zeros_like(table.split),
        table.title,
        crop=table.crop,
        unreadable=table.unreadable,
        notes=tuple(f"{table.title}: {note}" for note in table.notes),
    )


def _joined(tables: Sequence[Table]) -> Table:
    return replace(
        tables[0],
        images=torch.cat([table.images for table in tables]),
        names=tuple(name for table in tables for name in table.names),
        split=torch.cat([table.split for table in tables]),
        title=" + ".join(table.title for table in tables),
        unreadable=tuple(entry for table in tables for entry in table.unreadable),
        notes=tuple(note for table in tables for note in table.notes),
    )


def _from_source(
    source: Source,
    size: int,
    crop: str,
    cache: bool,
    progress: bool | None,
    for_training: bool = False,
) -> Table:
    key = hashlib.sha256(f"{source.path}\0{size}\0{crop}".encode("utf-8", "surrogateescape"))
    name = key.hexdigest()[:16]
    file = cache_folder() / "tables" / f"{name}.table"
    table = _cached(file, source.fingerprint) if cache else None
    fresh = table is None
    if table is None:
        table, remarks = _build(source, size, crop, progress)
        if remarks:
            _report_remarks(remarks, cache_folder() / f"remarks-{name}.txt")
    if table.unreadable:
        _report_unreadable(table, source, cache_folder() / f"unreadable-{name}.txt")
    if fresh and cache:
        try:
            _store(file, table, source.fingerprint)
        except GapfillError as error:
            _note(f"the table is not cached: {error}")
    division = source.division
    notes = [*([] if for_training else division.notes), *source.notes]
    if lost := len(table.unreadable):
        notes.append(f"{lost:,} picture{'s' * (lost > 1)} could not be read")
    return replace(table, rule=division.rule, own_split=division.own, notes=tuple(notes))


def _build(
    source: Source, size: int, crop: str, progress: bool | None
) -> tuple[Table, list[tuple[str, str]]]:
    """The table, and (name, remark) of pictures that were read in spite of their decoder."""
    squares = read_squares(source.read, source.names, size, crop, source.title, progress)
    keep = [i for i in range(len(source.names)) if i not in squares.failures]
    names = tuple(source.names[i] for i in keep)
    table = Table(
        images=squares.images[keep] if squares.failures else squares.images,
        names=names,
        split=torch.tensor([source.split_of(name) for name in names], dtype=torch.int8),
        title=source.title,
        crop=squares.crop,
        unreadable=tuple((source.names[i], why) for i, why in sorted(squares.failures.items())),
    )
    return table, [(source.names[i], said) for i, said in sorted(squares.remarks.items())]


def _report_unreadable(table: Table, source: Source, file: Path) -> None:
    """Say what was left out, with the whole list in a file; refuse where it is too much."""
    count, total = len(table.unreadable), len(source.names)
    where = _write_list(table.unreadable, file)
    name, reason = table.unreadable[0]
    what = f"{count:,} of {total:,} pictures could not be read"
    first = f"({where}first: {one_line(name)}, {one_line(reason)})"
    if count > _MOST_UNREADABLE * total:
        raise GapfillError(
            f"{source.path}: {what}, more than {_MOST_UNREADABLE:.0%} {first}. "
            "Mend or remove them, or get the data again."
        )
    _note(f"{what} and were left out {first}.")


def _report_remarks(remarks: Sequence[tuple[str, str]], file: Path) -> None:
    """Say in one line what decoders would have said in many."""
    where = _write_list(remarks, file)
    name, remark = remarks[0]
    _note(
        f"{len(remarks):,} picture{'s were' if len(remarks) > 1 else ' was'} read, though the "
        f"decoder complained ({where}first: {one_line(name)}, {one_line(remark)})."
    )


def _write_list(entries: Sequence[tuple[str, str]], file: Path) -> str:
    """Write names with what is to be said of them, and return where, for a message."""
    lines = [f"{name}\t{text}\n" for name, text in entries]
    try:
        write_atomic(file, "".join(lines).encode("utf-8", "backslashreplace"))
    except GapfillError:
        return ""
    return f"list: {file}; "


def _store(file: Path, table: Table, fingerprint: str) -> None:
    """Write three lines (format, SHA-256 of what follows, what it is), then the pixels."""
    about = {
        "fingerprint": fingerprint,
        "shape": list(table.images.shape),
        "names": table.names,
        "split": table.split.tolist(),
        "title": table.title,
        "crop": table.crop,
        "unreadable": table.unreadable,
    }
    head = json.dumps(about).encode() + b"\n"
    pixels = _memory(table.images)
    digest = hashlib.sha256(head)
    digest.update(pixels)
    write_atomic(file, _MAGIC, digest.hexdigest().encode() + b"\n", head, pixels)


def _cached(file: Path, fingerprint: str) -> Table | None:
    """Return the table kept in `file`, or None if it is absent, of another source or damaged."""
    try:
        with file.open("rb") as stream:
            table = _restore(stream, fingerprint)
    except FileNotFoundError:
        return None
    except Exception as error:  # Whatever a damaged file raises, the table can be built again.
        _note(f"the cached table {file} is damaged ({reason_of(error)}); building it again.")
        return None
    return table


def _restore(stream: BinaryIO, fingerprint: str) -> Table | None:
    magic = stream.readline()
    if magic != _MAGIC:
        if magic.startswith(_KIND) and magic.removeprefix(_KIND).strip().isdigit():
            return None  # of another version of this library
        raise ValueError("unknown format")
    expected = stream.readline().strip().decode()
    head = stream.readline()
    about: dict[str, Any] = json.loads(head)
    if about["fingerprint"] != fingerprint:
        return None
    pixels = np.fromfile(stream, np.uint8)
    digest = hashlib.sha256(head)
    digest.update(pixels.data)
    if digest.hexdigest() != expected:
        raise ValueError("sha256 mismatch")
    return Table(
        images=torch.from_numpy(pixels).view(about["shape"]),
        names=tuple(about["names"]),
        split=torch.tensor(about["split"], dtype=torch.int8),
        title=about["title"],
        crop=about["crop"],
        unreadable=tuple((name, reason) for name, reason in about["unreadable"]),
    )


def _memory(images: torch.Tensor) -> memoryview:
    return images.contiguous().numpy().data.cast("B")


def _note(line: str) -> None:
    sys.stderr.write(f"{line}\n")
