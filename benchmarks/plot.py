"""Charts of a benchmark's JSON.

python benchmarks/plot.py out.json docs/images
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_LABELS = {"batch": "pictures in a batch", "width": "width", "size": "side of the pictures"}


def found(path: Path, test: str) -> list[dict[str, Any]]:
    """What a test of the benchmarks measured, as dictionaries of facts."""
    entries = json.loads(path.read_text("utf-8"))["benchmarks"]
    return [
        entry["extra_info"] | {"median": entry["stats"]["median"]}
        for entry in entries
        if entry["name"].startswith(test)
    ]


def steps(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Training: pictures a second by model, precision and mode."""
    rows = sorted(rows, key=lambda row: (row["model"], row["images_per_second"]))
    # A mode that was timed twice, as itself and as the best, is shown once.
    once = {f"{row['model']}, {row['precision']}, {row['mode']}": row for row in rows}
    bars = axes.barh(
        list(once), [row["images_per_second"] for row in once.values()], color="#4878a8"
    )
    texts = [
        f"{row['images_per_second']:.0f} ({row['share_of_flops']:.0%})" for row in once.values()
    ]
    axes.bar_label(bars, texts, padding=3)
    axes.margins(x=0.25)
    axes.set_xlabel("pictures trained a second (share of the measured bf16 ceiling)")
    axes.set_title(f"one training step, batch {rows[0]['images']}, {rows[0]['device']}")


def scaling(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Training of `dcgan`: how pictures a second change with one setting."""
    usual = [row for row in rows if row["scaled"] == "batch" and row["value"] == 64]
    for what, label in _LABELS.items():
        # Batch, width and side are 64 each where they are not what is changed.
        line = [row for row in rows if row["scaled"] == what and row not in usual] + usual
        points = sorted(
            (64 if row in usual else row["value"], row["images_per_second"]) for row in line
        )
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="value", ylabel="pictures trained a second")
    axes.set_title("dcgan, one thing changed at a time")
    axes.legend()


def main(source: str, folder: str) -> None:
    """Write `performance-DEVICE.png` for each device that was measured."""
    path = Path(source)
    training = [row for row in found(path, "test_training_step") if row["images"] == 64]
    growth = found(path, "test_scaling")
    for device in sorted({row["device"] for row in training}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
        steps(left, [row for row in training if row["device"] == device])
        scaling(right, [row for row in growth if row["device"] == device])
        figure.savefig(Path(folder) / f"performance-{device}.png", dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
