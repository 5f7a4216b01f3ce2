"""gapfill against the plain loop: the same networks, pictures and batch, in turn, end to end."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from yardstick import PlainLoop, write_jpegs

import gapfill
from gapfill.data import Stream, open_table
from gapfill.data.squares import cpus

_EPOCHS = {"cpu": 1, "cuda": 30}  # enough to outweigh the capture of a graph
_PAIRS = 3
_WARM = 8  # steps, among which a graph is captured where there are graphs


@pytest.fixture(scope="module")
def jpegs(request: Any, tmp_path_factory: Any) -> Path:
    """A folder of JPEGs of CelebA's size."""
    given = request.config.getoption("--jpegs")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("jpegs")
    write_jpegs(folder, 2048)
    return folder


@pytest.mark.parametrize("network", ["cnn", "dcgan"])
def test_yardstick(
    benchmark: Any,
    jpegs: Path,
    network: str,
    device: torch.device,
    steps_of: int,
    say: Callable[[str], None],
) -> None:
    """From JPEGs to trained weights; each pair pays for a table on the one side."""
    epochs = _EPOCHS[device.type]
    plain = PlainLoop(jpegs, network, steps_of, device, cpus(), epochs=epochs)
    model = gapfill.create(network)
    plain.step(torch.zeros(steps_of, 3, 64, 64, device=device))
    images = open_table(jpegs, cache=False, progress=False).images
    model.fit(Stream(images, steps_of), steps=_WARM, quiet=True, device=str(device))

    def ours() -> int:
        table = open_table(jpegs, cache=False, progress=False)
        model.fit(Stream(table.images, steps_of), epochs=epochs, quiet=True, device=str(device))
        cost = model.training_cost or {}
        return cost["images"]

    rates: list[tuple[float, float]] = []

    def pair() -> None:
        found = []
        for loop in (plain.turn, ours):
            start = time.perf_counter()
            images = loop()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            found.append(images / (time.perf_counter() - start))
        rates.append((found[0], found[1]))

    benchmark.pedantic(pair, rounds=_PAIRS)
    ratios = [mine / other for other, mine in rates]
    typical = statistics.median(ratios)
    cost = model.training_cost or {}
    benchmark.extra_info |= {
        "model": network,
        "device": device.type,
        "batch": steps_of,
        "plain_images_per_second": [round(other, 1) for other, _ in rates],
        "images_per_second": [round(mine, 1) for _, mine in rates],
        "ratio": round(typical, 3),
        "precision": cost["precision"],
        "plain_precision": "fp32, convolutions in TF32" if device.type == "cuda" else "fp32",
        "mode": cost["mode"],
    }
    say(
        f"yardstick: {network}, batch {steps_of}, {device.type}: plain loop "
        f"{statistics.median(other for other, _ in rates):.0f} images/s, gapfill "
        f"{statistics.median(mine for _, mine in rates):.0f}; ratio {typical:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f} over {_PAIRS} pairs)"
    )
