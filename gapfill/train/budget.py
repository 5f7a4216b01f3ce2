"""How many steps fit in a budget of time: found by making some."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import torch

from gapfill.train.engine import Engine
from gapfill.train.settings import MOST_STEPS

_GROUP = 5  # steps that are timed together, so that an update of every fifth step has its share
_PLACES = 50  # in a run, at which it is looked for phases, whose steps may cost differently
_LENGTH = 1200  # steps from one place to the next, in the run that is only rehearsed


def rehearse(
    budget: float,
    engine: Engine,
    step: Callable[[int, int], None],
    look: Callable[[], object] | None,
    looks: int,
) -> tuple[int, int]:
    """How many steps and looks fit; the steps that are made to find out are for the caller to undo.

    Args:
        budget: seconds.
        engine: makes the steps; it has to be prepared for the run afterwards.
        step: makes a step, with the batch of another number.
        look: scores the weights on the validation pictures, if anybody watches.
        looks: how many looks there may be at most.
    """
    typical = time_steps(engine, step)
    looking = 0.0
    if look is None:
        looks = 0
    else:
        start = time.perf_counter()
        look()
        looking = time.perf_counter() - start
        # A look must not cost more than it tells: a tenth of a short budget, and at least two.
        looks = min(looks, max(2, int(0.1 * budget / looking)))
    steps = int(max(budget - looks * looking, budget / 2) / typical)
    return min(max(1, steps), MOST_STEPS), looks


def time_steps(engine: Engine, step: Callable[[int, int], None], rough: bool = False) -> float:
    """Seconds of a step, on average over a run; see `rehearse` for what is given.

    Roughly, from two steps of each phase, where these are not captured.
    """
    engine.prepare(_PLACES * _LENGTH)  # long enough to have all phases
    rough = rough and not engine.captures
    group, groups = (1, 1) if rough else (_GROUP, 3)
    phases: dict[tuple[bool, ...], list[int]] = {}
    for first in range(0, engine.total, _LENGTH):
        phases.setdefault(engine.turns(first, group), []).append(first)
    data, warm = itertools.count(), 4 if engine.captures else 1
    timed = [
        (_time_phase(places[-1], data, step, (warm, groups, group), engine.device), len(places))
        for places in phases.values()
    ]
    return sum(each * count for each, count in timed) / _PLACES


def _time_phase(
    first: int,
    data: Iterator[int],
    step: Callable[[int, int], None],
    counts: tuple[int, int, int],
    device: torch.device,
) -> float:
    """Seconds of a step from `first` on, the middle of some groups after some that warm up.

    The batches are those of the numbers in `data`: a late one may cost all before it.
    """
    warm, groups, group = counts
    found = []
    for start in range(first, first + (warm + groups) * group, group):
        begin = time.perf_counter()
        for number in range(start, start + group):
            step(number, next(data))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append((time.perf_counter() - begin) / group)
    return statistics.median(found[warm:])
