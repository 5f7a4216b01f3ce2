"""Interruptions: the step in hand is finished and saved before the program ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_CHILD = getattr(signal, "SIGCHLD", None)


class InterruptedRun(KeyboardInterrupt):
    """Training was stopped by a signal, after its step was finished and saved."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Signals:
    """Notes SIGINT and SIGTERM inside the block instead of dying of them.

    A second SIGINT is a KeyboardInterrupt at once. Outside the main thread, where Python allows no
    handlers, nothing is changed. A loader's workers belong inside: forked there, they leave it to
    their parent to end them.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}
        self._hasty = False
        self._child: Any = None  # what was to happen when a child process ends
        self._ended = False

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
            if _CHILD is not None and (before := signal.getsignal(_CHILD)) is not None:
                self._child = before
                signal.signal(_CHILD, self._note_child)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._child is not None and _CHILD is not None:
            signal.signal(_CHILD, self._child)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around what reads a loader: inside, the end of a worker is an error, as torch has it.

        Elsewhere that error would come at any line, in the middle of a step; it waits for the next
        such block.
        """
        if self._child is None or _CHILD is None:
            yield
            return
        signal.signal(_CHILD, self._child)
        try:
            if self._ended:
                self._ended = False
                signal.raise_signal(_CHILD)
            yield
        finally:
            self._child = signal.getsignal(_CHILD)
            signal.signal(_CHILD, self._note_child)

    @contextmanager
    def hasty(self) -> Iterator[None]:
        """Inside, a signal ends the run at once: there is nothing yet to be saved."""
        self._hasty = True
        try:
            if self.caught is not None:
                raise _untouched(self.caught)
            yield
        finally:
            self._hasty = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._owner:  # a process forked inside the block
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        if self._hasty:
            raise _untouched(number)
        if self.caught == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.caught = number

    def _note_child(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._ended = True


def _untouched(number: int) -> InterruptedRun:
    return InterruptedRun("interrupted before a step was made; the run is as it was.", number)
