"""What a run decides when it begins, and keeps: its steps, its looks, its precision and mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from gapfill import ranks
from gapfill.errors import GapfillError, UsageError
from gapfill.train.budget import rehearse, time_steps
from gapfill.train.engine import Engine
from gapfill.train.folder import RunFolder, differing
from gapfill.train.mode import FEW, LONG, compile_losses
from gapfill.train.settings import DEFAULT_EPOCHS, MOST_STEPS, Training, seconds

_LITTLE = 50  # steps that teach a model next to nothing


@dataclass(frozen=True)
class Decided:
    """What a run decided when it began.

    Attributes:
        steps: how many there are.
        looks: how often it is watched at most.
        compiled: whether its losses were compiled.
    """

    steps: int
    looks: int
    compiled: bool


class Decisions:
    """Takes a run's decisions; a run that goes on has those of its plan.

    Args:
        settings: what the user said.
        engine: makes the steps; its precision and mode are set here.
        folder: where a run keeps its plan, if it keeps anything.
        steps_per_epoch: batches in a pass over the data, where `settings` counts epochs.
        step: makes a step, with the batch of another number.
        look: scores the weights on the validation pictures, if anybody watches.
        undone: undoes the steps that are made inside its block.
        say: takes lines for the user.
        twice: whether the same batch can be had again; else none is spent on finding out a mode.
    """

    def __init__(
        self,
        settings: Training,
        engine: Engine,
        folder: RunFolder | None,
        steps_per_epoch: int,
        *,
        step: Callable[[int, int], None],
        look: Callable[[], object] | None,
        undone: Callable[[], AbstractContextManager[None]],
        say: Callable[[str], None],
        twice: bool,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.folder = folder
        self._steps_per_epoch = steps_per_epoch
        self._step = step
        self._look = look
        self._undone = undone
        self._say = say
        self._twice = twice

    def made(self, identity: Mapping[str, Any]) -> Decided:
        """What the run decided, when it began if it goes on.

        Args:
            identity: what makes the run what it is, beside the settings.

        Raises:
            GapfillError: the folder holds another run, or a plan that was changed.
        """
        wanted = self.settings.identity() | {"processes": ranks.world()} | dict(identity)
        known = self.folder.plan(wanted) if self.folder is not None else None
        if ranks.anyone(known is not None):
            self._check(known)
        else:
            if self._may_compile():
                self._compile_a_long_run()
            steps, looks = self.count()
            known = {
                "steps": steps,
                "watch": looks,
                "precision": self.engine.precision,
                "mode": self.engine.mode,
            }
            if self.folder is not None:
                self.folder.write_plan(wanted, known)
        known = ranks.agree(known)
        self.engine.precision = known["precision"]
        return Decided(known["steps"], known["watch"], known.get("mode") == "compile")

    def compile_again(self) -> None:
        """Compile the losses of a run that began so, under a mode that was left to us."""
        if self._may_compile():
            with self._undone():
                self._say(compile_losses(self.engine, self._time, None))

    def count(self) -> tuple[int, int]:
        """How many steps and looks the settings lead to; a budget's are found by making some."""
        settings = self.settings
        if settings.budget is not None:
            return self._rehearse(seconds(settings.budget))
        if settings.steps is not None:
            return settings.steps, settings.watch
        if not self._steps_per_epoch:
            raise GapfillError("this loader has no length: say how long with steps= or budget=.")
        epochs = settings.epochs or DEFAULT_EPOCHS
        steps = max(1, round(epochs * self._steps_per_epoch))
        if steps > MOST_STEPS:
            raise UsageError(f"{epochs:g} epochs are {steps:,} steps; at most {MOST_STEPS:,}.")
        return steps, settings.watch

    def _check(self, known: Mapping[str, Any] | None) -> None:
        """Make sure that what a run decided is what its settings lead to."""
        if known is None or self.folder is None:
            return
        fixed = {} if self.settings.precision == "auto" else {"precision": self.settings.precision}
        if self.settings.budget is None:
            steps, looks = self.count()
            fixed |= {"steps": steps, "watch": looks}
        wrong = differing({name: known.get(name) for name in fixed}, fixed)
        if wrong or set(known) - {"mode"} != {"steps", "watch", "precision"}:
            raise GapfillError(
                f"{self.folder.path / 'plan.json'} decides what its settings do not lead to "
                f"({wrong}). Give another --out, or delete {self.folder.path} to begin again."
            )

    def _may_compile(self) -> bool:
        """Whether the mode was left to us, and steps are captured that might be compiled too."""
        return self.settings.mode == "auto" and self.engine.mode == "graph" and self._twice

    def _compile_a_long_run(self) -> None:
        """Compile the losses of a run that is long enough to earn it, if its steps gain by it."""
        budget = self.settings.budget
        given = None if budget is None else seconds(budget)
        steps = self.count()[0] if given is None else FEW
        if steps < FEW or (given is not None and given < LONG):
            return
        with self._undone():
            plain = self._time()
            length = steps * plain if given is None else given
            if length >= LONG and self.engine.mode == "graph":  # its steps could be captured
                self._say(compile_losses(self.engine, self._time, plain))

    def _time(self) -> float:
        """Seconds of a step, found by making some."""
        return time_steps(self.engine, self._step)

    def _rehearse(self, budget: float) -> tuple[int, int]:
        """How many steps and looks fit in `budget` seconds, by timing some and undoing them."""
        looks = self.settings.watch
        with self._undone():
            steps, looks = rehearse(budget, self.engine, self._step, self._look, looks)
        if steps < _LITTLE:
            self._say(
                f"a budget of {self.settings.budget} is {steps:,} steps on this machine as "
                "it is now, too few to learn much: give more, or let other work end first"
            )
        return steps, looks
