"""The trainings of a comparison on a Dask cluster: `--executor dask://HOST:PORT`.

Each is a task that starts a process (`job`) on its worker and tells the comparison what that says.
The comparison's folder, the same on every machine, is where the results are: a task whose worker is
lost is made again on another one, and goes on from the run's last checkpoint. Nobody waits for
a task that is cancelled, nor for one of a comparison that has gone: it saves its run and ends.
"""

from __future__ import annotations

import importlib.util
import re
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapfill.compare.job import Child, tell, title
from gapfill.console import say
from gapfill.errors import GapfillError, UsageError, one_line

if TYPE_CHECKING:  # a worker can do without torch
    from gapfill.train.signals import Signals

_PAUSE = 0.2  # seconds between two looks at a process, or at the tasks
_CONNECT = 10.0  # seconds for the scheduler to answer
_LEAVE = 60.0  # seconds for cancelled tasks to save their runs


def require(executor: str) -> None:
    """Make sure that this is a cluster's address, and that it can be spoken to.

    Raises:
        UsageError: it is none, or Dask is not installed.
    """
    if not re.fullmatch(r"dask://[^/\s]+:\d+", executor):
        raise UsageError(f"--executor takes dask://HOST:PORT; got '{executor[:60]}'.")
    if importlib.util.find_spec("distributed") is None:
        raise UsageError(
            "--executor dask://… needs Dask's distributed, which is not installed: "
            "pip install distributed"
        )


def train(
    executor: str, jobs: list[dict[str, Any]], quiet: bool, signals: Signals
) -> dict[str, GapfillError]:
    """Train all jobs on the cluster; return the contestants of which one failed, and why.

    Once a signal is caught, it has the runs saved and returns.

    Raises:
        GapfillError: no scheduler answers there.
    """
    from distributed import Client  # type: ignore[import-not-found]

    address = executor.removeprefix("dask://")
    try:
        client: Any = Client(f"tcp://{address}", timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise GapfillError(f"no Dask scheduler answers at {address}.") from error
    with client:
        workers = len(client.nthreads())
        said = f"{workers} worker{'s' * (workers != 1)} of {executor}"
        say(f"{len(jobs)} run{'s' * (len(jobs) > 1)} to train, {said}", quiet)
        return _Tasks(client, jobs).run(signals)


class _Tasks:
    """The tasks of one comparison, and what is known of them."""

    def __init__(self, client: Any, jobs: list[dict[str, Any]]) -> None:
        self._client, self._topic = client, f"gapfill-{uuid.uuid4().hex}"
        self._jobs = {f"{self._topic}-{number}": job for number, job in enumerate(jobs)}
        self._running: set[str] = set()
        client.subscribe_topic(self._topic, self._hear)

    def run(self, signals: Signals) -> dict[str, GapfillError]:
        """Have all carried out; `train` says what it returns."""
        here, failed = str(Path.cwd()), {}
        tasks = {
            key: self._client.submit(carry_out, job, key, self._topic, here, key=key)
            for key, job in self._jobs.items()
        }
        while tasks and signals.caught is None:
            time.sleep(_PAUSE)
            for key in [key for key, task in tasks.items() if task.done()]:
                job = self._jobs[key]
                if error := _error(tasks.pop(key)):
                    say(f"{title(job)}: failed: {error}")
                    failed.setdefault(job["label"], error)
        self._client.cancel(list(tasks.values()))
        last = time.monotonic() + _LEAVE
        while tasks and self._running and time.monotonic() < last:
            time.sleep(_PAUSE)
        return failed

    def _hear(self, event: tuple[float, Any]) -> None:
        """Take what a task says: a line, or that its process has begun or ended."""
        key, what, text = event[1]
        if what == "begins":
            self._running.add(key)
        if what == "ended":
            self._running.discard(key)
        else:
            tell(self._jobs[key], text)


def carry_out(job: Mapping[str, Any], key: str, topic: str, folder: str) -> tuple[bool, str] | None:
    """The task, on its worker: train, as long as somebody wants it.

    Returns:
        What was wrong: whether it was what had been asked for, and a line.
    """
    from distributed import get_worker  # type: ignore[import-not-found]

    worker = get_worker()

    def hear(what: str, text: str = "") -> None:
        worker.log_event(topic, [key, what, text])

    hear("begins", f"begins on {socket.gethostname()}")
    own = folder if Path(folder).is_dir() else None  # to which relative paths belong
    child = Child(job, lambda line: hear("line", line), folder=own)
    while not child.ended():
        time.sleep(_PAUSE)
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            child.stop()
            break
    error = child.close()
    hear("ended")
    return None if error is None else (isinstance(error, UsageError), str(error))


def _error(task: Any) -> GapfillError | None:
    """What was wrong with a task that is done."""
    try:
        found = task.result()
    except Exception as error:  # of the cluster: its workers died of it, or lack gapfill
        return GapfillError(one_line(f"{type(error).__name__}: {error}"))
    if found is None:
        return None
    usage, text = found
    return (UsageError if usage else GapfillError)(text)
