"""What a comparison will take, told before it begins."""

from __future__ import annotations

import torch

from gapfill import masks, ranks
from gapfill.compare import jobs
from gapfill.compare.plan import Contestant, Plan
from gapfill.compare.runs import place
from gapfill.compare.training import Run, run_of
from gapfill.config import build
from gapfill.console import duration
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import open_source
from gapfill.registry import is_saved, model_class
from gapfill.train import Trainer, Training
from gapfill.train.settings import DEFAULT_EPOCHS, seconds

_WORTH = 100  # steps of a run, from which on it is worth while to make some more for an estimate


def forecast(plan: Plan) -> str:
    """A line: the steps and the time of each model that will be trained; empty if none will be."""
    words: list[str] = []
    times: list[float | None] = []
    for entry in plan.entries:
        if entry.recipe is None or not model_class(entry.recipe.model).optimised():
            continue
        runs = sum(not is_saved(place(plan, entry, seed)) for seed in plan.seeds)
        if not runs:
            continue
        text, time_of_one = _run(plan, entry)
        times += [time_of_one] * runs
        words.append(f"{entry.label} {text}" + (f" × {runs}" if runs > 1 else ""))
    if not words:
        return ""
    return f"training: {', '.join(words)}{_total(times, plan)}"


def _total(times: list[float | None], plan: Plan) -> str:
    """The time of all runs in words, where it is known."""
    known = [time for time in times if time is not None]
    if len(known) < len(times) or plan.executor is not None:
        return ""
    whole = max(sum(known) / plan.jobs, *known)
    side = f", {plan.jobs} at a time" if plan.jobs > 1 else ""
    return f" · about {duration(whole)} in all{side}"


def _run(plan: Plan, entry: Contestant) -> tuple[str, float | None]:
    """One run of a model in words, and its seconds where they are known."""
    assert entry.recipe is not None
    train = entry.recipe.train
    if train.budget is not None:
        budget = seconds(train.budget)
        return duration(budget), budget
    run, steps = run_of(plan, entry, plan.seeds[0]), train.steps
    if steps is None:
        steps = max(1, round((train.epochs or DEFAULT_EPOCHS) * len(run.stream())))
    text = f"{steps:,} steps"
    if steps < _WORTH or plan.executor is not None:  # whose machines may be faster than this one
        return text, None
    try:
        with jobs.alike(plan) as slower:
            estimated = steps * slower * _seconds_a_step(run)
    except Exception:  # it will fail again where that is told, or left out
        return text, None
    if estimated <= 0:
        return text, None
    return f"{text} (about {duration(estimated)})", estimated


def _seconds_a_step(run: Run) -> float:
    """By making a few steps of the run's own model, which is thrown away."""
    device = ranks.resolve(run.device)
    model = run.create().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    source = open_source(run.stream(), device, quiet=True)
    given = masks.banks(run.recipe.mask, run.pictures.shape[-1])
    batches = MaskedBatches(source, run.recipe.mask, run.seed, device, given)
    settings = build(Training, run.settings())
    return Trainer(model, model.updates(), batches, settings, quiet=True).pace()
