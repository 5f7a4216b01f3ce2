"""Forward and training step of every registered model, synchronised inside the timed function.

pytest benchmarks --benchmark-only
pytest benchmarks --benchmark-only --models 'dcgan' --step-batch 512 --benchmark-json out.json
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import gapfill
from gapfill import evaluate, masks
from gapfill.data import Stream
from gapfill.data.faces import generate
from gapfill.data.feed import MaskedBatches
from gapfill.inpainter import Inpainter
from gapfill.registry import model_class
from gapfill.train import Trainer, Training


def make(name: str, size: int, device: torch.device) -> Inpainter:
    fields = model_class(name).Config.__dataclass_fields__
    model = gapfill.create(name, **({"size": size} if "size" in fields else {}))
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def synchronised(function: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """The function, ended only when the device has done what it was told."""

    def timed() -> None:
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return timed


def report(benchmark: Any, model: Inpainter, batch: int, device: torch.device, **more: Any) -> None:
    """What a reader needs to make sense of the time."""
    benchmark.extra_info |= {
        "device": device.type,
        "device_name": evaluate.environment(device, "")["device_name"],
        "torch": torch.__version__,
        "batch_size": batch,
        "parameters": evaluate.count_parameters(model),
        "images_per_second": round(batch / benchmark.stats.stats.median, 2),
        **more,
    }


@pytest.mark.parametrize("batch", ["one", "many"])
def test_forward(benchmark: Any, name: str, device: torch.device, batch: str, request: Any) -> None:
    """`inpaint` as users call it, checks and pasting included, in float32."""
    size = request.config.getoption("--bench-size")
    count = 1 if batch == "one" else request.config.getoption("--fill-batch")
    model = make(name, size, device)
    model.trained = True
    images = generate(count, size).to(device)
    holes = masks.draw("center", torch.arange(count, device=device), size)
    benchmark.pedantic(
        synchronised(lambda: model.inpaint(images, holes), device), rounds=10, warmup_rounds=3
    )
    macs = evaluate.count_macs(model, size)
    report(benchmark, model, count, device, precision="fp32", macs=macs)


def test_training_step(
    benchmark: Any, name: str, device: torch.device, precision: str, request: Any
) -> None:
    """One step of the trainer: batch, masks, every update, averaging."""
    size = request.config.getoption("--bench-size")
    count = request.config.getoption("--step-batch")
    model = make(name, size, device)
    updates = model.updates()
    if not updates:
        pytest.skip(f"{name} has no training step")
    stream = Stream(generate(max(256, count), size), count, device=device)
    batches = MaskedBatches(stream, "center", 0, device)
    settings = Training(steps=10**6, precision="bf16" if precision == "bf16" else "fp32")
    trainer = Trainer(model, updates, batches, settings, quiet=True)
    steps = trainer.stepper()
    benchmark.pedantic(
        synchronised(lambda: next(steps), device), rounds=8, warmup_rounds=3, iterations=1
    )
    report(benchmark, model, count, device, precision=precision)


def test_batch_stream(benchmark: Any, device: torch.device, request: Any) -> None:
    """Feeding alone: gather, flip, scale and draw masks for a training step."""
    size = request.config.getoption("--bench-size")
    count = request.config.getoption("--step-batch")
    stream = Stream(generate(max(256, count), size), count, device=device)
    batches = MaskedBatches(stream, "center", 0, device)
    steps = iter(range(10**9))
    benchmark.pedantic(
        synchronised(lambda: batches(next(steps)).known, device), rounds=50, warmup_rounds=5
    )
    benchmark.extra_info |= {"batch_size": count, "device": device.type}


def test_generated_faces(benchmark: Any) -> None:
    """The embedded faces, 256 at 64×64."""
    benchmark.pedantic(lambda: generate(256), rounds=5, warmup_rounds=1)
    benchmark.extra_info["images_per_second"] = round(256 / benchmark.stats.stats.median, 1)


@pytest.mark.parametrize("kind", list(masks.KINDS))
def test_mask_drawing(benchmark: Any, kind: str, device: torch.device) -> None:
    """64 masks of 64×64."""
    index = torch.arange(64, device=device)
    benchmark.pedantic(
        synchronised(lambda: masks.draw(kind, index, 64), device), rounds=20, warmup_rounds=3
    )
