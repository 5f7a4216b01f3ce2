"""How a training step is made: which ways can be had here, and which is worth its cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from gapfill import ranks
from gapfill.compute import reason
from gapfill.errors import UsageError
from gapfill.optim import optimizers_of
from gapfill.types import Update

if TYPE_CHECKING:
    from gapfill.train.engine import Engine

LONG = 15 * 60.0
"""Seconds of a captured run from which on compiling, a minute or two, may pay."""
FEW = 2000
"""Steps that are no such run, whatever they take."""


def resolve_mode(mode: str, device: torch.device, updates: Sequence[Update] = ()) -> str:
    """What `auto` means here: a graph on a GPU that can have one, and PyTorch's calls elsewhere.

    On a CPU the time goes into convolutions that compiling does not touch. Several processes get a
    graph only when they ask for it: that was never run on GPUs.

    Raises:
        UsageError: a graph was asked for that cannot be had.
    """
    obstacle = _obstacle(device, updates)
    if mode == "auto":
        return "eager" if obstacle or ranks.world() > 1 else "graph"
    if mode == "graph" and obstacle:
        raise UsageError(f"--mode graph asked, but {obstacle}.")
    if mode == "compile" and device.type == "cuda":
        obstacle = "several processes train together" if ranks.world() > 1 else obstacle
        if obstacle:
            raise UsageError(f"--mode compile captures the step on CUDA, but {obstacle}.")
    return mode


def compile_losses(engine: Engine, time_step: Callable[[], float], plain: float | None) -> str:
    """Compile the losses of an engine that captures its steps, and keep it so if that is faster.

    Args:
        engine: in mode `graph`.
        time_step: makes some steps, and says the seconds of one.
        plain: seconds of a captured step without compiling; `None` compiles whatever it brings,
            for a run that began so.

    Returns:
        What came of it, for the user.
    """
    engine.take("compile")
    try:
        compiled = time_step()
    except Exception as error:  # whatever inductor, Triton or a compiler on this machine raises
        engine.take("graph")
        return f"the losses cannot be compiled here ({reason(error)}); going on without"
    if engine.mode != "compile":
        return "going on without compiled losses"
    if plain is None:
        return "the losses are compiled, as they were when this run began"
    times = f"{1000 * compiled:.3g} ms a step, {1000 * plain:.3g} without"
    if compiled < plain:
        return f"the losses are compiled for this long run: {times}"
    engine.take("graph")
    return f"compiled losses are no faster here ({times}); going on without"


def _obstacle(device: torch.device, updates: Sequence[Update]) -> str:
    """Why a step cannot be captured."""
    if device.type != "cuda":
        return "it needs a CUDA device"
    if ranks.world() > 1 and not ranks.over_nccl():
        return "what several processes exchange can be captured over NCCL alone"
    for optimizer in optimizers_of(updates):
        if "capturable" not in optimizer.defaults:
            return f"{type(optimizer).__name__} cannot be captured in a CUDA graph"
    return ""
