"""All that is not a network: tables, feeding, masks, files, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from yardstick import write_jpegs

import gapfill
from gapfill import masks, report
from gapfill.compare import main as compare
from gapfill.data import Stream, open_table
from gapfill.data.faces import generate
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import open_source


def test_table(timed: Any, tmp_path: Path) -> None:
    """JPEGs of CelebA's size, cropped and reduced, on all cores."""
    count = 2000
    write_jpegs(tmp_path, count)
    seconds = timed(lambda: open_table(tmp_path, cache=False, progress=False), images=count, warm=1)
    assert seconds > 0


def test_generated_faces(timed: Any) -> None:
    """The embedded faces at 64×64."""
    timed(lambda: generate(256), images=256, warm=1)


@pytest.mark.parametrize("where", ["device", "host"])
def test_batch_stream(
    timed: Any, request: Any, monkeypatch: Any, device: torch.device, steps_of: int, where: str
) -> None:
    """Feeding alone: gather, mirror, scale and draw masks for one training step."""
    if where == "host" and device.type == "cpu":
        pytest.skip("on a CPU the host is the device")
    if where == "host":
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (0, 0))
    size = request.config.getoption("--bench-size")
    source = open_source(Stream(generate(max(2048, steps_of), size), steps_of), device)
    batches = MaskedBatches(source, "center", 0, device)
    steps = iter(range(10**9))
    count = source.ahead
    # Whole blocks, so that each round has its share of what is made some steps at a time.
    seconds = timed(
        lambda: batches(next(steps)).known,
        device,
        steps_of,
        calls=count,
        where=where,
    )
    request.getfixturevalue("benchmark").extra_info["ms_per_step"] = 1000 * seconds


@pytest.mark.parametrize("kind", list(masks.KINDS))
def test_mask_drawing(timed: Any, kind: str, device: torch.device) -> None:
    """1,024 masks of 64×64."""
    index = torch.arange(1024, device=device)
    timed(lambda: masks.draw(kind, index, 64), device, 1024, kind=kind)


def test_save(timed: Any, tmp_path: Path) -> None:
    """Write a model of 10 million weights, hashed and safe against a kill."""
    model = gapfill.create("dcgan")
    model.trained = True
    timed(lambda: model.save(tmp_path / "model"))


def test_load(timed: Any, tmp_path: Path) -> None:
    """Read it again, and check the hash."""
    model = gapfill.create("dcgan")
    model.trained = True
    model.save(tmp_path / "model")
    timed(lambda: gapfill.load(tmp_path / "model"))


def test_report(timed: Any, tmp_path: Path) -> None:
    """The page, tables and pictures of a small comparison."""
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    write_jpegs(pictures, 60)
    options = ["--data", str(pictures), "--models", "telea", "--out", str(out), "--quiet"]
    assert compare(options) == 0
    timed(lambda: report.write(out), warm=1)
