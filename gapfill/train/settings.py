"""How to train: every setting of the trainer and its default, in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gapfill.config import Range, build, plain
from gapfill.errors import UsageError
from gapfill.train.schedule import Shape

LENGTHS = ("steps", "epochs", "budget")
"""The settings of which one says how long."""
DEFAULT_EPOCHS = 25.0
MOST_STEPS = 10**9
LONGEST = 1000 * 3600  # seconds of a budget


@dataclass(frozen=True)
class Training:
    """How to train. At most one of `steps`, `epochs` and `budget` says how long.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the training pictures (default 25).
        budget: time such as `90s`, `10m` or `1h`, turned into steps once, by timing the first.
        seed: names masks, order, flips and noise.
        device: `auto`, `cpu`, `cuda` or `cuda:<index>`.
        mode: `eager` (PyTorch's calls), `compile` (each loss compiled) or `graph` (the whole step a
            CUDA graph), equal but for rounding; `auto` takes a graph on a GPU, where it can,
            and compiles there too in a run of a quarter of an hour or more, if that is faster.
        precision: `bf16` is autocast with float32 weights; `auto` takes it where it is fast.
        schedule: how the learning rate falls to zero after the warm-up, from the first step to the
            last on which its optimiser has a turn; `constant` leaves it as it is.
        warmup: share of these steps over which the learning rate rises.
        clip: largest gradient norm of an update; 0 clips nothing.
        ema: share of the run over which the weights are averaged exponentially; the average is
            the result. BatchNorm's buffers are the last ones, so that a long average would not fit
            them; so are the networks that only judge. 0 keeps the last weights.
        watch: how many times a run is scored on validation pictures.
        log_every: steps between two lines of the log.
        save_seconds: time between two checkpoints.
    """

    steps: Annotated[int | None, Range(1, MOST_STEPS)] = None
    epochs: Annotated[float | None, Range(0.001, 10**6)] = None
    budget: str | None = None
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    device: str = "auto"
    mode: Literal["auto", "eager", "compile", "graph"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    schedule: Shape = "cosine"
    warmup: Annotated[float, Range(0, 0.5)] = 0.02
    clip: Annotated[float, Range(0)] = 0.0
    ema: Annotated[float, Range(0, 0.5)] = 0.02
    watch: Annotated[int, Range(0, 10_000)] = 20
    log_every: Annotated[int, Range(1, 10_000)] = 20
    save_seconds: Annotated[float, Range(0)] = 60.0

    def __post_init__(self) -> None:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"give one of steps, epochs and budget, not {' and '.join(given)}.")
        if self.budget is not None:
            seconds(self.budget)

    def changed(self, changes: Mapping[str, Any], where: str = "") -> Training:
        """These settings but for `changes`; another length takes the place of the one there is.

        Raises:
            UsageError: a setting that does not exist or makes no sense, named with `where`.
        """
        kept = plain(self)
        if any(name in changes for name in LENGTHS):
            kept |= dict.fromkeys(LENGTHS)
        return build(Training, kept | dict(changes), where=where)

    def identity(self) -> dict[str, Any]:
        """The settings that make a run this run: those that its weights depend on."""
        names = ("seed", "precision", "schedule", "warmup", "clip", "ema", "watch")
        return {name: getattr(self, name) for name in (*LENGTHS, *names)}

    @property
    def limit(self) -> str:
        """How long, in words."""
        if self.steps is not None:
            return f"{self.steps:,} steps"
        if self.budget is not None:
            return f"{self.budget} of training"
        return f"{self.epochs or DEFAULT_EPOCHS:g} epochs"


def seconds(text: str) -> float:
    """The seconds in a time such as `90s`, `10m`, `1.5h`.

    >>> seconds("10m")
    600.0

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not match or not float(match[1]):
        raise UsageError(f"budget must be a time such as 90s, 10m or 1h; got '{_short(text)}'.")
    found = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
    if found > LONGEST:
        raise UsageError(f"budget must be at most {LONGEST // 3600}h; got '{_short(text)}'.")
    return found


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"
