"""What a checkpoint holds, and whether it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gapfill import checkpoint
from gapfill.checkpoint import DamagedError
from gapfill.config import Range, build
from gapfill.errors import UsageError


@dataclass(frozen=True)
class Saved:
    """The state of a run after a step.

    Attributes:
        run: names the run that it belongs to.
        step: how many steps were made.
        module: the weights.
        ema: their average, if the run has one.
        optimizers: each optimiser's state, in the order of the updates.
        best: the best score on the validation pictures.
        best_weights: the averaged weights that had it, if they were scored.
        seconds: time spent in training.
        batch_size: pictures a step.
        log: the digest of the log up to here.
    """

    run: str
    step: Annotated[int, Range(0)]
    module: Mapping[str, Any]
    ema: Mapping[str, Any] | None
    optimizers: tuple[Mapping[Any, Any], ...]
    best: float
    best_weights: Mapping[str, Any] | None
    seconds: Annotated[float, Range(0)]
    batch_size: Annotated[int, Range(0)]
    log: str


def read_state(path: Path, step: int, misfit: Callable[[Saved], str]) -> Saved:
    """Read the checkpoint of a step.

    Args:
        path: its file.
        step: the step that its name says.
        misfit: says what of the state does not fit the run's weights, or nothing.

    Raises:
        DamagedError: the file is damaged or holds something else.
    """
    try:
        state = build(Saved, checkpoint.load(path))
    except UsageError as error:
        raise DamagedError(f"checkpoint {path} is damaged ({error})") from error
    wrong = f"it is of step {state.step:,}" if state.step != step else misfit(state)
    if wrong:
        raise DamagedError(f"checkpoint {path} is damaged ({wrong}).")
    return state


def misfit(state: Saved, module: nn.Module, averaged: bool, optimizers: list[Optimizer]) -> str:
    """What of a state does not fit what is trained, in words, or nothing."""
    shapes = _shapes(module.state_dict())
    if (state.ema is None) == averaged:
        return "its average is missing" if averaged else "it has an average"
    for name in ("module", "ema", "best_weights"):
        weights = getattr(state, name)
        if weights is not None and _shapes(weights) != shapes:
            return f"'{name}' holds other weights"
    if len(state.optimizers) != len(optimizers):
        return f"{len(state.optimizers)} optimisers instead of {len(optimizers)}"
    if not all(map(_fits, optimizers, state.optimizers)):
        return "an optimiser's state is of other weights"
    return ""


def _fits(optimizer: Optimizer, state: Mapping[Any, Any]) -> bool:
    """Whether an optimiser's state speaks of its weights; what it says of them is its own affair.

    But for the moments that every optimiser keeps in the weights' shapes.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, values in state.items():
        if type(number) is not int or number not in range(len(weights)):
            return False
        if not isinstance(values, Mapping):
            return False
        moments = [values.get(name) for name in ("exp_avg", "momentum_buffer")]
        shapes = [moment.shape for moment in moments if isinstance(moment, Tensor)]
        if any(shape != weights[number].shape for shape in shapes):
            return False
    return True


def _shapes(weights: Mapping[str, Any]) -> dict[str, tuple[torch.Size, torch.dtype] | None]:
    return {
        name: (value.shape, value.dtype) if isinstance(value, Tensor) else None
        for name, value in weights.items()
    }


def clone(value: Any) -> Any:
    """A deep copy of nested tensors."""
    if isinstance(value, Saved):
        return Saved(**clone(vars(value)))
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: clone(item) for key, item in value.items()}
    return type(value)(map(clone, value)) if isinstance(value, list | tuple) else value
