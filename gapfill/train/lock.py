"""One process a folder: whoever comes second is told, and what a killed one left counts nothing."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

from gapfill.errors import GapfillError, UsageError

try:
    import fcntl
except ImportError:  # a system without POSIX locks; there nobody is told
    fcntl = None

_held: set[Path] = set()  # in this process, which POSIX never locks out of its own files
_holding = threading.Lock()


class Lock:
    """Holds a folder against other processes, and other threads, while it is entered.

    It is the system's lock on a file `.lock`, which ends with its process, however that ends; the
    file itself says nothing but who holds it. Child processes do not inherit it.

    Args:
        folder: what is held.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder.resolve() / ".lock"
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            UsageError: another run has it.
            GapfillError: the folder cannot be written to.
        """
        with _holding:
            if self._path in _held:
                raise self._taken("another thread of this process")
            _held.add(self._path)
        try:
            self._lock()
        except BaseException:
            _held.discard(self._path)
            raise

    def _lock(self) -> None:
        while fcntl is not None:
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise GapfillError(f"cannot write {self._path}: {error.strerror}.") from error
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                owner = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
                os.close(handle)
                raise self._taken(owner or "another process") from None
            except OSError:  # a file system without locks
                os.close(handle)
                break
            if self._is(handle):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
                self._handle = handle
                break
            os.close(handle)  # its last holder deleted the file meanwhile

    def release(self) -> None:
        """Give the lock back and delete its file."""
        if self._handle is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None
        _held.discard(self._path)

    def _is(self, handle: int) -> bool:
        """Whether the file under the lock's name is the one that is open."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except OSError:
            return False

    def _taken(self, owner: str) -> UsageError:
        return UsageError(
            f"{self.folder} is in use by {owner}. Wait until that has ended, or give another --out."
        )
