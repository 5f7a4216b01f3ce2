"""What results.json says of a comparison."""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gapfill import checkpoint, masks, metrics, ranks, summary
from gapfill.compare import evaluate
from gapfill.compare.kept import identity
from gapfill.compare.learning import learned_from
from gapfill.compare.plan import Contestant, Plan
from gapfill.compare.runs import Bench, Tested, place
from gapfill.compare.settings import differences
from gapfill.compute import resolve_precision
from gapfill.config import plain
from gapfill.console import say
from gapfill.inpainter import Inpainter
from gapfill.metrics.paired import LEVEL, RESAMPLES, SEED, Bootstrap, Scores
from gapfill.recipe import Recipe
from gapfill.registry import saved_in
from gapfill.report.load import SCHEMA
from gapfill.train.log import named, read_log


def row(
    plan: Plan, tested: Tested, bench: Bench, floor: float | None, reason: str
) -> dict[str, Any]:
    """What results.json says of one model.

    Args:
        plan: the comparison.
        tested: the model's runs.
        bench: the test pictures and masks.
        floor: the hole PSNR of the model that a run must beat to be worth its training.
        reason: why LPIPS is missing.
    """
    entry, model = tested.entry, tested.model
    models = tested.models or [None]
    runs = zip(plan.seeds, models, tested.scores, tested.sets, strict=False)
    found = [_run(plan, entry, *run, floor) for run in runs]
    first = tested.scores[0][bench.first]["hole_psnr"]
    facts = _facts(plan, entry, model, bench) if model is not None else _elsewhere(tested)
    return {
        "label": entry.label,
        "own": _own(plan, entry) if facts["learned"] else [],
        **facts,
        "scores": _scores(tested, bench, reason),
        "runs": found,
        "stability": _stability(bench.first, found) if facts["learned"] else None,
        "worst": [
            {
                "picture": number,
                "name": plan.test.names[number],
                "hole_psnr": evaluate.finite(round(first[number].item(), 2)),
            }
            for number in tested.worst(bench).tolist()
        ],
    }


def _own(plan: Plan, entry: Contestant) -> list[str]:
    """In what the model's training differs from that of the others, in words."""
    if entry.recipe is None:
        return []
    common = Recipe("", mask=plan.mask, batch_size=plan.batch_size, train=plan.training)
    return [entry.short] if entry.short else differences(entry.recipe, common)


def _facts(plan: Plan, entry: Contestant, model: Inpainter, bench: Bench) -> dict[str, Any]:
    """What a model is, and what it costs."""
    training = model.training_cost or {}
    return {
        "name": model.name,
        "summary": summary.line(type(model)),
        "group": model.about.group,
        "holes": model.about.holes,
        "baseline": model.about.baseline,
        "learned": model.optimised(),
        "stochastic": model.stochastic,
        "parameters": evaluate.count_parameters(model),
        "macs": evaluate.count_macs(model, plan.test.size),
        "weights_digest": _digest(plan, entry),
        "config": plain(model.config),
        "chosen_by": (model.training_run or {}).get("chosen_by"),
        "training": training if "steps" in training else None,
        "learned_from": learned_from(entry, model, bench, plan.test.names),
        "cost": _cost(plan, model, bench),
    }


def _cost(plan: Plan, model: Inpainter, bench: Bench) -> dict[str, Any]:
    """What a fill costs here, or cost when the same was measured on the same machine before."""
    device = ranks.resolve(plan.training.device)
    name = identity(model) | {"cost": evaluate.environment(device, "fp32")}
    name |= {"masks": bench.digests[bench.first]}

    def measure() -> dict[str, Any]:
        return evaluate.cost(model, plan.test.images[:1], bench.bank[:1])

    return bench.kept.of(name, measure)


def _elsewhere(tested: Tested) -> dict[str, Any]:
    """What is known of a program by its pictures alone."""
    first, *others = dict.fromkeys(map(str, tested.known.values()))
    said = [first] if not others else [f"{kind}: {known}" for kind, known in tested.known.items()]
    return {
        "name": None,
        "summary": "Filled by another program.",
        "group": "other",
        "holes": "any",
        "learned": False,
        "stochastic": False,
        "parameters": None,
        "macs": None,
        "weights_digest": None,
        "config": {},
        "chosen_by": None,
        "training": {"where": "elsewhere"},
        "cost": None,
        "known": {kind: vars(known) for kind, known in tested.known.items()},
        "note": f"filled by another program; {'; '.join(said)}",
    }


def _scores(tested: Tested, bench: Bench, reason: str) -> dict[str, dict[str, Any]]:
    """The summary of every metric under every kind of mask."""
    found = {}
    for kind in bench.banks:
        runs = [score[kind] for score in tested.scores]
        # Over several seeds a picture's score is its mean over the runs.
        means = {key: torch.stack([run[key] for run in runs]).mean(0) for key in runs[0]}
        found[kind] = evaluate.summarise(means, reason)
        found[kind] |= bench.sets.summarise([run[kind] for run in tested.sets])
    if tested.samples is not None:
        spread = metrics.diversity(tested.samples, bench.bank[bench.shown])
        found[bench.first]["diversity"] = metrics.summary(spread)
    return found


def _stability(kind: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far the runs of one model lie apart, and how many failed."""
    found = [run["scores"][kind]["hole_psnr"] for run in runs]
    psnr = [value for value in found if value is not None]
    return {
        "runs": len(runs),
        "diverged": sum(run["diverged"] for run in runs),
        "below_floor": sum(run["below_floor"] for run in runs),
        "hole_psnr": {
            "mean": statistics.fmean(psnr) if psnr else None,
            "sd": statistics.stdev(psnr) if len(psnr) > 1 else None,
        },
    }


def _run(
    plan: Plan,
    entry: Contestant,
    seed: int,
    model: Inpainter | None,
    scores: dict[str, dict[str, Tensor]],
    sets: dict[str, dict[str, Tensor]],
    floor: float | None,
) -> dict[str, Any]:
    """What results.json says of one training run."""
    means = {
        kind: {
            key: evaluate.finite(values.mean().item())
            for key, values in (score | sets[kind]).items()
        }
        for kind, score in scores.items()
    }
    psnr = means[plan.kinds[0]]["hole_psnr"]
    failed = bool(model and model.training_cost and "diverged" in model.training_cost)
    learned = model is not None and model.optimised()
    worse = floor is not None and psnr is not None and psnr < floor and learned
    log = place(plan, entry, seed) / "log.jsonl"
    return {
        "seed": seed,
        "diverged": failed,
        "below_floor": worse,
        "log": log.relative_to(plan.out).as_posix() if log.is_file() else None,
        "scores": means,
        **evaluate.training_facts(_history(log)),
    }


def _history(log: Path) -> list[dict[str, Any]]:
    """The lines of a log; those that are damaged are named and left out."""
    if not log.is_file():
        return []
    lines, bad = read_log(log)
    if bad:
        say(f"{log}: {named(bad)} cannot be read: left out of the curves.")
    return [{key: value for key, value in line.items() if math.isfinite(value)} for line in lines]


def _digest(plan: Plan, entry: Contestant) -> str | None:
    """The hash of the weights that the table speaks of."""
    folder = entry.folder or place(plan, entry, plan.seeds[0])
    return checkpoint.digest_of(saved_in(folder) / "model.safetensors")


def paired(scores: Scores) -> dict[str, Any]:
    """How far the best of every column is ahead of each other model: what may be marked best.

    Args:
        scores: by model, every picture's scores by kind of mask and metric, [runs, N].
    """
    boot = Bootstrap(scores)
    better = {column["key"]: column["better"] for column in evaluate.columns()}
    lead: dict[str, dict[str, Any]] = {}
    for kind, key in dict.fromkeys(column for each in scores.values() for column in each):
        if key in better:
            lead.setdefault(kind, {})[key] = boot.lead((kind, key), better[key])
    return {"resamples": RESAMPLES, "seed": SEED, "level": LEVEL, "lead": lead}


def whole(
    plan: Plan, rows: list[dict[str, Any]], bench: Bench, differences: dict[str, Any]
) -> dict[str, Any]:
    """The whole of results.json, from what it says of each model and of their differences."""
    device = ranks.resolve(plan.training.device)
    precision = resolve_precision(plan.training.precision, device)
    table, elsewhere = plan.table, plan.elsewhere
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
            "split": table.rule,
            "notes": list(table.notes),
            "test_split": plan.test.rule if elsewhere and plan.test.own_split else "",
            "test_notes": list(plan.test.notes) if elsewhere else [],
            "digest": plan.wanted["data"],
        },
        "protocol": {
            "masks": [
                {
                    "kind": kind,
                    "seed": 0,
                    "digest": masks.digest(bank),
                    "area": round(masks.area(bank).mean().item(), 4),
                    "square": bool(masks.square(bank).all()),
                }
                for kind, bank in bench.banks.items()
            ],
            "trained_under": plan.mask,
            "seeds": list(plan.seeds),
            "limit": f"{plan.training.limit} each",
            "batch_size": plan.batch_size,
            "rounding": "uint8",
        },
        "columns": evaluate.columns(bench.sets.columns()),
        "sets": bench.sets.about(),
        "models": rows,
        "paired": differences,
        "measurements": {"kept": bench.kept.found, "made": bench.kept.made},
        "left_out": plan.left_out,
    }
