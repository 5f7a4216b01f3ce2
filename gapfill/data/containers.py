"""What a folder or a zip holds: pictures, partition lists, and what is passed over."""

from __future__ import annotations

import os
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gapfill.data.lists import is_list, part_of
from gapfill.errors import GapfillError
from gapfill.reading.formats import PASSED_OVER, SUFFIXES
from gapfill.reading.regular import is_hidden, open_regular

LARGEST_FILE = 2**28  # bytes; a zip member can claim to unpack to anything
LARGEST_LIST = 2**26
_METHODS = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflated",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "lzma",
}
# What runs and banks of test pictures keep in their folders and nobody else does: a file, words
# that stand in it, and what lies beside it that would pass for pictures to learn from.
_MADE = {
    "plan.json": (
        (b'"wanted"', b'"decided"'),
        ("samples", "models", "model", "grid.png", "losses.png"),
    ),
    "manifest.json": ((b'"gapfill bank',), ("masks", "holes")),
}


class _Contents:
    """What was found, by names relative to the container, with forward slashes.

    Attributes:
        marks: texts that change when a picture does.
        lists: the names of partition lists.
        zips: the names of zips inside.
        passed: how many files of each suffix may hold pictures and are not read.
        runs: folders of runs, which were left out.
        folders: how many folders there are below.
    """

    def __init__(self) -> None:
        self.marks: list[str] = []
        self.lists: list[str] = []
        self.zips: list[str] = []
        self.passed: Counter[str] = Counter()
        self.runs: list[str] = []
        self.folders = 0

    def sort(self, name: str) -> bool:
        """Note what a file is, and return whether it is a picture."""
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in SUFFIXES:
            return True
        base = name.rpartition("/")[2]
        if is_list(base) or part_of(base) is not None:
            self.lists.append(name)
        elif suffix in PASSED_OVER:
            self.passed[suffix] += 1
            if suffix == ".zip":
                self.zips.append(name)
        return False

    def notes(self, but_zips: bool = False) -> tuple[str, ...]:
        """What a user must know of that was not taken, a sentence each."""
        notes = []
        passed = [
            pair for pair in self.passed.most_common() if not (but_zips and pair[0] == ".zip")
        ]
        if passed:
            kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in passed)
            notes.append(f"passed over, as no format that is read: {kinds}")
        if self.runs:
            more = f" and {len(self.runs) - 1:,} more" if len(self.runs) > 1 else ""
            notes.append(f"left out, as made by gapfill: {self.runs[0]}{more}")
        return tuple(notes)


class FolderFiles(_Contents):
    """The pictures in a folder and below, less hidden ones and what runs left there."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.members: dict[str, str] = {}
        entered: set[tuple[int, int]] = set()
        for name, entry in self._walk(root, "", entered):
            if not self.sort(name):
                continue
            self.members[name] = entry.path
            try:
                stat = entry.stat()
                self.marks.append(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}")
            except OSError:  # A link to nowhere; reading it will say so.
                self.marks.append(name)
        self.folders = len(entered) - 1

    def read(self, name: str) -> bytes:
        """Return one picture's content."""
        return _read(Path(self.members[name]), LARGEST_FILE)

    def read_list(self, name: str) -> bytes:
        """Return a partition list's content."""
        return read_list_file(self.root / name)

    def _walk(
        self, folder: Path, prefix: str, entered: set[tuple[int, int]]
    ) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield files with their relative names; no folder is entered twice, so links may loop."""
        try:
            stat = folder.stat()
            if (stat.st_dev, stat.st_ino) in entered:
                return
            entered.add((stat.st_dev, stat.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            raise GapfillError(f"cannot read {folder}: {error.strerror or error}.") from error
        made = _made(folder, entries)
        if made and prefix:
            self.runs.append(prefix)
            return
        for entry in entries:
            name = prefix + entry.name
            if is_hidden(entry.name):
                continue
            if entry.name in made:
                self.runs.append(name)
            elif _is_folder(entry):
                yield from self._walk(Path(entry.path), f"{name}/", entered)
            elif entry.is_symlink() or entry.is_file():
                yield name, entry


class ZipFiles(_Contents):
    """The pictures in a zip, read in place.

    Threads take turns at one handle, since parsing a directory of 200,000 members in each of them
    would cost seconds. A forked process opens its own: a shared handle shares its position.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._open()
        self.members: dict[str, zipfile.ZipInfo] = {}
        self._lists: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.filename.replace("\\", "/")  # as some of Windows' tools write it
            if info.is_dir() or any(map(is_hidden, name.split("/"))):
                continue
            if self.sort(name):
                self.members[name] = info
            elif name in self.lists:
                self._lists[name] = info
        stat = path.stat()
        self.marks = [f"{stat.st_size}\0{stat.st_mtime_ns}"]
        self.marks += [f"{name}\0{info.CRC}" for name, info in self.members.items()]

    def _open(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._zip = zipfile.ZipFile(self.path)

    def read(self, name: str) -> bytes:
        """Return one member's content, checked against its CRC."""
        return self._read(self.members[name], LARGEST_FILE)

    def read_list(self, name: str) -> bytes:
        """Return a partition list's content."""
        try:
            return self._read(self._lists[name], LARGEST_LIST)
        except Exception as error:  # Whatever zipfile and its decompressors raise.
            raise GapfillError(f"cannot read {name} in {self.path}: {error}.") from error

    def _read(self, member: zipfile.ZipInfo, most: int) -> bytes:
        if self._process != os.getpid():
            self._open()
        if (reason := _unreadable(member)) is not None:
            raise ValueError(reason)
        _check_length(member.file_size, most)
        with self._lock:
            return self._zip.read(member)

    def check(self) -> None:
        """Refuse a zip of which not one picture can be unpacked here.

        Raises:
            GapfillError: all are encrypted, or packed in ways that Python's zipfile does not know.
        """
        reasons = [_unreadable(member) for member in self.members.values()]
        if reasons and all(reasons):
            raise GapfillError(
                f"{self.path}: its pictures cannot be read ({reasons[0]}). Unpack it with the "
                "program that made it, and give the folder."
            )


def _unreadable(member: zipfile.ZipInfo) -> str | None:
    """Why zipfile cannot unpack a member, if it cannot."""
    if member.flag_bits & 0x41:
        return "encrypted"
    if member.compress_type not in _METHODS:
        known = ", ".join(_METHODS.values())
        return f"packed by method {member.compress_type}; known are {known}"
    if member.flag_bits & 0x20:
        return "packed as a patch of another file"
    return None


def read_list_file(path: Path) -> bytes:
    """Return the content of a partition list on disk.

    Raises:
        GapfillError: it cannot be read.
    """
    try:
        return _read(path, LARGEST_LIST)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GapfillError(f"cannot read the partition list {path}: {reason}.") from error


def _read(path: Path, most: int) -> bytes:
    with open_regular(path) as stream:
        _check_length(os.fstat(stream.fileno()).st_size, most)
        return stream.read()


def _check_length(length: int, most: int) -> None:
    if length > most:
        raise ValueError(f"the file is larger than {most >> 20} MiB")


def _made(folder: Path, entries: list[os.DirEntry[str]]) -> tuple[str, ...]:
    """What of a folder a run, a comparison or a bank made; nothing where none keeps its files."""
    for name in {entry.name for entry in entries} & _MADE.keys():
        words, products = _MADE[name]
        try:
            with open_regular(folder / name) as stream:
                text = stream.read(LARGEST_LIST)
        except OSError:
            continue
        if all(word in text for word in words):
            return products
    return ()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
