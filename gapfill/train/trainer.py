"""The loop: terms, sum, backward into this update's weights, average over processes, step.

Precision, clipping, the learning rate, the NaN guard, averaged weights, checkpoints and the log
live here once. Nothing else in the library calls `backward` or `step`, but for searches in `fill`.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gapfill import checkpoint, ranks
from gapfill.errors import GapfillError
from gapfill.randomness import mix, seeded
from gapfill.train.folder import RunFolder
from gapfill.train.ledger import Ledger
from gapfill.train.schedule import schedulers
from gapfill.train.settings import DEFAULT_EPOCHS, Training, resolve_precision, seconds
from gapfill.train.signals import InterruptedRun, Signals
from gapfill.types import REPORTED, Batch, Update

_GROUP = 5  # steps that are timed together, so that an update of every fifth step has its share


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
        watch: scores averaged weights, higher is better under the key "score"; the best are kept.
        title: stands before the progress bar.
        quiet: no progress bar.
        note: takes lines for the user.
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
        watch: Callable[[nn.Module, int], dict[str, float]] | None = None,
        title: str = "",
        quiet: bool = False,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.module = module
        self.updates = list(updates)
        self.batches = batches
        self.settings = settings
        self.device = next(module.parameters()).device
        self.precision = resolve_precision(settings.precision, self.device)
        self.title = title
        self.quiet = quiet or ranks.rank() > 0
        self.note = note or partial(tqdm.write, file=sys.stderr)
        self.optimizers = list({id(u.optimizer): u.optimizer for u in self.updates}.values())
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.batch_size = 0
        self._clock = 0.0
        self._steps_per_epoch = steps_per_epoch
        self._identity = dict(identity or {})
        self._watch = watch if settings.watch else None
        self._done = 0
        self._total = 0
        self._best = -math.inf
        self._best_state: dict[str, Tensor] | None = None
        self._ledger = Ledger()
        self._folder = RunFolder(folder, self.note) if folder and ranks.rank() == 0 else None
        ranks.broadcast(module)
        self._initial = _clone(dict(module.state_dict()))
        self._ema = self._make_ema()

    def run(self) -> int:
        """Train to the end, or from where the folder's last checkpoint is, and return the steps.

        Afterwards the module holds the averaged weights that did best on the validation pictures,
        or the last averaged weights where nobody watches.

        Raises:
            DivergedError: a loss became NaN or infinite; the last finite checkpoint is kept.
            InterruptedRun: SIGINT or SIGTERM came; the step was finished and saved.
        """
        with seeded(mix(self.settings.seed, "run"), self.device), Signals() as signals:
            total, looks = self._decide()
            rates = self._prepare(total)
            self._resume()
            marks = self._watch_steps(total, looks)
            bar = tqdm(
                total=total,
                initial=self._done,
                desc=self.title,
                unit="step",
                disable=True if self.quiet else None,
                dynamic_ncols=True,
            )
            saved = self._clock = time.perf_counter()
            with bar:
                for step in range(self._done, total):
                    self._step(step, self.batches(step), rates)
                    bar.update()
                    end = step + 1
                    stopping = ranks.anyone(signals.caught is not None)
                    pause = end % self.settings.log_every == 0 or end in marks or end == total
                    if pause or stopping:
                        bar.set_postfix(_losses(self._flush()))
                    if end in marks:
                        self._score(end)
                    due = pause and time.perf_counter() - saved >= self.settings.save_seconds
                    if due or stopping or end == total:
                        self._save()
                        saved = time.perf_counter()
                    if stopping and end < total:
                        self._stop(signals.caught or 2, end)
                    if pause:
                        self._clock = time.perf_counter()
            self._finish()
        return total

    def stepper(self) -> Iterator[int]:
        """Make one training step each time it is asked, without log or checkpoint, for timing."""
        total, _ = self._count()
        rates = self._prepare(total)
        for step in range(total):
            self._step(step, self.batches(step), rates)
            self._ledger.clear()
            yield step

    def _step(self, step: int, batch: Batch, rates: Sequence[Any]) -> None:
        """One training step: every update whose turn it is."""
        torch.manual_seed(mix(self.settings.seed, "step", ranks.rank(), step))
        self.module.train()
        for rate in rates:
            rate.step_update(step + 1)
        for update in self.updates:
            if update.when(step, self._total):
                self._ledger.add(step, update.name, self._descend(update, batch))
        if self._ema is not None:
            self._ema.update(self.module, step + 1)
        self._done = step + 1
        self.batch_size = len(batch.image) * ranks.world()

    def _descend(self, update: Update, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step down one loss; returns the terms, detached."""
        weights = update.weights
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            terms = update.loss(batch)
        loss = sum(term for name, term in terms.items() if not name.startswith(REPORTED))
        if not isinstance(loss, Tensor):
            raise GapfillError(f"the update '{update.name}' gave no loss term.")
        update.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=weights)
        ranks.average(weight.grad for weight in weights)
        if self.settings.clip:
            nn.utils.clip_grad_norm_(weights, self.settings.clip)
        update.optimizer.step()
        return {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()}

    def _decide(self) -> tuple[int, int]:
        """How many steps this run has and how often it is watched, the same when it is resumed."""
        names = ("steps", "epochs", "budget", "seed", "precision", "schedule", "warmup", "clip")
        wanted = {name: getattr(self.settings, name) for name in (*names, "ema", "watch")}
        wanted |= self._identity | {"processes": ranks.world()}
        known = self._folder.plan(wanted) if self._folder is not None else None
        if not ranks.anyone(known is not None):
            steps, looks = self._count()
            known = {"steps": steps, "watch": looks, "precision": self.precision}
            if self._folder is not None:
                self._folder.write_plan(wanted, known)
        known = ranks.agree(known)
        self.precision = known["precision"]
        return known["steps"], known["watch"]

    def _count(self) -> tuple[int, int]:
        settings = self.settings
        if settings.budget is not None:
            return self._rehearse(seconds(settings.budget))
        if settings.steps is not None:
            return settings.steps, settings.watch
        if not self._steps_per_epoch:
            raise GapfillError("this loader has no length: say how long with steps= or budget=.")
        epochs = settings.epochs or DEFAULT_EPOCHS
        return max(1, round(epochs * self._steps_per_epoch)), settings.watch

    def _rehearse(self, budget: float) -> tuple[int, int]:
        """How many steps and looks fit in `budget` seconds, by timing some and undoing them."""
        before = _clone(self._state())
        rates = self._prepare(1_000_000)
        batch = self.batches(0)
        groups = []
        for first in range(0, 4 * _GROUP, _GROUP):
            start = time.perf_counter()
            for step in range(first, first + _GROUP):
                self._step(step, Batch(batch.image, batch.mask), rates)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            groups.append((time.perf_counter() - start) / _GROUP)
        looking, looks = 0.0, 0
        if self._watch is not None:
            start = time.perf_counter()
            self._watch(self._averaged, 0)
            looking = time.perf_counter() - start
            # A look must not cost more than it tells: a tenth of a short budget, and at least two.
            looks = max(2, min(self.settings.watch, int(0.1 * budget / looking)))
        self._ledger.clear()
        self._restore(before)
        # The first group warms up; of the others the middle one, so that a hiccup does not count.
        typical = statistics.median(groups[1:])
        return max(1, int(max(budget - looks * looking, budget / 2) / typical)), looks

    def _prepare(self, total: int) -> list[Any]:
        """Fit averaging and learning rates to the run's length."""
        self._total = total
        if self._ema is not None:
            self._ema.decay = 1 - 1 / max(1.0, self.settings.ema * total)
        return schedulers(self.optimizers, self.settings, total)

    def _watch_steps(self, total: int, looks: int) -> set[int]:
        if self._watch is None:
            return set()
        count = min(looks, total)
        return {round(total * (number + 1) / count) for number in range(count)}

    def _flush(self) -> dict[str, Any]:
        """Bring the losses since the last flush to the host, check them and log their means."""
        line, wrong = self._ledger.close()
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        if ranks.anyone(wrong is not None):
            self._diverge(*(wrong or (self._done, "in another process", math.nan)))
        if line:
            self._record(line | {"lr": self.optimizers[0].param_groups[0]["lr"]})
        return line

    def _score(self, step: int) -> None:
        """Score the averaged weights on the validation pictures; keep them if they are the best."""
        assert self._watch is not None
        if ranks.rank() == 0:
            scores = self._watch(self._averaged, step)
            self._record({"step": step} | {f"val/{key}": scores[key] for key in scores})
            if scores["score"] > self._best:
                self._best = scores["score"]
                best = self._best_state = _clone(dict(self._averaged.state_dict()))
                if self._folder is not None:
                    checkpoint.save(self._folder.best_path, best)
        self.module.train()

    def _record(self, line: dict[str, Any]) -> None:
        self.history.append(line)
        if self._folder is not None:
            self._folder.log(line)

    def _diverge(self, step: int, name: str, loss: float) -> None:
        self._finish(diverged=True)
        kept = self._folder.latest_path() if self._folder else None
        where = f" Last finite checkpoint: {kept}." if kept else ""
        what = "NaN" if math.isnan(loss) else "infinite"
        raise DivergedError(f"loss is {what} at step {step} ({name}).{where}")

    def _stop(self, number: int, step: int) -> None:
        saved = ""
        if self._folder is not None:
            saved = f" and saved in {self._folder.path}. To resume, run the same command again"
        raise InterruptedRun(f"interrupted at step {step}{saved}.", number)

    @property
    def _averaged(self) -> nn.Module:
        return self.module if self._ema is None else self._ema.module

    def _make_ema(self) -> Any:
        """Averaged weights; BatchNorm's buffers are copied, since their average means nothing."""
        if not self.settings.ema:
            return None
        from timm.utils.model_ema import ModelEmaV3

        # The decay waits for the number of steps.
        return ModelEmaV3(self.module, use_warmup=True, warmup_power=0.8, exclude_buffers=True)

    def _state(self) -> dict[str, Any]:
        return {
            "step": self._done,
            "module": self.module.state_dict(),
            "ema": None if self._ema is None else self._ema.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "best": self._best,
            "seconds": self.seconds,
            "batch_size": self.batch_size,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._done = state["step"]
        self.module.load_state_dict(state["module"])
        if self._ema is not None:
            self._ema.module.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._best = state["best"]
        self.seconds = state["seconds"]
        self.batch_size = state["batch_size"]

    def _save(self) -> None:
        if self._folder is not None:
            self._folder.save(self._done, self._state())

    def _resume(self) -> None:
        state = self._folder.latest() if self._folder is not None else None
        if ranks.world() > 1:
            box = [state]
            torch.distributed.broadcast_object_list(box, 0)
            state = box[0]
        if state is not None:
            self._restore(state)
        if self._folder is not None:
            self.history = self._folder.rewind(self._done)

    def _finish(self, diverged: bool = False) -> None:
        """Leave the best weights, or the averaged ones, in the module.

        After a divergence these are no numbers any more: then it is the last checkpoint's, or,
        where there is none, the weights that the run began with.
        """
        result: Mapping[str, Any] | None = None
        if ranks.rank() == 0:
            if self._best_state is not None:
                result = self._best_state
            elif self._folder is not None and self._folder.best_path.is_file():
                result = checkpoint.load(self._folder.best_path)
            elif diverged:
                last = self._folder.latest() if self._folder is not None else None
                result = (last["ema"] or last["module"]) if last else self._initial
        self.module.load_state_dict(result or self._averaged.state_dict())
        if not diverged:
            ranks.broadcast(self.module)
        self.module.eval()


def _clone(value: Any) -> Any:
    """A deep copy of nested tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _clone(item) for key, item in value.items()}
    return [_clone(item) for item in value] if isinstance(value, list) else value


def _losses(line: Mapping[str, Any]) -> dict[str, str]:
    """The total loss of each update, for the progress bar."""
    found = {key.removesuffix("/loss"): line[key] for key in line if key.endswith("/loss")}
    return {key: f"{value:.3f}" for key, value in found.items()}
