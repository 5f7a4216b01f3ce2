"""Filling and training, over the registered models.

pytest benchmarks --benchmark-only
pytest benchmarks --benchmark-only --models '*' --precisions bf16 --modes auto
pytest benchmarks --benchmark-only --devices cuda --benchmark-json gpu.json
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from counting import count, shares
from timing import whole_blocks

import gapfill
from gapfill import Filler, masks
from gapfill.compare import evaluate
from gapfill.compute import autocast
from gapfill.data import Stream
from gapfill.data.faces import generate
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import open_source
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.registry import model_class
from gapfill.train import Trainer, Training

Ceilings = Callable[[torch.device], dict[str, float]]


def make(name: str, size: int, device: torch.device, **settings: Any) -> Inpainter:
    fields = model_class(name).Config.__dataclass_fields__
    settings |= {"size": size} if "size" in fields else {}
    model = gapfill.create(name, **settings)
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def train_steps(
    model: Inpainter, batch: int, size: int, device: torch.device, precision: Any, mode: Any
) -> tuple[Callable[[], Any], Trainer, dict[str, int]]:
    """A function that makes one training step, feeding included, who makes it, how it is timed.

    Rounds are of whole blocks of batches; the warm-up ends after the last capture.
    """
    source = open_source(Stream(generate(max(256, batch), size), batch), device)
    batches = MaskedBatches(source, "center", 0, device)
    settings = Training(steps=10**6, precision=precision, mode=mode)
    try:
        trainer = Trainer(model, model.updates(), batches, settings, quiet=True)
    except UsageError as error:
        pytest.skip(str(error))
    steps = trainer.stepper()
    calls = whole_blocks(source.ahead, device)
    return lambda: next(steps), trainer, {"calls": calls, "warm": 1 if calls > 1 else 3}


def test_forward(
    timed: Any,
    request: Any,
    ceilings: Ceilings,
    name: str,
    device: torch.device,
    forward_batch: int,
    precision: Any,
    mode: Any,
) -> None:
    """A prepared `Filler` in its mode; `eager` is `inpaint` as anyone calls it, in float32."""
    size, batch = request.config.getoption("--bench-size"), forward_batch
    if mode == "eager" and precision == "bf16":
        pytest.skip("inpaint fills in float32")
    model = make(name, size, device)
    model.trained = True
    images = generate(batch, size).to(device)
    holes = masks.draw("center", torch.arange(batch, device=device), size)
    fill: Callable[..., Any] = model.inpaint
    chosen = "eager"
    if mode != "eager":
        try:
            fill = filler = Filler(model, size, batch, precision=precision, mode=mode)
        except UsageError as error:
            pytest.skip(str(error))
        chosen = filler.mode
    seconds = timed(
        lambda: fill(images, holes),
        device,
        batch,
        model=name,
        precision=precision,
        mode=chosen,
        parameters=evaluate.count_parameters(model),
    )
    known = images.float() / 127.5 - 1
    with torch.no_grad(), autocast(device, precision):
        work = count(lambda: model.fill(known, holes))
    request.getfixturevalue("benchmark").extra_info |= shares(work, seconds, ceilings(device)) | {
        "macs": work.flops // 2 // batch
    }


def test_training_step(
    timed: Any,
    request: Any,
    ceilings: Ceilings,
    learned: str,
    device: torch.device,
    steps_of: int,
    precision: Any,
    mode: Any,
) -> None:
    """One step of the trainer: feeding, the updates of a run's beginning, averaged weights."""
    size = request.config.getoption("--bench-size")
    model = make(learned, size, device)
    step, trainer, rounds = train_steps(model, steps_of, size, device, precision, mode)
    if mode == "auto" and trainer.engine.mode in request.config.getoption("--modes"):
        pytest.skip(f"the best mode here is {trainer.engine.mode}, which is timed too")
    seconds = timed(
        step,
        device,
        steps_of,
        **rounds,
        model=learned,
        precision=precision,
        parameters=evaluate.count_parameters(model),
    )
    found = request.getfixturevalue("benchmark").extra_info
    found["mode"] = trainer.engine.mode  # now, as a step that cannot be captured is made by calls
    model = make(learned, size, device)
    eager, *_ = train_steps(model, steps_of, size, device, precision, "eager")
    eager()
    found |= shares(count(eager), seconds, ceilings(device))


@pytest.mark.parametrize(
    ("what", "value"),
    [
        *(("batch", batch) for batch in (16, 64, 256)),
        *(("width", width) for width in (32, 96)),
        *(("size", size) for size in (32, 128)),
    ],
)
def test_scaling(timed: Any, request: Any, device: torch.device, what: str, value: int) -> None:
    """The training step of `dcgan` in its best mode, one thing changed at a time."""
    setting = {"batch": 64, "width": 64, "size": 64} | {what: value}
    width = {"width": setting["width"], "critic_width": setting["width"]}
    model = make("dcgan", setting["size"], device, **width)
    batch, side = setting["batch"], setting["size"]
    step, trainer, rounds = train_steps(model, batch, side, device, "auto", "auto")
    timed(
        step,
        device,
        batch,
        **rounds,
        scaled=what,
        value=value,
        precision=trainer.engine.precision,
    )
    request.getfixturevalue("benchmark").extra_info["mode"] = trainer.engine.mode


def test_papers_experiment(benchmark: Any, learned: str, device: torch.device) -> None:
    """10,000 pictures, 25 epochs, batch 64: from the table in memory to a trained model."""
    if device.type == "cpu":
        pytest.skip("takes half an hour and more on a CPU")
    table = generate(10_000)
    model = make(learned, 64, device)
    benchmark.pedantic(
        lambda: model.fit(Stream(table, 64), epochs=25, quiet=True, device=str(device)),
        rounds=1,
    )
    cost = model.training_cost or {}
    benchmark.extra_info |= {"model": learned, "device": device.type} | cost
