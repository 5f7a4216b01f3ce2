"""Paths as users write them, and files that end: no pipe, no device, no surprise."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from io import BufferedReader
from pathlib import Path

from gapfill.errors import UsageError

_SHOWN = 200


def expand(path: str | Path) -> Path:
    """Return the path with `~` as the home folder that it stands for.

    Raises:
        UsageError: nobody knows that home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{shortened(path)}: there is no such home folder here; write the whole path."
        ) from error


def composed(name: str) -> str:
    """A name in one spelling of its accents; Macs write them as letters of their own."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_there(path: Path) -> bool:
    """Whether a path leads to something, however long or odd it is.

    What may not be looked at counts as there, so that reading it says why it cannot be read.
    """
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):  # a name too long, a null character
        return False
    return True


def shortened(path: str | Path) -> str:
    """Return a path as a message shows it.

    >>> len(shortened("a" * 5000))
    200
    """
    text = str(path)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def is_hidden(name: str) -> bool:
    """Whether a file's name is one that systems hide, or what Macs leave behind."""
    return name.startswith(".") or name == "__MACOSX"


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it, if it is one: a pipe would wait for ever, a device never end.

    Raises:
        OSError: it cannot be opened, or it is a folder, a pipe, a socket or a device.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, f"not a regular file but a {_kind(mode)}", str(path))


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket")):
        if test(mode):
            return name
    return "device"
