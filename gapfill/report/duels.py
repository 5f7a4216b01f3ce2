"""Who beats whom, and by how much: the differences of all models, two at a time."""

from __future__ import annotations

from typing import Any

from gapfill.metrics.paired import Bootstrap, Difference
from gapfill.report.load import Scores
from gapfill.report.scores import number

_ALSO = "lpips"  # beside the first metric: what eyes see, where PSNR favours blur
_DIRECTIONS = {
    "higher": "higher is better",
    "lower": "lower is better",
    "one": "nearer 1 is better",
}
WIDE = 8  # models; a larger matrix has no room for the intervals


def matrices(results: dict[str, Any], scores: Scores, kind: str) -> list[dict[str, Any]]:
    """Return the matrix of the first metric and that of LPIPS, where two models or more have it.

    A cell says how much better its row is than its column. The best stands first.
    """
    columns = results["columns"]
    wanted = [columns[0], *(c for c in columns[1:] if c["key"] == _ALSO)]
    found = (_matrix(results, scores, kind, column) for column in wanted)
    return [matrix for matrix in found if matrix is not None]


def _matrix(
    results: dict[str, Any], scores: Scores, kind: str, column: dict[str, Any]
) -> dict[str, Any] | None:
    at, better = (kind, column["key"]), column["better"]
    labels = [model["label"] for model in results["models"]]
    mine = {label: {at: scores[label][at]} for label in labels if at in scores.get(label, {})}
    paired = results["paired"]
    boot = Bootstrap(mine, paired["resamples"], paired["seed"])
    lead = boot.lead(at, better)
    if lead is None or not lead["ahead"]:
        return None
    order = [lead["best"], *lead["ahead"]]
    rows = [
        {
            "label": row,
            "cells": [
                _cell(None if row == other else boot.difference(row, other, at, better), column)
                for other in order
            ],
        }
        for row in order
    ]
    unit = f" in {column['unit']}" if column["unit"] else ""
    return {
        "title": f"{column['title']}{unit}",
        "direction": _DIRECTIONS[better],
        "labels": order,
        "rows": rows,
        "wide": len(order) > WIDE,
    }


def _cell(found: Difference | None, column: dict[str, Any]) -> dict[str, str]:
    """Write a difference, its interval, and which of the two is ahead beyond doubt."""
    if found is None:
        return {"text": "", "interval": "", "verdict": "self"}
    mean, low, high = (_signed(v, column["digits"]) for v in (found.mean, found.low, found.high))
    verdict = ("ahead" if found.mean > 0 else "behind") if found.certain else "level"
    text = f"({mean})" if verdict == "level" else mean
    return {"text": text, "interval": f"{low} to {high}", "verdict": verdict}


def _signed(value: float, digits: int) -> str:
    value = round(value, digits) + 0.0  # no −0.00
    return ("+" if value > 0 else "") + number(value, digits)
