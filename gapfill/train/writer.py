"""Files written behind a run's back, while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from gapfill.errors import GapfillError, one_line


class Writer:
    """A thread that does one piece of work at a time, and hands on what went wrong with it."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def begin(self, work: Callable[[], object]) -> None:
        """Do `work` in the thread, once the work before it is done.

        Raises:
            GapfillError: the work before it failed.
        """
        self.wait()
        self._thread = Thread(target=self._do, args=(work,), name="gapfill writer")
        self._thread.start()

    def check(self) -> None:
        """Wait for nothing, but say so if the work has failed.

        Raises:
            GapfillError: it failed.
        """
        if self._error is not None:
            self.wait()

    def wait(self) -> None:
        """Wait until the work is done.

        Raises:
            GapfillError: it failed.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if isinstance(error, GapfillError):
            raise error
        if error is not None:
            kind = type(error).__name__
            raise GapfillError(
                f"a checkpoint cannot be written ({kind}: {one_line(str(error))})."
            ) from error

    def _do(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._error = error
