"""Where pictures come from: folders, zips and CelebA's own layout."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gapfill.errors import GapfillError, UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
CELEBA_FOLDER = "img_align_celeba"
CELEBA_ZIP = "img_align_celeba.zip"
# CelebA's own list, and the same as other sites hand it out.
PARTITION_FILES = ("list_eval_partition.txt", "list_eval_partition.csv")

_LARGEST_FILE = 2**28  # bytes; a zip member can claim to unpack to anything


@dataclass(frozen=True)
class Source:
    """The pictures of one folder or zip, listed but not yet read.

    `names` are sorted paths relative to the source, with forward slashes. `fingerprint` changes
    when any picture, or the partition list, changes.
    """

    path: Path
    title: str
    names: tuple[str, ...]
    fingerprint: str
    partition: Mapping[str, int]
    files: FolderFiles | ZipFiles
    prefix: str = ""

    def read(self, name: str) -> bytes:
        """Return one picture's file content."""
        return self.files.read(self.prefix + name)

    def split_of(self, name: str) -> int:
        """Say which split a picture belongs to: 0 train, 1 validation, 2 test."""
        listed = self.partition.get(name, self.partition.get(PurePosixPath(name).name))
        return hash_split(name) if listed is None else listed


def hash_split(name: str) -> int:
    """Put about 5 % of names into validation (1) and 10 % into test (2), whatever others exist.

    >>> hash_split("25.jpg"), hash_split("26.jpg"), hash_split("34.jpg")
    (0, 1, 2)
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    return 1 if share < 0.05 else 2 if share < 0.15 else 0


def open_source(path: str | Path) -> Source:
    """List the pictures in a folder or zip.

    CelebA's own layout is recognised: a folder that holds `img_align_celeba/` or
    `img_align_celeba.zip`, or either of these itself, with `list_eval_partition.txt` beside it.

    Raises:
        GapfillError: nothing is there, it holds no pictures, or it cannot be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise GapfillError(f"no such folder or zip: {path}.")
    if path.is_file():
        return _open_zip(path)
    if (path / CELEBA_FOLDER).is_dir():
        files = FolderFiles(path / CELEBA_FOLDER)
        if files.members:
            return _celeba(path, files, _partition_text(path))
    if (path / CELEBA_ZIP).is_file():
        return _open_zip(path / CELEBA_ZIP)
    files = FolderFiles(path)
    if not files.members:
        raise _no_pictures(path, f"in {files.folders:,} sub-folder{'s' * (files.folders != 1)}")
    name = path.resolve().name
    if name == CELEBA_FOLDER:
        return _celeba(path, files, _partition_text(path.resolve().parent))
    return _source(path, name, files, _partition_text(path))


class FolderFiles:
    """The pictures in a folder and its sub-folders; hidden ones are left out."""

    def __init__(self, root: Path) -> None:
        self.members: dict[str, str] = {}
        self.marks: list[str] = []
        folders: set[tuple[int, int]] = set()
        for name, entry in _walk(root, "", folders):
            self.members[name] = entry.path
            try:
                stat = entry.stat()
                self.marks.append(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}")
            except OSError:  # A link to nowhere; reading it will say so.
                self.marks.append(name)
        self.folders = len(folders) - 1

    def read(self, name: str) -> bytes:
        """Return one file's content."""
        path = Path(self.members[name])
        _check_length(path.stat().st_size)
        return path.read_bytes()


class ZipFiles:
    """The pictures in a zip, read in place.

    Threads take turns at one handle, since parsing a directory of 200,000 members in each of them
    would cost seconds. A forked process opens its own: a shared handle shares its position.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()
        self.members = {
            info.filename: info
            for info in self._zip.infolist()
            if not info.is_dir() and _is_picture(info.filename)
        }
        stat = path.stat()
        self.marks = [f"{stat.st_size}\0{stat.st_mtime_ns}"]
        self.marks += [f"{name}\0{info.CRC}" for name, info in self.members.items()]

    def _open(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._zip = zipfile.ZipFile(self.path)

    def read(self, name: str) -> bytes:
        """Return one member's content, checked against its CRC."""
        if self._process != os.getpid():
            self._open()
        member = self.members[name]
        _check_length(member.file_size)
        with self._lock:
            return self._zip.read(member)

    def partition_text(self) -> str | None:
        """Return the partition list that the zip itself holds, if any."""
        for name in self._zip.namelist():
            if PurePosixPath(name).name in PARTITION_FILES:
                return self._zip.read(name).decode("utf-8", "replace")
        return None


def _open_zip(path: Path) -> Source:
    if path.suffix.lower() in SUFFIXES:
        raise UsageError(f"{path} is one picture. Give a folder or {CELEBA_ZIP}.")
    try:
        files = ZipFiles(path)
    except zipfile.BadZipFile as error:
        raise GapfillError(_not_a_zip(path)) from error
    except OSError as error:
        raise GapfillError(f"cannot read {path}: {error.strerror or error}.") from error
    if not files.members:
        raise _no_pictures(path, "in the whole zip")
    if path.name == CELEBA_ZIP or all(CELEBA_FOLDER in name.split("/") for name in files.members):
        return _celeba(path, files, files.partition_text() or _partition_text(path.parent))
    return _source(path, path.stem, files, files.partition_text())


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


def _no_pictures(path: Path, where: str) -> GapfillError:
    return GapfillError(
        f"no pictures found in {path} (looked for {' '.join(SUFFIXES)}, {where}). "
        f"Give a folder or {CELEBA_ZIP}."
    )


def _celeba(path: Path, files: FolderFiles | ZipFiles, text: str | None) -> Source:
    """Name pictures as CelebA does, so that its folder and its zip give the same table."""
    prefix, repeated = "", f"{CELEBA_FOLDER}/"
    while all(name.startswith(prefix + repeated) for name in files.members):
        prefix += repeated
    return _source(path, "CelebA", files, text, prefix)


def _source(
    path: Path, title: str, files: FolderFiles | ZipFiles, text: str | None, prefix: str = ""
) -> Source:
    fingerprint = hashlib.sha256()
    for mark in (*sorted(files.marks), text or ""):
        fingerprint.update(mark.encode("utf-8", "surrogateescape") + b"\n")
    return Source(
        path=path.resolve(),
        title=title,
        names=tuple(sorted(name.removeprefix(prefix) for name in files.members)),
        fingerprint=fingerprint.hexdigest(),
        partition=_parse_partition(text or "", path),
        files=files,
        prefix=prefix,
    )


def _partition_text(folder: Path) -> str | None:
    for name in PARTITION_FILES:
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8", "replace")
    return None


def _parse_partition(text: str, path: Path) -> dict[str, int]:
    partition = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.replace(",", " ").split()
        if not fields or fields[-1] == "partition":  # the heading of the .csv form
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise GapfillError(
                f"the partition list of {path} is damaged: line {number} is {line[:60]!r}; "
                "expected a file name and 0 (train), 1 (validation) or 2 (test)."
            )
        partition[fields[0]] = int(fields[1])
    return partition


def _walk(
    folder: Path, prefix: str, entered: set[tuple[int, int]]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield pictures with their relative names; no folder is entered twice, so links may loop."""
    try:
        stat = folder.stat()
        if (stat.st_dev, stat.st_ino) in entered:
            return
        entered.add((stat.st_dev, stat.st_ino))
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise GapfillError(f"cannot read {folder}: {error.strerror or error}.") from error
    for entry in entries:
        name = prefix + entry.name
        if _is_hidden(entry.name):
            continue
        if _is_folder(entry):
            yield from _walk(Path(entry.path), f"{name}/", entered)
        elif _is_picture(entry.name) and (entry.is_symlink() or entry.is_file()):
            yield name, entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not any(map(_is_hidden, name.split("/")))


def _check_length(length: int) -> None:
    if length > _LARGEST_FILE:
        raise ValueError(f"the file is larger than {_LARGEST_FILE >> 20} MiB")
