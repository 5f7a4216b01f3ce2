"""A run's folder: its plan, its log, its checkpoints. Everything in it survives a kill."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gapfill import checkpoint
from gapfill.errors import GapfillError, UsageError

_KEEP = 2


class RunFolder:
    """Where one training run keeps what it needs to go on.

    Args:
        path: the folder, made where it is missing.
        note: takes a line for the user, such as that a checkpoint is damaged.
    """

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self.path = path
        self._note = note
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GapfillError(f"cannot make the folder {path}: {error.strerror}.") from error
        checkpoint.sweep(path)

    @property
    def log_path(self) -> Path:
        """The log, JSON lines."""
        return self.path / "log.jsonl"

    @property
    def best_path(self) -> Path:
        """The averaged weights that did best on the validation pictures."""
        return self.path / "best.pt"

    def plan(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """What this run decided at its start, or None if it is new.

        Args:
            wanted: the settings of this call; they must be those that the run began with.

        Raises:
            UsageError: the folder holds a run with other settings.
            GapfillError: the plan cannot be read.
        """
        path = self.path / "plan.json"
        if not path.is_file():
            return None
        try:
            plan = json.loads(path.read_text("utf-8"))
            before, decided = plan["wanted"], plan["decided"]
        except (ValueError, KeyError, TypeError) as error:
            raise GapfillError(f"{path} is damaged ({error}). Give another --out.") from error
        now = json.loads(json.dumps(wanted))
        if before != now:
            raise UsageError(
                f"{self.path} holds a run with other settings ({_difference(before, now)}). "
                "Give another --out, or delete it to begin again."
            )
        return decided

    def write_plan(self, wanted: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
        """Keep what a new run decided."""
        checkpoint.write_json(self.path / "plan.json", {"wanted": wanted, "decided": decided})

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `step` and drop all but the newest two."""
        path = self.path / f"checkpoint-{step:08d}.pt"
        checkpoint.save(path, state)
        for _, old in self._checkpoints()[:-_KEEP]:
            old.unlink()
        return path

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole; a damaged one is named and passed over."""
        damaged = ""
        for step, path in reversed(self._checkpoints()):
            try:
                state = checkpoint.load(path)
            except checkpoint.DamagedError as error:
                damaged = str(error)
                path.unlink()
                continue
            if damaged:
                self._note(f"{damaged} Continuing from the one before, step {step}.")
            return state
        if damaged:
            self._note(f"{damaged} There is none before it: beginning again.")
        return None

    def latest_path(self) -> Path | None:
        """The newest checkpoint's file."""
        found = self._checkpoints()
        return found[-1][1] if found else None

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Cut the log after `step`, where a resumed run takes it up, and return what is left."""
        lines = []
        if self.log_path.is_file():
            for text in self.log_path.read_text("utf-8", "replace").splitlines():
                try:
                    line = json.loads(text)
                except ValueError:  # a line cut short by a kill
                    break
                if line["step"] > step:
                    break
                lines.append(line)
        checkpoint.write_text(self.log_path, "".join(json.dumps(line) + "\n" for line in lines))
        return lines

    def _checkpoints(self) -> list[tuple[int, Path]]:
        pairs = [
            (re.fullmatch(r"checkpoint-(\d{8})\.pt", path.name), path)
            for path in self.path.glob("checkpoint-*.pt")
        ]
        return sorted((int(match[1]), path) for match, path in pairs if match)


def _difference(before: Any, now: Any, where: str = "") -> str:
    """The first setting that differs, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                return _difference(before.get(key), now.get(key), f"{where}.{key}".strip("."))
    return f"{where}: {before} there, {now} now"
