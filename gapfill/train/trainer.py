"""The loop: steps, the log and its guard, validation, checkpoints, resuming, budgets."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor, nn
from tqdm import tqdm

from gapfill import ranks
from gapfill.compute import resolve_precision
from gapfill.errors import GapfillError
from gapfill.randomness import kept, mix, seed_generators, seeded
from gapfill.train.budget import time_steps
from gapfill.train.decisions import Decisions
from gapfill.train.engine import Engine
from gapfill.train.folder import RunFolder
from gapfill.train.ledger import Ledger
from gapfill.train.mode import resolve_mode
from gapfill.train.progress import Progress
from gapfill.train.settings import Training, seconds
from gapfill.train.signals import InterruptedRun, Signals
from gapfill.train.state import Saved, clone, misfit
from gapfill.types import Batch, Update

_GRACE = 0.5  # seconds for a signal to arrive after a loader's workers had it


class DivergedError(GapfillError):
    """A loss is no longer a finite number."""


class Trainer:
    """Trains a module by carrying out its updates.

    Args:
        module: what is trained; it stays the caller's, on the trainer's device.
        updates: the updates of one step, made in this order.
        batches: gives the batch of a step; it must depend on the step alone.
        settings: how to train.
        steps_per_epoch: batches in a pass over the data, where `settings` counts epochs.
        folder: where the run keeps its log and checkpoints; without one nothing is written.
        identity: what else makes this run what it is, kept with its settings.
        skip: reads the batch of an earlier step, where `batches` cannot give a later one without;
            a resumed run calls it for each step that was made before.
        watch: scores averaged weights, higher is better under the key "score"; the best are kept.
        on_log: takes each line of the log; on rank 0 alone, as `on_look`. What they raise ends the
            run, which goes on from its last checkpoint when it is made again.
        on_look: takes the step, the scores and whether they are the best, after each look.
        title: stands before the progress bar.
        quiet: no progress bar.
        note: takes lines for the user.
        critics: names of the module's modules that only judge: the last ones are the result, and
            not their average.
        on_begin: takes the folder, once it is this run's, new or resumed; on rank 0 alone.
    """

    def __init__(
        self,
        module: nn.Module,
        updates: Sequence[Update],
        batches: Callable[[int], Batch],
        settings: Training,
        *,
        steps_per_epoch: int = 0,
        folder: Path | None = None,
        identity: Mapping[str, Any] | None = None,
        skip: Callable[[int], object] | None = None,
        watch: Callable[[nn.Module, int], dict[str, float]] | None = None,
        on_log: Callable[[dict[str, Any]], object] | None = None,
        on_look: Callable[[int, dict[str, float], bool], object] | None = None,
        title: str = "",
        quiet: bool = False,
        note: Callable[[str], None] | None = None,
        critics: Collection[str] = (),
        on_begin: Callable[[Path], object] | None = None,
    ) -> None:
        self.module = module
        self.batches = batches
        self.settings = settings
        self.device = next(module.parameters()).device
        self.title = title
        self.quiet = quiet or ranks.rank() > 0
        self.note = note or partial(tqdm.write, file=sys.stderr)
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.batch_size = 0
        self.begun = False
        self._clock = 0.0
        self._steps_per_epoch = steps_per_epoch
        self._identity = dict(identity or {})
        self._skip = skip
        self._watch = watch if settings.watch else None
        self._on_log = on_log if ranks.rank() == 0 else None
        self._on_look = on_look
        self._on_begin = on_begin
        self._done = 0
        self._best = -math.inf
        self._best_weights: Mapping[str, Tensor] | None = None
        self._ledger = Ledger()
        self._folder = RunFolder(folder, self.note) if folder and ranks.rank() == 0 else None
        ranks.broadcast(module)
        self._initial = clone(dict(module.state_dict()))
        precision = resolve_precision(settings.precision, self.device)
        mode = resolve_mode(settings.mode, self.device, updates)
        self.engine = Engine(module, updates, settings, precision, mode, self.note, critics)

    def run(self, signals: Signals | None = None) -> int:
        """Train to the end, or from where the folder's last checkpoint is, and return the steps.

        Afterwards the module holds the averaged weights that did best on the validation pictures,
        or the last averaged weights where nobody watches.

        Args:
            signals: what notes signals, if that has begun already, as it must before workers do.

        Raises:
            DivergedError: a loss became NaN or infinite; the last finite checkpoint is kept.
            InterruptedRun: SIGINT or SIGTERM came; the step was finished and saved.
        """
        if signals is None:
            with Signals() as signals:
                return self.run(signals)
        held = nullcontext() if self._folder is None else self._folder.held()
        with held, kept(self.device), self.engine.graphs():
            with signals.hasty():
                decisions = self._decisions()
                decided = decisions.made(self._identity)
            total = decided.steps
            self._resume()
            if decided.compiled and self._done < total:
                with signals.hasty():
                    decisions.compile_again()
            if self._folder is not None and self._on_begin is not None:
                self._on_begin(self._folder.path)
            self.begun = True
            if self._skip is not None and 0 < self._done < total:
                self._catch_up(self._skip, signals)
            self.engine.prepare(total)
            marks = self._watch_steps(total, decided.looks)
            progress = Progress(
                self.title,
                total,
                self._done,
                quiet=self.quiet,
                budget=None if self.settings.budget is None else seconds(self.settings.budget),
                note=self.note,
            )
            saved = self._clock = time.perf_counter()
            vote = ranks.Vote()
            with progress:
                for step in range(self._done, total):
                    batch = self._read(step, signals)
                    if batch is None:
                        self._flush()
                        self._save()
                        self._stop(signals.caught or 2, step)
                    self._make(step, batch)
                    progress.step()
                    end = step + 1
                    stopping = vote(signals.caught is not None)
                    pause = end % self.settings.log_every == 0 or end in marks or end == total
                    if pause or stopping:
                        progress.losses(self._flush())
                    if end in marks:
                        self._score(end, progress)
                    due = pause and time.perf_counter() - saved >= self.settings.save_seconds
                    if due or stopping or end == total:
                        self._save()
                        saved = time.perf_counter()
                    elif pause and self._folder is not None:
                        self._folder.check()
                    if stopping and end < total:
                        self._stop(signals.caught or 2, end)
                    if pause:
                        self._clock = time.perf_counter()
            vote.close()
            self._finish()
            progress.end()
            if signals.caught is not None:  # in the last step, or where there was none to make
                self._stop(signals.caught, total)
        return total

    def stepper(self) -> Iterator[int]:
        """Make one training step each time it is asked, without log or checkpoint, for timing."""
        with kept(self.device), self.engine.graphs():
            total, _ = self._decisions().count()
            self.engine.prepare(total)
            for step in range(total):
                self._step(step)
                self._ledger.clear()
                yield step

    def pace(self) -> float:
        """Seconds of a step, roughly, by making a few; for one who says how long a run will be."""
        with kept(self.device), self.engine.graphs():
            return time_steps(self.engine, self._step, rough=True)

    def _step(self, step: int, data: int | None = None) -> None:
        """Make a step, with the batch of another one if need be."""
        number = step if data is None else data
        with self._seeded(number):
            batch = self.batches(number)
        self._make(step, batch)

    @contextmanager
    def _seeded(self, step: int) -> Iterator[None]:
        """The random numbers that a batch is read with.

        Seeded for itself, not with the run: another thread's run has its turn between two steps.
        A GPU's numbers are kept around the whole run.
        """
        seed = mix(self.settings.seed, "batch", step)
        with seeded(seed):
            seed_generators(seed, self.device)
            yield

    def _read(self, step: int, signals: Signals) -> Batch | None:
        """The batch of a step, or None where a signal ended those who read it."""
        try:
            with signals.reading(), self._seeded(step):
                return self.batches(step)
        except Exception:
            if signals.caught is None:
                time.sleep(_GRACE)  # the workers may have got it first
            if signals.caught is None or ranks.world() > 1:
                raise
            return None

    def _catch_up(self, skip: Callable[[int], object], signals: Signals) -> None:
        """Read the batches of the steps that were made before, each as it was read then."""
        done = self._done
        self._say(f"reading {done:,} batches again, to come to where the run was")
        quiet = True if self.quiet else None
        with signals.hasty(), signals.reading():
            for step in tqdm(range(done), "skipping", unit="batch", disable=quiet):
                with self._seeded(step):
                    skip(step)

    def _make(self, step: int, batch: Batch) -> None:
        with self._seeded(step):  # which leaves torch's random numbers as they were
            self._ledger.add(step, self.engine.step(step, batch))
        self._done = step + 1
        self.batch_size = len(batch.image) * ranks.world()

    def _decisions(self) -> Decisions:
        """Made when it is asked for: kept, it would keep this trainer and its graphs alive."""
        watch = self._watch
        return Decisions(
            self.settings,
            self.engine,
            self._folder,
            self._steps_per_epoch,
            step=self._step,
            look=None if watch is None else lambda: watch(self._averaged, 0),
            undone=self._undone,
            say=self._say,
            twice=self._skip is None,
        )

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Undoes the steps that are made inside the block."""
        before = clone(self._state())
        try:
            yield
        finally:
            self._ledger.clear()
            self._restore(before)

    def _say(self, line: str) -> None:
        if not self.quiet:
            self.note(f"{self.title}: {line}" if self.title else line)

    def _watch_steps(self, total: int, looks: int) -> set[int]:
        if self._watch is None:
            return set()
        count = min(looks, total)
        return {round(total * (number + 1) / count) for number in range(count)}

    def _flush(self) -> dict[str, Any]:
        """Bring the losses since the last flush to the host, check them and log their means."""
        line, wrong = self._ledger.close()
        if wrong is None and not self._is_finite():  # its losses are those before the last update
            wrong = self._done, "its weights", math.nan
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        if ranks.anyone(wrong is not None):
            self._diverge(*(wrong or (self._done, "in another process", math.nan)))
        if line:
            self._record(line | {"lr": self.engine.rate()})
            if self._on_log is not None:
                self._on_log(dict(self.history[-1]))
        return line

    def _score(self, step: int, progress: Progress) -> None:
        """Score the averaged weights on the validation pictures; keep them if they are the best."""
        assert self._watch is not None
        if ranks.rank() == 0:
            scores = self._watch(self._averaged, step)
            self._record({"step": step} | {f"val/{key}": scores[key] for key in scores})
            better = scores["score"] > self._best
            progress.look(step, scores, better)
            if better:
                self._best = scores["score"]
                self._best_weights = clone(dict(self._averaged.state_dict()))
            if self._on_look is not None:
                self._on_look(step, scores, better)
        self.module.train()

    def _record(self, line: dict[str, Any]) -> None:
        self.history.append(line)
        if self._folder is not None:
            self._folder.log.add(line)

    def _is_finite(self) -> bool:
        """Whether all weights are numbers."""
        largest = nn.utils.get_total_norm(list(self.module.parameters()), math.inf)
        return bool(largest.isfinite())

    def _diverge(self, step: int, name: str, loss: float) -> None:
        if self._folder is not None:
            self._folder.settle()
        self._finish(diverged=True)
        kept = self._folder.latest_path() if self._folder else None
        where = f" Last finite checkpoint: {kept}." if kept else ""
        what = "NaN" if math.isnan(loss) else "infinite"
        raise DivergedError(f"loss is {what} at step {step} ({name}).{where}")

    def _stop(self, number: int, step: int) -> NoReturn:
        saved = ""
        if self._folder is not None:
            self._folder.settle()
            saved = f" and saved in {self._folder.path}. To resume, run the same command again"
        raise InterruptedRun(f"interrupted at step {step}{saved}.", number)

    @property
    def _averaged(self) -> nn.Module:
        average = self.engine.average
        return self.module if average is None else average.module

    def _state(self) -> Saved:
        return Saved(
            run=self._folder.run if self._folder is not None else "",
            step=self._done,
            module=self.module.state_dict(),
            ema=self._averaged.state_dict() if self.engine.average is not None else None,
            optimizers=tuple(each.state_dict()["state"] for each in self.engine.optimizers),
            best=self._best,
            best_weights=self._best_weights,
            seconds=self.seconds,
            batch_size=self.batch_size,
            log=self._folder.log.digest if self._folder is not None else "",
        )

    def _restore(self, state: Saved) -> None:
        self._done = state.step
        if self.engine.average is not None and state.ema is not None:
            self._averaged.load_state_dict(state.ema)
        # After the average, which shares what is not averaged and may hold another one of it.
        # Not by a model's own way, which forgets what is known of the weights: they are its own.
        nn.Module.load_state_dict(self.module, state.module)
        for optimizer, saved in zip(self.engine.optimizers, state.optimizers, strict=True):
            # The groups hold what the settings and the step say; only the state is history.
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": saved, "param_groups": groups})
        self._best = state.best
        self._best_weights = state.best_weights
        self.seconds = state.seconds
        self.batch_size = state.batch_size

    def _save(self) -> None:
        if self._folder is not None:
            self._folder.save(self._state())
            if self._skip is not None:  # a loader may fork its workers at any step
                self._folder.settle()

    def _latest(self) -> Saved | None:
        """The folder's newest checkpoint that fits."""
        averaged = self.engine.average is not None
        fits = partial(
            misfit, module=self.module, averaged=averaged, optimizers=self.engine.optimizers
        )
        return self._folder.latest(fits) if self._folder is not None else None

    def _resume(self) -> None:
        state = ranks.agree(self._latest())
        if state is not None:
            self._restore(state)
        if self._folder is not None:
            self.history = self._folder.log.rewind(self._done, state.log if state else None)

    def _finish(self, diverged: bool = False) -> None:
        """Leave the best weights, or the averaged ones, in the module.

        After a divergence these are no numbers any more: then it is the last checkpoint's, or,
        where there is none, the weights that the run began with.
        """
        result: Mapping[str, Any] | None = None
        if ranks.rank() == 0:
            if self._best_weights is not None:
                result = self._best_weights
            elif diverged:
                last = self._latest()
                result = (last.ema or last.module) if last else self._initial
        self.module.load_state_dict(result or self._averaged.state_dict())
        if not diverged:
            ranks.broadcast(self.module)
        self.module.eval()
