"""What each model learned from, as its weights say, and whether test pictures were among it."""

from __future__ import annotations

from typing import Any

from gapfill.compare.plan import Contestant
from gapfill.compare.runs import Bench
from gapfill.inpainter import Inpainter

_NAMED = 3
_RUN = ("mask", "seed", "batch_size", "flip", "pictures", "initial_weights")


def learned_from(
    entry: Contestant, model: Inpainter, bench: Bench, names: tuple[str, ...]
) -> dict[str, Any] | None:
    """What results.json says of a model's training, or None where it needs none.

    Args:
        entry: the contestant.
        model: the model of its first run.
        bench: the test pictures.
        names: their names.
    """
    if not model.needs_training:
        return None
    run, cost, seen = model.training_run or {}, model.training_cost or {}, model.training_pictures
    found: dict[str, Any] = {
        "where": "elsewhere" if entry.recipe is None else "here",
        "steps": cost.get("steps"),
        **{key: run.get(key) for key in _RUN},
        "trainings": seen.trainings if seen else None,
        "count": len(seen.pictures) if seen else None,
        "others": seen.others if seen else True,
        "test_pictures": None,
    }
    if seen is not None:
        among = seen.among(bench.real).nonzero().flatten().tolist()
        found["test_pictures"] = {
            "among": len(among),
            "of": len(bench.real),
            "names": [names[number] for number in among[:_NAMED]],
        }
    return found
