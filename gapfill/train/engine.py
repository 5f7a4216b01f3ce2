"""One training step: every update whose turn it is, as PyTorch's calls, compiled, or captured.

Precision, gradients, clipping, averaging over processes and averaged weights live here once.
Nothing else in the library calls `backward` or `step`, but for searches in `fill`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gapfill import ranks
from gapfill.compute import CaptureError, aside, autocast, capture, fast_math, on
from gapfill.errors import GapfillError
from gapfill.optim import optimizers_of
from gapfill.randomness import mix, seed_generators
from gapfill.train import compiled
from gapfill.train.average import Average
from gapfill.train.ledger import Losses
from gapfill.train.schedule import factor
from gapfill.train.settings import Training
from gapfill.types import REPORTED, Batch, Update, span

_WARM = 3  # steps made by calls before a step is captured: libraries choose and allocate on them


class Engine:
    """Makes training steps.

    - `eager`: PyTorch's calls, one after the other.
    - `compile`: the loss of each update compiled by itself; on CUDA the step is captured as well.
    - `graph`: the whole step, averaged weights included, captured in a CUDA graph; one graph for
      each set of updates whose turn it is together.

    Args:
        module: what is trained.
        updates: the updates of one step, made in this order.
        settings: how to train.
        precision: `fp32` or `bf16`.
        mode: one of the three.
        note: takes a line for the user, such as that a step cannot be captured.
        critics: names of the module's modules that only judge, and are not averaged.
    """

    def __init__(
        self,
        module: nn.Module,
        updates: Sequence[Update],
        settings: Training,
        precision: str,
        mode: str,
        note: Callable[[str], None] | None = None,
        critics: Collection[str] = (),
    ) -> None:
        self.module = module
        self.updates = list(updates)
        self.settings = settings
        self.precision = precision
        self.device = next(module.parameters()).device
        self.optimizers = optimizers_of(updates)
        self.average = Average(module, critics) if settings.ema else None
        self.total = 0
        self._rates = [float(group["lr"]) for _, group in self._groups()]
        self._spans: dict[Optimizer, range] = {}
        self._compiled: compiled.Losses | None = None
        self.captures = self.device.type == "cuda" and mode != "eager"
        self._note = note or (lambda line: None)
        self._stream: Any = torch.cuda.Stream(self.device) if self.captures else None
        self._made: dict[tuple[str, ...], _Captured | int] = {}
        self._share = torch.zeros((), device=self.device)
        if self.captures:
            for (_, group), rate in zip(self._groups(), self._rates, strict=True):
                group["capturable"] = True
                group["lr"] = torch.tensor(rate, device=self.device)
        self.take(mode)

    def take(self, mode: str) -> None:
        """Make the next steps in another mode; `graph` is `eager` where no step can be captured."""
        if mode == "graph" and self.device.type == "cuda" and not self.captures:
            mode = "eager"
        self.mode = mode
        self._compiled = compiled.Losses(self.module, self.updates) if mode == "compile" else None
        self.captures = self.captures and mode != "eager"
        self._made.clear()

    @contextmanager
    def graphs(self) -> Iterator[None]:
        """Lets go of what was captured at the block's end, with the memory that belongs to it."""
        try:
            yield
        finally:
            self._made.clear()

    def prepare(self, total: int) -> None:
        """Fit the learning rates and the averaging to the run's length.

        Also after weights or optimiser states were replaced: what was captured knew the old ones.
        """
        self.total = total
        self._spans = {each: self._span(each) for each in self.optimizers}
        self._made.clear()
        if self.average is not None:
            self.average.decay = 1 - 1 / max(1.0, self.settings.ema * total)

    def step(self, step: int, batch: Batch) -> Losses:
        """Make the training step number `step` (from 0); the losses stay on the device.

        Raises:
            GapfillError: it cannot be captured, and a mode was asked for that captures it.
        """
        with on(self.device), fast_math(self.device, self.precision):
            return self._step(step, batch)

    def _step(self, step: int, batch: Batch) -> Losses:
        seed = mix(self.settings.seed, "step", ranks.rank(), step)
        seed_generators(seed, self.device)
        for (optimizer, group), rate in zip(self._groups(), self._rates, strict=True):
            span = self._spans[optimizer]
            place = min(max(step, span.start), span.stop - 1) - span.start
            now = rate * factor(place, len(span), self.settings.warmup, self.settings.schedule)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(now)
            else:
                group["lr"] = now
        active = [update for update in self.updates if update.when(step, self.total)]
        share = 0.0 if self.average is None else self.average.share(step)
        if self.captures:
            self._share.fill_(share)
            try:
                return self._replay(active, batch)
            except CaptureError as error:
                self._give_up(error)
                seed_generators(seed, self.device)
        self.module.train()
        return self._make(active, batch, share)

    def rate(self) -> float:
        """The largest learning rate, as it is now: before and after its phase, one is near zero."""
        return max(float(group["lr"]) for _, group in self._groups())

    def turns(self, first: int, count: int) -> tuple[bool, ...]:
        """Which updates are made on `count` steps from `first` on, one step after the other."""
        steps = range(first, first + count)
        return tuple(update.when(step, self.total) for step in steps for update in self.updates)

    def _groups(self) -> Iterator[tuple[Optimizer, dict[str, Any]]]:
        """The optimisers' parameter groups, asked for anew: loading a state replaces them."""
        return ((each, group) for each in self.optimizers for group in each.param_groups)

    def _span(self, optimizer: Optimizer) -> range:
        """The steps from an optimiser's first turn to its last: its schedule fits its phase."""
        whens = [update.when for update in self.updates if update.optimizer is optimizer]
        spans = [found for found in (span(when, self.total) for when in whens) if found]
        if not spans:
            return range(self.total)
        return range(min(each.start for each in spans), max(each.stop for each in spans))

    def _make(self, active: Sequence[Update], batch: Batch, share: float | Tensor) -> Losses:
        names: list[str] = []
        values: list[Tensor] = []
        for update in active:
            for name, value in self._descend(update, batch).items():
                names.append(f"{update.name}/{name}")
                values.append(value.float())
        if self.average is not None:
            self.average.follow(share)
        return Losses(tuple(names), torch.stack(values) if values else self._share.new_zeros(0))

    def _descend(self, update: Update, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step down one loss; returns the terms, detached."""
        weights = update.weights
        with autocast(self.device, self.precision):
            terms = self._terms(update, batch)
        loss = sum(term for name, term in terms.items() if not name.startswith(REPORTED))
        if not isinstance(loss, Tensor):
            raise GapfillError(f"the update '{update.name}' gave no loss term.")
        update.optimizer.zero_grad(set_to_none=True)
        with ranks.averaging(weights):
            loss.backward(inputs=weights)
        if self.settings.clip:
            nn.utils.clip_grad_norm_(weights, self.settings.clip)
        update.optimizer.step()
        return {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()}

    def _terms(self, update: Update, batch: Batch) -> dict[str, Tensor]:
        if self._compiled is None:
            return update.loss(batch)
        return self._compiled.terms(update, batch)

    def _replay(self, active: Sequence[Update], batch: Batch) -> Losses:
        """The step as a graph; its first times are calls, after which it is captured."""
        key = tuple(update.name for update in active)
        made = self._made.get(key, 0)
        if isinstance(made, _Captured):
            return made(batch)
        self.module.train()
        if made < _WARM:
            self._made[key] = made + 1
            with aside(self._stream):
                return self._make(active, batch, self._share)
        captured = self._made[key] = _Captured(
            batch, lambda own: self._make(active, own, self._share), self._stream
        )
        return captured(batch)

    def _give_up(self, error: CaptureError) -> None:
        """Go on by calls where the mode was left to us."""
        what = f"the training step cannot be captured in a CUDA graph ({error})"
        if self.settings.mode != "auto":
            raise GapfillError(
                f"--mode {self.mode} asked, but {what}. Use --mode eager."
            ) from error
        self.take("graph" if self.mode == "compile" else "eager")
        self._note(f"{what}; going on with --mode {self.mode}, which is slower.")


class _Captured:
    """A step with inputs and results at fixed places, which is made again without being called."""

    def __init__(self, batch: Batch, make: Callable[[Batch], Losses], stream: Any) -> None:
        self.image, self.mask = batch.image.clone(), batch.mask.clone()
        self.losses, self.replay = capture(lambda: make(Batch(self.image, self.mask)), stream)

    def __call__(self, batch: Batch) -> Losses:
        self.image.copy_(batch.image)
        self.mask.copy_(batch.mask)
        self.replay()
        return Losses(self.losses.names, self.losses.values.clone())
