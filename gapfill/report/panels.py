"""The pictures and charts of the page, ready to be placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gapfill.report import charts
from gapfill.report.load import History, Pictures, under
from gapfill.report.pictures import corrupted, data_uri
from gapfill.report.scores import finite, listing, number, score


def grid_columns(
    results: dict[str, Any], pictures: Pictures, number: int = 0
) -> list[tuple[str, np.ndarray]]:
    """Return the columns of the grid: corrupted, each model that left pictures, real.

    Args:
        results: What results.json says.
        pictures: What pictures.npz holds.
        number: The place of the kind of masks, from 0; of further kinds there are fewer pictures.
    """
    start = under(number)
    filled = [
        (model["label"], pictures[f"{start}filled/{model['label']}"])
        for model in results["models"]
        if f"{start}filled/{model['label']}" in pictures
    ]
    mask = pictures[f"{start}mask"]
    real = pictures["real"][: len(mask)]
    return [("corrupted", corrupted(real, mask)), *filled, ("real", real)]


def further(results: dict[str, Any], pictures: Pictures) -> list[dict[str, Any]]:
    """Return the grids under the second kind of masks and those after it, each with its kind."""
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    return [
        {"kind": kind, **grid_rows(results, pictures, number)}
        for number, kind in enumerate(kinds)
        if number and f"{under(number)}mask" in pictures
    ]


def grid_rows(results: dict[str, Any], pictures: Pictures, number: int = 0) -> dict[str, Any]:
    """Return the grid's headings and its rows of (alternative text, data address)."""
    columns = grid_columns(results, pictures, number)
    rows = [
        [(_alt(heading, f"picture {n + 1}"), data_uri(column[n])) for heading, column in columns]
        for n in range(len(columns[0][1]))
    ]
    return {"headings": [heading for heading, _ in columns], "rows": rows}


def hero(results: dict[str, Any], grid: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the first row of the grid, cut to corrupted, the best fill and real.

    Returns:
        Heading, alternative text and data address of each picture.
    """
    kind = results["protocol"]["masks"][0]["kind"]
    means = {m["label"]: score(m, kind, "hole_psnr").mean for m in results["models"]}
    row = [(name, *cell) for name, cell in zip(grid["headings"], grid["rows"][0], strict=True)]
    fills = sorted(row[1:-1], key=lambda cell: -(means[cell[0]] or 0.0))
    return [row[0], *fills[:1], row[-1]]


def samples(results: dict[str, Any], pictures: Pictures, shown: int = 3) -> list[dict[str, Any]]:
    """Return, for each stochastic model, a few pictures with several fills of each."""
    blocks = []
    kind = results["protocol"]["masks"][0]["kind"]
    broken, real = corrupted(pictures["real"], pictures["mask"]), pictures["real"]
    for model in results["models"]:
        fills = pictures.get(f"samples/{model['label']}")
        if fills is None:
            continue
        rows = []
        for n in range(min(shown, fills.shape[1])):
            name = f"picture {n + 1}"
            rows.append(
                [
                    (_alt("corrupted", name), data_uri(broken[n])),
                    *(
                        (f"{name}, fill {s + 1} by {model['label']}", data_uri(fill[n]))
                        for s, fill in enumerate(fills)
                    ),
                    (_alt("real", name), data_uri(real[n])),
                ]
            )
        headings = ["corrupted", *(f"fill {s + 1}" for s in range(len(fills))), "real"]
        diversity = score(model, kind, "diversity")
        blocks.append(
            {
                "label": model["label"],
                "diversity": diversity.text(3) if diversity.mean is not None else "",
                "grid": {"headings": headings, "rows": rows},
            }
        )
    return blocks


def worst(results: dict[str, Any], pictures: Pictures) -> list[dict[str, Any]]:
    """Return each model's worst fills: a name, a score and the three pictures.

    Where some models learned, those that did not are folded away (`open` is false); where there are
    many, all are.
    """
    blocks, learned = [], any(model["learned"] for model in results["models"])
    many = len(results["models"]) > charts.FEW
    for model in results["models"]:
        label = model["label"]
        real, mask, filled = (
            pictures.get(f"worst_{part}/{label}") for part in ("real", "mask", "filled")
        )
        if real is None or mask is None or filled is None or not model["worst"]:
            continue
        broken = corrupted(real, mask)
        columns = (("corrupted", broken), (label, filled), ("real", real))
        cases = []
        for n, entry in enumerate(model["worst"][: len(real)]):
            name = entry["name"] or f"picture {entry['picture']}"
            images = [(_alt(heading, name), data_uri(part[n])) for heading, part in columns]
            psnr = number(finite(entry["hole_psnr"]), 1)
            cases.append({"name": name, "psnr": psnr, "pictures": images})
        wanted = not many and (model["learned"] or not learned)
        blocks.append({"label": label, "learned": model["learned"], "cases": cases, "open": wanted})
    return blocks


def _alt(heading: str, which: str) -> str:
    """Write the alternative text of a picture in a column."""
    plain = {"corrupted": f"{which} with its missing pixels gray", "real": f"{which}, the real one"}
    return plain.get(heading, f"{which} filled by {heading}")


def losses(results: dict[str, Any], histories: Sequence[History]) -> list[dict[str, Any]]:
    """Return the loss and validation charts of every model that left a log."""
    validation = [c for h in histories for c in h.role("validation").values()]
    shared = charts.value_range(validation) if validation else None
    blocks = []
    for model in results["models"]:
        label = model["label"]
        runs = [history for history in histories if history.label == label]
        panels = [
            _training(label, role, runs, shared if role == "validation" else None)
            for role in ("generator", "discriminator", "validation")
            if any(run.role(role) for run in runs)
        ]
        if panels:
            blocks.append({"label": label, "runs": len(runs), "panels": panels})
    return blocks


def _training(
    label: str, role: str, runs: Sequence[History], y_range: tuple[float, float] | None
) -> dict[str, Any]:
    """Return one training chart with its title, and a key where it shows several players."""
    names = list(dict.fromkeys(name for run in runs for name in run.role(role)))
    styles = {name: f"{role} p{place % 3}" for place, name in enumerate(names)}
    groups = [
        (styles[name] + (" other" if number else ""), curve)
        for number, run in enumerate(runs)
        for name, curve in run.role(role).items()
    ]
    title = f"{listing(names)} loss"
    if role == "validation":
        title = "hole PSNR on validation pictures, dB"
    chart = charts.curves(
        groups[::-1],  # the first run is drawn last, on top
        described=f"{label}: {title} over training steps",
        y_range=y_range,
    )
    if len(names) == 1:
        return {"title": title, "chart": chart, "keys": []}
    return {"title": "loss", "chart": chart, "keys": [(styles[name], name) for name in names]}


def scatters(results: dict[str, Any], kind: str) -> list[charts.Chart]:
    """Return quality against time and against work, each where two models or more have it."""
    models = results["models"]
    time = {m["label"]: finite((m["cost"] or {}).get("latency_ms")) for m in models}
    work = {m["label"]: (finite(m["macs"]) or 0.0) / 1e6 for m in models}
    drawn = (
        _scatter(results, kind, "ms to fill one picture", time),
        _scatter(results, kind, "million MACs (multiply-adds) to fill one picture", work),
    )
    return [chart for chart in drawn if chart is not None]


def _scatter(
    results: dict[str, Any], kind: str, title: str, cost: Mapping[str, float | None]
) -> charts.Chart | None:
    """Return hole PSNR against a cost for the models that have both, if there are two."""
    points = []
    for model in results["models"]:
        entry, x = score(model, kind, "hole_psnr"), cost[model["label"]]
        if entry.mean is not None and x:
            spread = 1.96 * (entry.se or 0.0)
            points.append(charts.Point(model["label"], x, entry.mean, spread, model["learned"]))
    if len(points) < 2:
        return None
    each = "; ".join(f"{p.name} {number(p.y, 2)} dB at {p.x:.3g}" for p in points)
    return charts.scatter(
        points,
        x_title=title,
        y_title="hole PSNR, dB",
        described=f"hole PSNR against {title}: {each}",
    )
