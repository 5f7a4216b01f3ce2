"""Where pictures come from: folders, zips and CelebA's own layouts."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gapfill.data.containers import FolderFiles, ZipFiles, read_list_file
from gapfill.data.lists import PartitionList, is_celebas_list, is_list, joined, part_of, read_list
from gapfill.data.splits import Division, divide, hash_split
from gapfill.errors import GapfillError, UsageError, one_line
from gapfill.reading.formats import SUFFIXES
from gapfill.reading.regular import expand, is_there, open_regular, shortened

__all__ = ["Source", "hash_split", "open_source"]

CELEBA_FOLDER = "img_align_celeba"
CELEBA_ZIP = "img_align_celeba.zip"
_LIST_FOLDERS = ("eval", "anno", "annotations")  # where CelebA's authors keep their lists
_LEVELS = 2  # folders above the given one in which a list is looked for

Files = FolderFiles | ZipFiles


@dataclass(frozen=True)
class Source:
    """The pictures of one folder or zip, listed but not yet read.

    `names` are sorted paths relative to the source, with forward slashes. `fingerprint` changes
    when any picture, or a partition list, changes. `notes` says what a user must know of what was
    passed over, a sentence each.
    """

    path: Path
    title: str
    names: tuple[str, ...]
    fingerprint: str
    division: Division
    files: Files
    prefix: str = ""
    notes: tuple[str, ...] = ()

    def read(self, name: str) -> bytes:
        """Return one picture's file content."""
        return self.files.read(self.prefix + name)

    def split_of(self, name: str) -> int:
        """Say which split a picture belongs to: 0 train, 1 validation, 2 test."""
        return self.division.split[name]


def open_source(path: str | Path) -> Source:
    """List the pictures in a folder or zip, and find what says how they are split.

    CelebA is recognised in the layouts that it is handed out in: a folder or zip whose name begins
    with `img_align_celeba`, itself, directly inside, or deeper where nothing else lies beside it.
    Partition lists are looked for among the pictures and up to two folders above, `Eval/` and
    `Anno/` included.

    Raises:
        GapfillError: nothing is there, it holds no pictures, it cannot be read, or its partition
            list is damaged or belongs to other pictures.
    """
    path = expand(path)
    if not is_there(path):
        raise GapfillError(f"no such folder or zip: {shortened(path)}.")
    return _open_folder(path) if path.is_dir() else _open_zip(path)


def _open_folder(path: Path) -> Source:
    files = FolderFiles(path)
    names = list(files.members)
    if celeba := [name for name in names if _is_celeba(name.partition("/")[0]) and "/" in name]:
        return _source(path, files, celeba)  # which lies directly inside: it is what is meant
    zips = sorted(filter(_is_celeba, files.zips), key=lambda name: (name.count("/"), name))
    if zips and (not names or "/" not in zips[0]):
        return _open_zip(path / zips[0], files)
    if names:
        return _source(path, files, names)
    where = f"in {files.folders:,} sub-folder{'s' * (files.folders != 1)}"
    raise _no_pictures(path, where, files)


def _open_zip(path: Path, around: FolderFiles | None = None) -> Source:
    """Open a zip; `around` is what the folder holds in which it was found."""
    if path.suffix.lower() in SUFFIXES:
        raise UsageError(f"{path} is one picture. Give a folder or {CELEBA_ZIP}.")
    try:
        open_regular(path).close()
        files = ZipFiles(path)
    except zipfile.BadZipFile as error:
        raise GapfillError(_not_a_zip(path)) from error
    except NotImplementedError as error:
        raise GapfillError(
            f"{path} is a zip of a kind that Python does not read ({error}). Unpack it, and give "
            "the folder."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GapfillError(f"cannot read {path}: {reason}.") from error
    if not files.members:
        raise _no_pictures(path, "in the whole zip", files)
    files.check()
    return _source(path, files, list(files.members), around)


def _not_a_zip(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if start.lower().startswith(("<!doctype", "<html", "<head", "<?xml")):
        tag = start[: start.find(">") + 1][:40] or start[:40]
        return (
            f"{path.name} is a web page, not a zip (begins {tag!r}: the host's quota page). "
            "Download it again."
        )
    if start.startswith("PK"):
        return f"{path} is a zip that is cut short or damaged. Download it again."
    return f"{path} is neither a folder nor a zip. Give a folder or {CELEBA_ZIP}."


def _no_pictures(path: Path, where: str, files: Files) -> GapfillError:
    found = "".join(f"; {note}" for note in files.notes())
    cure = f"Give {path / files.zips[0]}" if files.zips else f"Give a folder or {CELEBA_ZIP}"
    return GapfillError(
        f"no pictures found in {path} (looked for {' '.join(SUFFIXES)}, {where}{found}). {cure}."
    )


def _source(
    path: Path, files: Files, names: Sequence[str], around: FolderFiles | None = None
) -> Source:
    """Name and split the chosen pictures of a container as CelebA does, if they are CelebA's."""
    own = path.resolve().name if path.is_dir() else path.stem
    prefix = _celeba_prefix(names)
    title = "CelebA" if prefix or _is_celeba(own) else own
    short = sorted(name.removeprefix(prefix) for name in names)
    texts = _texts(path, files, around)
    lists, notes = _lists(files, texts, set(names))
    division = divide(short, prefix, lists)
    fingerprint = hashlib.sha256()
    for mark in (*sorted(files.marks), prefix):
        fingerprint.update(mark.encode("utf-8", "surrogateescape") + b"\n")
    for text in texts:
        fingerprint.update(hashlib.sha256(text.data).digest())
    beside = len(files.members) - len(names) + (len(around.members) if around else 0)
    if beside:
        many = f"{beside:,} pictures" if beside > 1 else "1 picture"
        notes.append(f"passed over, as outside {CELEBA_FOLDER}: {many}")
    return Source(
        path=path.resolve(),
        title=title,
        names=tuple(short),
        fingerprint=fingerprint.hexdigest(),
        division=division,
        files=files,
        prefix=prefix,
        notes=tuple(map(one_line, (*notes, *files.notes(but_zips=title == "CelebA")))),
    )


def _is_celeba(name: str) -> bool:
    return name.rpartition("/")[2].lower().startswith(CELEBA_FOLDER)


def _celeba_prefix(names: Sequence[str]) -> str:
    """The folder, with its slash, that all pictures lie in and that is called as CelebA's is."""
    parts = names[0].split("/")[:-1]
    for last in range(len(parts) - 1, -1, -1):
        prefix = "/".join(parts[: last + 1]) + "/"
        if _is_celeba(parts[last]) and all(name.startswith(prefix) for name in names):
            return prefix
    return ""


# Partition lists --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    """A partition list as it is stored.

    Attributes:
        path: where it lies.
        where: the same, from the pictures' folder or zip on.
        name: its path in the container; "" for one above.
        rank: lists of a lower rank are nearer to the pictures.
        data: its bytes.
        must: whether it has to know some of the pictures.
    """

    path: Path
    where: str
    name: str
    rank: int
    data: bytes
    must: bool = True


def _texts(path: Path, files: Files, around: FolderFiles | None) -> list[_Text]:
    """The lists among the pictures, then those of the folders above, the nearest first."""
    found = [
        _Text(path / name, name, name, -name.count("/") - 1, files.read_list(name))
        for name in sorted(files.lists, key=lambda name: (-name.count("/"), name))
        if is_list(name.rpartition("/")[2])
    ]
    found += _joined(path, files)
    seen = {os.path.realpath(text.path) for text in found}
    home = path if path.is_dir() else path.parent
    above = [(0, around.root / name) for name in around.lists] if around else []
    for rank, list_path in (*above, *_above(path)):
        if (real := os.path.realpath(list_path)) not in seen:
            seen.add(real)
            where = Path(os.path.relpath(list_path, home)).as_posix()
            data = read_list_file(list_path)
            found.append(_Text(list_path, where, "", rank, data, must=False))
    return found


def _joined(path: Path, files: Files) -> Iterator[_Text]:
    """The lists that are a file for each split, those of one folder as one."""
    folders: dict[str, list[str]] = {}
    for name in sorted(files.lists):
        if part_of(name.rpartition("/")[2]) is not None:
            folders.setdefault(name.rpartition("/")[0], []).append(name)
    for folder, names in folders.items():
        parts = [(part_of(name.rpartition("/")[2]) or 0, files.read_list(name)) for name in names]
        if len({split for split, _ in parts}) > 1:
            data = joined(parts, str(path / folder))
            rank = -names[0].count("/") - 1
            yield _Text(path / names[0], ", ".join(names), names[0], rank, data, must=False)


def _above(path: Path) -> Iterator[tuple[int, Path]]:
    """CelebA's lists in the folders above, with the level."""
    for start in dict.fromkeys((Path(os.path.abspath(path)), path.resolve())):  # noqa: PTH100
        level, child = 1, start
        while level <= _LEVELS and child.parent != child:
            folder = child.parent
            for place in (folder, *_list_folders(folder)):
                yield from (
                    (level, place / name) for name in _files(place) if is_celebas_list(name)
                )
            # Archives that were unpacked into a folder of their name hold it twice.
            level += not (_is_celeba(child.name) and _is_celeba(folder.name))
            child = folder


def _list_folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as scan:
            return sorted(
                Path(e.path) for e in scan if e.name.lower() in _LIST_FOLDERS and e.is_dir()
            )
    except OSError:
        return []


def _files(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as scan:
            return sorted(entry.name for entry in scan if is_list(entry.name) and entry.is_file())
    except OSError:
        return []


def _lists(
    files: Files, texts: Sequence[_Text], chosen: set[str]
) -> tuple[list[PartitionList], list[str]]:
    """The lists that speak of the chosen pictures, and notes on those that are none."""
    folders = {""}
    for name in files.members:
        while name := name.rpartition("/")[0]:
            if name in folders:
                break
            folders.add(name)
    lists, notes = [], []
    for text in texts:
        scope = text.name.rpartition("/")[0]
        while scope not in folders:  # `Eval/` holds no pictures: its list is for those beside it
            scope = scope.rpartition("/")[0]
        scope = f"{scope}/" if scope else ""
        if not any(name.startswith(scope) for name in chosen):
            continue
        try:
            splits = read_list(text.data, str(text.path))
        except GapfillError as error:
            if text.must and is_celebas_list(text.where):
                raise
            notes.append(f"not used, though it is called as a list is: {error}".rstrip("."))
            continue
        lists.append(PartitionList(text.where, scope, splits, text.rank, text.must))
    return lists, notes
