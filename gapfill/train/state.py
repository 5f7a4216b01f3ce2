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


def snapshot(state: Saved) -> tuple[Saved, Any]:
    """A state that stays while training goes on; tensors that share memory still do.

    Returns:
        The copy, where the state is, and on CUDA the event after which it is one.
    """
    made: dict[Any, Tensor] = {}

    def copy(tensor: Tensor) -> Tensor:
        key = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
        if key not in made:
            made[key] = tensor.detach().clone()
        return made[key]

    kept = state.best_weights  # which nobody writes to
    found = _mapped({**vars(state), "best_weights": None}, copy) | {"best_weights": kept}
    device = next((each.device for each in made.values() if each.is_cuda), None)
    copied = None if device is None else torch.cuda.current_stream(device).record_event()
    return Saved(**found), copied


def on_host(state: Saved, copied: Any) -> Saved:
    """A `snapshot` on the host, brought there beside what a GPU is computing."""
    if copied is None:
        return state
    made: dict[int, Tensor] = {}

    def copy(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = tensor.cpu()
        return made[id(tensor)]

    stream = torch.cuda.Stream(copied.device)
    stream.wait_event(copied)
    with torch.cuda.stream(stream):
        return Saved(**_mapped(vars(state), copy))


def clone(value: Any) -> Any:
    """A deep copy of nested tensors."""
    if isinstance(value, Saved):
        return Saved(**clone(vars(value)))
    return _mapped(value, lambda tensor: tensor.detach().clone())


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Nested values with each tensor given to `function`."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, function) for item in value)
    return value
