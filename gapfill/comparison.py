"""A comparison, stage by stage: contestants, training, scores, results.json and pictures.npz.

Each stage reads what the one before wrote, so that an interrupted comparison goes on where it was
and the report can be made again without training.
"""

from __future__ import annotations

import datetime
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gapfill import checkpoint, evaluate, masks, metrics, ranks
from gapfill.compute import resolve_precision
from gapfill.config import plain
from gapfill.console import say
from gapfill.data import Stream, Table
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.randomness import mix, seeded
from gapfill.recipe import Recipe, read_recipe
from gapfill.registry import is_saved, list_models, load, model_class, saved_in
from gapfill.train import DivergedError, Training
from gapfill.train.folder import RunFolder

SCHEMA = 1
FLOOR = "mean"  # a run that ends below it has failed
_EXAMPLES = 12
_WORST = 6


@dataclass(frozen=True)
class Contestant:
    """One model of a comparison: a recipe to train, or a folder that holds it trained."""

    label: str
    recipe: Recipe | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that a comparison needs to know, checked."""

    entries: tuple[Contestant, ...]
    table: Table
    test: Table
    mask: str
    seeds: tuple[int, ...]
    batch_size: int
    training: Training
    wanted: dict[str, Any]
    out: Path
    command: str
    quiet: bool = False


def contestants(names: Sequence[str], size: int) -> tuple[Contestant, ...]:
    """Names, recipes and folders of saved models, each made sure of, once each.

    Raises:
        UsageError: a name that nobody has, a recipe or folder that cannot be read.
    """
    found: dict[str, Contestant] = {}
    for name in dict.fromkeys(names):
        path = Path(name)
        if path.suffix in (".yaml", ".yml"):
            entry = Contestant(path.stem, recipe=read_recipe(path))
        elif path.is_dir() and name not in list_models():
            load(path)
            entry = Contestant(_label(path.resolve()), folder=path)
        else:
            entry = Contestant(name, recipe=Recipe(model=name))
        if entry.recipe is not None:
            entry.recipe.sized(size).create()
        label, number = entry.label, 2
        while label in found:
            label, number = f"{entry.label}-{number}", number + 1
        found[label] = replace(entry, label=label)
    return tuple(found.values())


def headline(plan: Plan) -> str:
    """The first line that a user reads: which pictures, masks, device."""
    device = ranks.resolve(plan.training.device)
    precision = resolve_precision(plan.training.precision, device)
    elsewhere = plan.test.title != plan.table.title
    test = f" · scored on {len(plan.test):,} of {plan.test.title}" if elsewhere else ""
    return (
        f"data: {plan.table.describe()}{test} · masks: {plan.mask}, seed 0 · "
        f"{device.type}, {precision}"
    )


def carry_out(plan: Plan) -> dict[str, Any]:
    """Train, score, and write `results.json` and `pictures.npz` into the plan's folder."""
    folder = RunFolder(plan.out, say)
    if folder.plan(plan.wanted) is None:
        folder.write_plan(plan.wanted, {})
    real = plan.test.images
    # The bank is the same in every comparison on these pictures: it has a seed of its own.
    bank = masks.draw(plan.mask, torch.arange(len(real)), real.shape[-1], seed=0)
    perceptual, reason = metrics.load_lpips(ranks.resolve(plan.training.device))
    shown = torch.linspace(0, len(real) - 1, min(_EXAMPLES, len(real))).round().long().unique()
    pictures = {"real": real[shown].numpy(), "mask": bank[shown].byte().numpy()}
    rows, floor = [], None
    for entry in plan.entries:
        tested = _test(plan, entry, bank, perceptual)
        pictures |= _pictures(tested, real, bank, shown)
        if entry.label == FLOOR:
            floor = tested.scores[0]["hole_psnr"].mean().item()
        rows.append(_row(plan, tested, bank, floor, reason))
    results = _results(plan, rows, bank)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **pictures)
    checkpoint.write_atomic(plan.out / "pictures.npz", buffer.getvalue())
    checkpoint.write_json(plan.out / "results.json", results)
    return results


@dataclass(frozen=True)
class _Tested:
    """A contestant after its runs: models, fills and scores by run, the worst pictures first."""

    entry: Contestant
    models: list[Inpainter]
    filled: list[Tensor]
    scores: list[dict[str, Tensor]]

    @property
    def worst(self) -> Tensor:
        return self.scores[0]["hole_psnr"].argsort()[:_WORST]


def _test(plan: Plan, entry: Contestant, bank: Tensor, perceptual: Any) -> _Tested:
    """Train every run that is not trained yet, and fill and score the test pictures."""
    models = [_trained(plan, entry, seed) for seed in _seeds(plan, entry)]
    real = plan.test.images
    filled = [evaluate.fill_all(model, real, bank, seed=plan.seeds[0]) for model in models]
    scores = [evaluate.score(each, real, bank, perceptual) for each in filled]
    return _Tested(entry, models, filled, scores)


def _pictures(
    tested: _Tested, real: Tensor, bank: Tensor, shown: Tensor
) -> dict[str, np.ndarray[Any, Any]]:
    """The fills that the report shows: the examples, and the worst with what they should be."""
    label, worst, filled = tested.entry.label, tested.worst, tested.filled[0]
    return {
        f"filled/{label}": filled[shown].numpy(),
        f"worst_real/{label}": real[worst].numpy(),
        f"worst_mask/{label}": bank[worst].byte().numpy(),
        f"worst_filled/{label}": filled[worst].numpy(),
    }


def _seeds(plan: Plan, entry: Contestant) -> tuple[int, ...]:
    """A model that is saved already, or that no chance takes part in, has one run."""
    trains = entry.recipe is not None and model_class(entry.recipe.model).optimised()
    return plan.seeds if trains else plan.seeds[:1]


def _place(plan: Plan, entry: Contestant, seed: int) -> Path:
    return plan.out / "models" / entry.label / f"seed-{seed}"


def _label(folder: Path) -> str:
    """A saved model's label: its folder's name, or the run's, where the folder is just `model`."""
    return folder.parent.name if folder.name == "model" else folder.name


def _trained(plan: Plan, entry: Contestant, seed: int) -> Inpainter:
    """The entry's model, trained now if it is not trained yet."""
    if entry.recipe is None:
        assert entry.folder is not None
        return load(entry.folder).to(ranks.resolve(plan.training.device))
    place = _place(plan, entry, seed)
    recipe = entry.recipe.sized(plan.table.size)
    with seeded(mix(seed, "weights")):
        model = recipe.create()
    if is_saved(place):
        saved = load(place)
        if (saved.name, saved.config) != (model.name, model.config):
            raise UsageError(
                f"{place} holds a '{saved.name}' with other settings than '{entry.label}' has now. "
                "Give another --out, or delete it to train again."
            )
        return saved.to(ranks.resolve(plan.training.device))
    stream = Stream(plan.table.part("train").images, plan.batch_size, seed, flip=recipe.flip)
    length = {name: getattr(plan.training, name) for name in ("steps", "epochs", "budget")}
    training = plain(recipe.train) | length | {"seed": seed, "device": plan.training.device}
    training |= {"precision": plan.training.precision, "mode": plan.training.mode}
    try:
        model.fit(
            stream,
            mask=plan.mask,
            val=plan.table.validation,
            out=place,
            quiet=plan.quiet,
            **training,
        )
    except DivergedError as error:
        say(f"{entry.label}, seed {seed}: {error} It is scored by what was kept.")
        model.trained = True
        model.training_cost = {"diverged": str(error)}
    model.save(place / "model", data=plan.table.provenance)
    return model


def _row(
    plan: Plan, tested: _Tested, bank: Tensor, floor: float | None, reason: str
) -> dict[str, Any]:
    """What results.json says of one model.

    Args:
        plan: the comparison.
        tested: the model's runs.
        bank: the test masks.
        floor: hole PSNR of the mean picture, below which a run counts as diverged.
        reason: why LPIPS is missing.
    """
    entry, model, scores = tested.entry, tested.models[0], tested.scores
    runs = [
        _run(plan, entry, seed, each, score, floor)
        for seed, each, score in zip(plan.seeds, tested.models, scores, strict=False)
    ]
    # Over several seeds a picture's score is its mean over the runs.
    means = {key: torch.stack([score[key] for score in scores]).mean(0) for key in scores[0]}
    training = model.training_cost or {}
    return {
        "name": model.name,
        "label": entry.label,
        "summary": (type(model).__doc__ or "").strip().partition("\n")[0],
        "learned": model.optimised(),
        "stochastic": model.stochastic,
        "parameters": evaluate.count_parameters(model),
        "macs": evaluate.count_macs(model, plan.test.size),
        "weights_digest": _digest(plan, entry),
        "config": plain(model.config),
        "training": training if "steps" in training else None,
        "cost": evaluate.cost(model, plan.test.images[:1], bank[:1]),
        "scores": {plan.mask: evaluate.summarise(means, reason)},
        "runs": runs,
        "stability": _stability(plan, runs) if model.optimised() else None,
        "worst": [
            {
                "picture": number,
                "name": plan.test.names[number],
                "hole_psnr": round(scores[0]["hole_psnr"][number].item(), 2),
            }
            for number in tested.worst.tolist()
        ],
    }


def _stability(plan: Plan, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far the runs of one model lie apart, and how many failed."""
    found = [run["scores"][plan.mask]["hole_psnr"] for run in runs]
    psnr = [value for value in found if value is not None]
    return {
        "runs": len(runs),
        "diverged": sum(run["diverged"] for run in runs),
        "hole_psnr": {
            "mean": statistics.fmean(psnr) if psnr else None,
            "sd": statistics.stdev(psnr) if len(psnr) > 1 else None,
        },
    }


def _run(
    plan: Plan,
    entry: Contestant,
    seed: int,
    model: Inpainter,
    score: dict[str, Tensor],
    floor: float | None,
) -> dict[str, Any]:
    """What results.json says of one training run."""
    means = {key: evaluate.finite(values.mean().item()) for key, values in score.items()}
    psnr = means["hole_psnr"]
    failed = bool(model.training_cost and "diverged" in model.training_cost)
    worse = floor is not None and psnr is not None and psnr < floor and model.optimised()
    log = _place(plan, entry, seed) / "log.jsonl"
    history = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return {
        "seed": seed,
        "diverged": failed or worse,
        "log": log.relative_to(plan.out).as_posix() if log.is_file() else None,
        "scores": {plan.mask: means},
        **evaluate.training_facts(history),
    }


def _digest(plan: Plan, entry: Contestant) -> str | None:
    """The hash of the weights that the table speaks of."""
    folder = entry.folder or _place(plan, entry, plan.seeds[0])
    return checkpoint.digest_of(saved_in(folder) / "model.safetensors")


def _results(plan: Plan, rows: list[dict[str, Any]], bank: Tensor) -> dict[str, Any]:
    device = ranks.resolve(plan.training.device)
    precision = resolve_precision(plan.training.precision, device)
    table = plan.table
    note = "generated faces, not CelebA: numbers are not comparable with papers"
    return {
        "schema": SCHEMA,
        "command": plan.command,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": evaluate.environment(device, precision),
        "data": {
            "title": table.title,
            "generated": table.generated,
            "note": note if table.generated else "",
            "size": table.size,
            "crop": table.crop,
            "train": int((table.split == 0).sum()),
            "val": int((table.split == 1).sum()),
            "test": len(plan.test),
            "test_title": plan.test.title,
            "digest": plan.wanted["data"],
        },
        "protocol": {
            "masks": [
                {
                    "kind": plan.mask,
                    "seed": 0,
                    "digest": masks.digest(bank),
                    "area": round(masks.area(bank).mean().item(), 4),
                }
            ],
            "seeds": list(plan.seeds),
            "limit": plan.training.limit,
            "batch_size": plan.batch_size,
            "rounding": "uint8",
        },
        "columns": evaluate.columns(),
        "models": rows,
    }
