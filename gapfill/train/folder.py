"""A run's folder: its plan, its log, its checkpoints. Everything in it survives a kill."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapfill import checkpoint
from gapfill.config import build
from gapfill.errors import GapfillError, UsageError
from gapfill.train.lock import Lock
from gapfill.train.log import Log
from gapfill.train.settings import LENGTHS
from gapfill.train.state import Saved, on_host, read_state, snapshot
from gapfill.train.writer import Writer

_KEEP = 2


class RunFolder:
    """Where one training run keeps what it needs to go on.

    Args:
        path: the folder, made where it is missing.
        note: takes a line for the user, such as that a checkpoint is damaged.
    """

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self.path = path
        self.run = ""
        self.log = Log(path / "log.jsonl", note)
        self._note = note
        self._writer = Writer()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GapfillError(f"cannot make the folder {path}: {error.strerror}.") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other runs out of the folder inside the block, and sweeps it first.

        However the block ends, a checkpoint on its way is there when it has.

        Raises:
            UsageError: another run is in it.
            GapfillError: the last checkpoint could not be written.
        """
        lock = Lock(self.path)
        lock.acquire()
        try:
            checkpoint.sweep(self.path, self.path / "samples", self.path / "model")
            yield
            self.settle()
        except BaseException:
            with suppress(GapfillError):  # what ended the block is told, and not this
                self.settle()
            raise
        finally:
            lock.release()

    def plan(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """What this run decided at its start, or None if it is new.

        Args:
            wanted: the settings of this call; they must be those that the run began with.

        Raises:
            UsageError: the folder holds a run with other settings.
            GapfillError: the plan cannot be read, or was changed.
        """
        plan = read_plan(self.path)
        if plan is None:
            if checkpoints(self.path):
                raise GapfillError(
                    f"{self.path} holds checkpoints without a plan.json, so nobody knows of which "
                    "run. Give another --out, or delete them to begin again."
                )
            return None
        difference = differing(plan.wanted, wanted)
        if difference:
            only_length = not differing(*(_without_length(each) for each in (plan.wanted, wanted)))
            cure = (_longer if only_length else _cure)(self.path)
            raise UsageError(f"{self.path} holds a run with other settings ({difference}). {cure}")
        self.run = plan.run
        return dict(plan.decided)

    def write_plan(self, wanted: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
        """Keep what a new run decided."""
        self.run = _run(wanted, decided)
        plan = {"wanted": wanted, "decided": decided, "run": self.run}
        checkpoint.write_json(self.path / "plan.json", plan)

    def save(self, state: Saved) -> None:
        """Write a checkpoint and drop all but the newest two, while the run goes on.

        Raises:
            GapfillError: the checkpoint before it could not be written.
        """
        self._writer.wait()
        state, copied = snapshot(state)
        self._writer.begin(lambda: self._write(on_host(state, copied)))

    def _write(self, state: Saved) -> None:
        path = self.path / f"checkpoint-{state.step:08d}.pt"
        checkpoint.save(path, vars(state))
        for _, old in checkpoints(self.path)[:-_KEEP]:
            old.unlink(missing_ok=True)

    def check(self) -> None:
        """Say, without waiting, that a checkpoint could not be written.

        Raises:
            GapfillError: it could not.
        """
        self._writer.check()

    def settle(self) -> None:
        """Wait until the checkpoint on its way is there.

        Raises:
            GapfillError: it could not be written.
        """
        self._writer.wait()

    def latest(self, misfit: Callable[[Saved], str]) -> Saved | None:
        """The newest checkpoint that is whole; a damaged one is named and passed over.

        Args:
            misfit: says what of a state does not fit the run's weights, or nothing.

        Raises:
            GapfillError: a checkpoint is of another run, or the last one could not be written.
        """
        self.settle()
        damaged = ""
        for step, path in reversed(checkpoints(self.path)):
            try:
                state = read_state(path, step, misfit)
            except checkpoint.DamagedError as error:
                damaged = str(error)
                path.unlink()
                continue
            if state.run != self.run:
                raise GapfillError(
                    f"{path} is of another run than {self.path / 'plan.json'}. "
                    "Move it away to go on without it."
                )
            if damaged:
                self._note(f"{damaged} Continuing from the one before, step {step:,}.")
            return state
        if damaged:
            self._note(f"{damaged} There is none before it: beginning again.")
        return None

    def latest_path(self) -> Path | None:
        """The newest checkpoint's file."""
        found = checkpoints(self.path)
        return found[-1][1] if found else None


@dataclass(frozen=True)
class Plan:
    """What a run's plan.json says.

    Attributes:
        wanted: the settings that it began with.
        decided: what followed from them.
        run: names it.
    """

    wanted: Mapping[str, Any]
    decided: Mapping[str, Any]
    run: str


def read_plan(folder: Path) -> Plan | None:
    """The plan of the run in a folder, or None where there is none.

    Raises:
        GapfillError: it cannot be read, or was changed.
    """
    path = folder / "plan.json"
    if not path.exists():
        return None
    found = checkpoint.read_json(path)
    try:
        plan = build(Plan, found)
    except UsageError as error:
        raise GapfillError(
            f"{path} is no plan of this version of gapfill. {_cure(folder)}"
        ) from error
    if plan.run != _run(plan.wanted, plan.decided):
        raise GapfillError(f"{path} was changed since it was written. {_cure(folder)}")
    return plan


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a run's folder, by their steps."""
    pairs = [
        (re.fullmatch(r"checkpoint-(\d{8,10})\.pt", path.name), path)
        for path in folder.glob("checkpoint-*.pt")
    ]
    return sorted((int(match[1]), path) for match, path in pairs if match)


def is_begun(folder: Path) -> bool:
    """Whether a run has left its plan or a checkpoint in a folder."""
    return (folder / "plan.json").exists() or any(folder.glob("checkpoint-*"))


def differing(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first setting in which a run that was begun differs from the one wanted, in words."""
    now = json.loads(json.dumps(wanted))
    return "" if before == now else _difference(before, now)


def _run(wanted: Mapping[str, Any], decided: Mapping[str, Any]) -> str:
    """What names a run: the digest of all that makes it this run."""
    return checkpoint.digest_json({"wanted": wanted, "decided": decided})


def _cure(folder: Path) -> str:
    return f"Give another --out, or delete {folder} to begin again."


def _longer(folder: Path) -> str:
    return (
        "To train it longer, begin a run from its weights: "
        f"gapfill fit … --from {folder} --out NEW; to begin again, delete {folder}."
    )


def _without_length(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in settings if name not in LENGTHS}


def _difference(before: Any, now: Any, where: str = "") -> str:
    """The first setting that differs, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*now, *before)):  # settings stand before what follows from them
            if before.get(key) != now.get(key):
                return _difference(before.get(key), now.get(key), f"{where}.{key}".strip("."))
    return f"{where}: {_short(before)} there, {_short(now)} now"


def _short(value: Any) -> Any:
    """A value as it is said; of a digest the beginning is enough."""
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:8] + "…"
    return "nothing" if value is None else value
