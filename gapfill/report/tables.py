"""The tables of the page, every cell already written out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gapfill.report import learning
from gapfill.report.findings import finding
from gapfill.report.scores import (
    NOTHING,
    Score,
    beyond,
    duration,
    finite,
    floor,
    listing,
    number,
    quantity,
    score,
    winner,
)

_ARROWS = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "one": ("→ 1", "closest to 1 is best"),
}


def scores(results: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the main table of one kind of mask: headings and rows of cells."""
    models, columns = results["models"], results["columns"]
    best = {column["key"]: winner(results, kind, column["key"]) for column in columns}
    return {
        "kind": kind,
        "finding": finding(results, kind),
        "marked": any(name is not None for name in best.values()),
        "headings": [
            (column["title"], column["unit"] or "", *_ARROWS[column["better"]])
            for column in columns
        ],
        "rows": [
            {
                "label": model["label"],
                "mark": beyond(results, model, kind),
                "summary": model["summary"],
                "learned": model["learned"],
                "cells": [
                    _cell(
                        score(model, kind, column["key"]),
                        column["digits"],
                        best[column["key"]] == model["label"],
                        column.get("of") == "sets",
                    )
                    for column in columns
                ],
                "cost": _short_cost(model),
            }
            for model in models
        ],
    }


def kinds(results: dict[str, Any]) -> dict[str, Any] | None:
    """Return the table of the first metric under each kind of mask, if there are several kinds."""
    names, models = [mask["kind"] for mask in results["protocol"]["masks"]], results["models"]
    if len(names) < 2:
        return None
    column = results["columns"][0]
    best = {kind: winner(results, kind, column["key"]) for kind in names}
    rows = []
    for model in models:
        cells = []
        for kind in names:
            entry, mark = score(model, kind, column["key"]), beyond(results, model, kind)
            cell = _cell(entry, column["digits"], best[kind] == model["label"])
            cells.append({**cell, "mean": cell["mean"] + mark})
        rows.append({"label": model["label"], "learned": model["learned"], "cells": cells})
    title = f"{column['title']}, {column['unit']}" if column["unit"] else column["title"]
    return {
        "title": title,
        "trained": learning.under(results),
        "kinds": names,
        "rows": rows,
    }


def _cell(entry: Score, digits: int, best: bool, of_sets: bool = False) -> dict[str, Any]:
    """Return one cell: the mean, its standard error below, and its interval as a tooltip.

    A distance of sets has no interval: its error says how well the mean over subsets is known, and
    nothing of other pictures.
    """
    interval = entry.interval()
    tip, error = ("not measured" if entry.mean is None else "no interval"), ""
    if entry.reason:
        tip = entry.reason
    if interval is not None:
        low, high = (number(end, digits) for end in interval)
        tip, error = f"95 % interval {low} to {high}, n = {entry.n:,}", number(entry.se, digits)
        if of_sets:
            tip = f"± over random subsets of the {entry.n:,} pictures"
    return {"mean": number(entry.mean, digits), "error": error, "tip": tip, "best": best}


def _short_cost(model: dict[str, Any]) -> list[str]:
    """Return the three costs that stand beside the scores: time, training speed, size."""
    return [
        number(finite((model["cost"] or {}).get("latency_ms")), 1),
        quantity(finite((model["training"] or {}).get("images_per_second"))),
        quantity(finite(model["parameters"])),
    ]


def stability(results: dict[str, Any]) -> dict[str, Any] | None:
    """Return the stability table: one row for each model that trained, and one for each run."""
    kind = results["protocol"]["masks"][0]["kind"]
    rows, each = [], []
    for model in results["models"]:
        runs = model["runs"] or []
        if not model["learned"] or not runs:
            continue
        spread = (model["stability"] or {}).get("hole_psnr") or {}
        found = [finite(run["scores"].get(kind, {}).get("hole_psnr")) for run in runs]
        mean = finite(spread.get("mean"))
        if mean is None and len(runs) == 1:
            mean = found[0]
        rows.append(
            {
                "label": model["label"],
                "runs": len(runs),
                "diverged": sum(bool(run["diverged"]) for run in runs),
                "below": sum(bool(run["below_floor"]) for run in runs),
                "psnr": number(mean, 2),
                "sd": number(finite(spread.get("sd")), 2),
                "accuracy": _averaged(runs, "critic_accuracy"),
                "loss": _averaged(runs, "generator_loss"),
            }
        )
        each += [
            {
                "label": model["label"],
                "seed": run["seed"],
                "diverged": "yes" if run["diverged"] else "no",
                "below": "yes" if run["below_floor"] else "no",
                "psnr": number(value, 2),
                "accuracy": _averaged([run], "critic_accuracy"),
                "loss": _averaged([run], "generator_loss"),
            }
            for run, value in zip(runs, found, strict=True)
        ]
    several = each if len(each) > len(rows) else []
    return {"rows": rows, "each": several, "floor": floor(results)} if rows else None


def _averaged(runs: Sequence[dict[str, Any]], key: str) -> str:
    """Average a (mean, spread over steps) pair over the runs that have it."""
    pairs = [(run[key]["mean"], run[key]["sd"]) for run in runs if run.get(key)]
    pairs = [(m, s) for m, s in pairs if finite(m) is not None and finite(s) is not None]
    if not pairs:
        return NOTHING
    mean, spread = np.mean(pairs, axis=0).tolist()
    return f"{number(mean, 2)} ± {number(spread, 2)}"


def costs(results: dict[str, Any]) -> dict[str, Any]:
    """Return the table of what each model costs to train and to use."""
    headings = (
        "parameters",
        "MACs",
        "trained for",
        "steps",
        "pictures seen",
        "images/s trained",
        "ms/image",
        "images/s filled",
        "filled on",
    )
    rows = []
    for model in results["models"]:
        training, cost = model["training"] or {}, model["cost"] or {}
        batch = f", batch {cost['batch_size']}" if cost.get("batch_size") else ""
        place = " ".join(str(cost[key]) for key in ("device", "precision") if cost.get(key))
        rows.append(
            (
                model["label"],
                [
                    quantity(finite(model["parameters"])),
                    quantity(finite(model["macs"])),
                    training.get("where") or duration(finite(training.get("seconds"))),
                    number(finite(training.get("steps")), 0),
                    quantity(finite(training.get("images"))),
                    quantity(finite(training.get("images_per_second"))),
                    number(finite(cost.get("latency_ms")), 1),
                    quantity(finite(cost.get("throughput"))),
                    place + batch or NOTHING,
                ],
            )
        )
    unknown = listing([model["label"] for model in results["models"] if not model["cost"]])
    return {"headings": headings, "rows": rows, "unknown": unknown}


def machine(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the comparison ran on, and its seeds, as pairs of name and value."""
    entries = results["environment"].items()
    found = [(key.replace("_", " "), str(value)) for key, value in entries if value is not None]
    found.append(("seeds", ", ".join(str(seed) for seed in results["protocol"]["seeds"])))
    counts = results.get("measurements") or {}
    if kept := counts.get("kept"):
        total = kept + counts["made"]
        said = f"{kept} of {total} kept from before (same weights, pictures, masks, metrics, code)"
        found.append(("measurements", said))
    return found


def digests(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the hashes of data, masks and weights, as pairs of name and value."""
    found = [(f"data: {results['data']['title']}", results["data"]["digest"])]
    found += [(f"masks: {mask['kind']}", mask["digest"]) for mask in results["protocol"]["masks"]]
    found += [
        (f"weights: {model['label']}", model["weights_digest"]) for model in results["models"]
    ]
    return [(name, str(digest)) for name, digest in found if digest]


def chosen_by(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return by what validation chose the weights of which models, as pairs of name and value."""
    found: dict[str, list[str]] = {}
    for model in results["models"]:
        if rule := model.get("chosen_by"):
            found.setdefault(rule, []).append(model["label"])
    titles = {column["key"]: column["title"] for column in results["columns"]}
    return [
        (f"weights chosen by {titles.get(rule, rule.replace('_', ' '))}", ", ".join(labels))
        for rule, labels in found.items()
    ]


def settings(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the settings of each model that has any, as pairs of name and one line."""
    return [
        (
            f"settings: {model['label']}",
            ", ".join(f"{key} = {json.dumps(value)}" for key, value in model["config"].items()),
        )
        for model in results["models"]
        if model["config"]
    ]
