"""A run's log, JSON lines: written as it goes, cut where a resumed run takes it up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gapfill import checkpoint
from gapfill.errors import GapfillError


class Log:
    """The log of one run.

    Args:
        path: its file.
        note: takes a line for the user, such as that some of it cannot be read.
    """

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self.path = path
        self._note = note
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The SHA-256 of what was written so far."""
        return self._hash.hexdigest()

    def add(self, line: Mapping[str, Any]) -> None:
        """Write one more line.

        Raises:
            GapfillError: the disk is full or the file cannot be written to.
        """
        text = (json.dumps(line) + "\n").encode()
        try:
            with self.path.open("ab") as file:
                file.write(text)
        except OSError as error:
            raise GapfillError(f"cannot write {self.path}: {error.strerror or error}.") from error
        self._hash.update(text)

    def rewind(self, step: int, digest: str | None) -> list[dict[str, Any]]:
        """Cut the log after `step`, where a resumed run takes it up, and return what is left.

        Args:
            step: the last one that counts.
            digest: what `digest` was then, or None where nobody noted it.
        """
        lines: list[dict[str, Any]] = []
        bad: list[int] = []
        if self.path.is_file():
            found, bad = read_log(self.path)
            lines = [line for line in found if line["step"] <= step]
        elif step:
            digest = None
            self._note(f"{self.path} is missing: the curves of this run begin at step {step:,}.")
        text = "".join(json.dumps(line) + "\n" for line in lines)
        checkpoint.write_text(self.path, text)
        self._hash = hashlib.sha256(text.encode())
        if bad:
            self._note(f"{self.path}: {named(bad)} cannot be read and were left out.")
        elif digest not in (None, self.digest):
            self._note(f"{self.path} is not what was written up to step {step:,}: it was changed.")
        return lines


def read_log(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The lines of a log, and the numbers (from 1) of those that are none.

    A last line without its end is what a kill leaves, and is passed over.

    Raises:
        GapfillError: the file cannot be read.
    """
    try:
        texts = path.read_bytes().split(b"\n")
    except OSError as error:
        raise GapfillError(f"cannot read {path}: {error.strerror or error}.") from error
    lines, bad = [], []
    for number, text in enumerate(texts[:-1], 1):
        try:
            lines.append(_line(text))
        except (ValueError, RecursionError):
            bad.append(number)
    return lines, bad


def named(numbers: Sequence[int]) -> str:
    """Lines by their numbers, in words, the first few.

    >>> named([3, 7])
    'lines 3 and 7'
    """
    if len(numbers) > 4:
        return f"{len(numbers)} lines, from line {numbers[0]} on,"
    *most, last = map(str, numbers)
    return f"lines {', '.join(most)} and {last}" if most else f"line {last}"


def _line(text: bytes) -> dict[str, Any]:
    """One line: numbers by name, a step among them; ValueError for anything else."""
    line = json.loads(text.decode())
    if not isinstance(line, dict) or type(line.get("step")) is not int or line["step"] < 0:
        raise ValueError("no step")
    if not all(type(value) in (int, float) for value in line.values()):
        raise ValueError("no numbers")
    return line
