"""Interruptions: the step in hand is finished and saved before the program ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class InterruptedRun(KeyboardInterrupt):
    """Training was stopped by a signal, after its step was finished and saved."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Signals:
    """Notes SIGINT and SIGTERM inside the block instead of dying of them.

    A second SIGINT is a KeyboardInterrupt at once. Outside the main thread, where Python allows no
    handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.caught == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.caught = number
