"""What a comparison will take, told before it begins."""

from __future__ import annotations

from typing import Any

from gapfill.compare.plan import Contestant, Plan
from gapfill.compare.runs import place, stream, training_of
from gapfill.console import duration
from gapfill.randomness import mix, seeded
from gapfill.registry import is_saved, model_class
from gapfill.train.settings import DEFAULT_EPOCHS, seconds

_WORTH = 100  # steps of a run, from which on it is worth while to make three more for an estimate


def forecast(plan: Plan) -> str:
    """A line: the steps and the time of each model that will be trained; empty if none will be."""
    words, whole, known = [], 0.0, True
    for entry in plan.entries:
        if entry.recipe is None or not model_class(entry.recipe.model).optimised():
            continue
        runs = sum(not is_saved(place(plan, entry, seed)) for seed in plan.seeds)
        if not runs:
            continue
        text, time_of_one = _run(plan, entry)
        known = known and time_of_one is not None
        whole += runs * (time_of_one or 0)
        words.append(f"{entry.label} {text}" + (f" × {runs}" if runs > 1 else ""))
    if not words:
        return ""
    total = f" · about {duration(whole)} in all" if known else ""
    return f"training: {', '.join(words)}{total}"


def _run(plan: Plan, entry: Contestant) -> tuple[str, float | None]:
    """One run of a model in words, and its seconds where they are known."""
    assert entry.recipe is not None
    train = entry.recipe.train
    if train.budget is not None:
        budget = seconds(train.budget)
        return duration(budget), budget
    steps = train.steps
    if steps is None:
        epochs = train.epochs or DEFAULT_EPOCHS
        steps = max(1, round(epochs * len(stream(plan, entry, plan.seeds[0]))))
    text = f"{steps:,} steps"
    if steps < _WORTH:
        return text, None
    estimated = steps * _seconds_a_step(plan, entry)
    return f"{text} (about {duration(estimated)})", estimated


def _seconds_a_step(plan: Plan, entry: Contestant) -> float:
    """By making one step to warm up, and two that are timed."""
    assert entry.recipe is not None
    with seeded(mix(0, "weights")):
        model = entry.recipe.sized(plan.table.size).create()
    settings: dict[str, Any] = training_of(plan, entry, plan.seeds[0])
    for steps in (1, 2):
        settings |= {"epochs": None, "budget": None, "steps": steps}
        model.fit(
            stream(plan, entry, plan.seeds[0]), mask=entry.recipe.mask, quiet=True, **settings
        )
    assert model.training_cost is not None
    return model.training_cost["seconds"] / 2
