"""One training in a process of its own, both ends of it: `python -m gapfill.compare.job`.

The program reads what to train, JSON, from the first line of its stdin, and writes lines for the
user. Its stdin stays open as long as somebody wants the run: when that ends, however it ends, the
step in hand is finished and saved, as after a signal. It ends with a command's exit codes, and of
what failed the last line is the reason.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gapfill.console import say
from gapfill.errors import GapfillError, UsageError, one_line

_WAIT = 60.0  # seconds for another process to leave the run's folder, as one that was stopped does


def title(job: Mapping[str, Any]) -> str:
    """What a run is called in the lines about it."""
    return f"{job['label']}, seed {job['seed']}"


def tell(job: Mapping[str, Any], line: str) -> None:
    """Show a line of a run, with which run it is."""
    for known in (title(job), job["recipe"]["model"]):
        line = line.removeprefix(f"{known}: ")
    say(f"{title(job)}: {line}")


class Child:
    """The process that trains one run.

    Args:
        job: what to train, as `jobs.described` gives it.
        say: takes each line that it writes.
        threads: of PyTorch in it; None leaves them to it.
        folder: its working folder, or None for this process's.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        say: Callable[[str], None],
        threads: int | None = None,
        folder: str | None = None,
    ) -> None:
        # It finds what this process finds, plug-ins beside a script among it.
        own = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
        if threads is not None:
            own["OMP_NUM_THREADS"] = str(threads)
        self._say, self._last = say, ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gapfill.compare.job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | own,
            cwd=folder,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C is for this process to hand on
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with suppress(OSError):  # it has ended already, and its last line says why
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Have it save the run and end; it does so in its own time."""
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def close(self) -> GapfillError | None:
        """Wait for its end; return what was wrong, if anything."""
        code = self._process.wait()
        self._reader.join(_WAIT)  # unless a process that it started holds the pipe
        self.stop()
        if not code:
            return None
        if code < 0:
            name = signal.Signals(-code).name
            return GapfillError(f"its process was ended by {name}; was there too little memory?")
        kind = UsageError if code == UsageError.exit_code else GapfillError
        return kind(self._last or f"its process ended with {code}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line := line.rstrip():
                    self._last = line
                    self._say(line)


class _Lasting(io.FileIO):
    """Where lines for the user go; nobody reads them any more once the other end was killed."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def main() -> int:
    """Carry out the job that stdin says."""
    from gapfill.train import InterruptedRun

    lines = io.BufferedWriter(_Lasting(sys.stderr.fileno(), "w", closefd=False))
    sys.stdout = sys.stderr = io.TextIOWrapper(lines, "utf-8", "replace", line_buffering=True)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        _train(job)
    except (InterruptedRun, GapfillError) as error:
        say(str(error))
        return error.exit_code
    except Exception as error:
        if job["named"]:
            traceback.print_exc()
        say(one_line(f"{type(error).__name__}: {error}"))
        return 1
    return 0


def _end_with_stdin() -> None:
    """Wait for the end of stdin, then end this process as a signal from outside would."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _train(job: Mapping[str, Any]) -> None:
    from gapfill.compare.jobs import read
    from gapfill.registry import is_saved

    run = read(job)
    _wait_for(run.home)
    if not is_saved(run.home):  # by the process that was waited for
        run.model()


def _wait_for(home: Path) -> None:
    """Until no other process trains in the folder.

    Raises:
        UsageError: one still does after a minute.
    """
    from gapfill.train.lock import Lock

    home.mkdir(parents=True, exist_ok=True)
    lock, last = Lock(home), time.monotonic() + _WAIT
    while True:
        try:
            lock.acquire()
        except UsageError:
            if time.monotonic() > last:
                raise
            time.sleep(0.2)
        else:
            lock.release()
            return


if __name__ == "__main__":
    sys.exit(main())
