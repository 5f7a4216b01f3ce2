"""What each measure brings to one training step, from the plain loop's to gapfill's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_models import make, train_steps
from yardstick import PlainLoop, write_jpegs

from gapfill.nets import products


@pytest.mark.parametrize("network", ["cnn", "dcgan"])
@pytest.mark.parametrize("improved", ["", "channels_last", "channels_last bf16"])
def test_plain_step(
    timed: Any, tmp_path: Path, network: str, improved: str, device: torch.device, steps_of: int
) -> None:
    """The plain loop's step on pictures that lie ready, with measures taken."""
    write_jpegs(tmp_path, 1)
    loop = PlainLoop(tmp_path, network, 1, device, 0, improved=improved.split())
    real = torch.rand(steps_of, 3, 64, 64, device=device) * 2 - 1
    facts = {"model": network, "measures": improved or "plain loop"}
    timed(lambda: loop.step(real), device, steps_of, **facts)


@pytest.mark.parametrize("network", ["cnn", "dcgan"])
@pytest.mark.parametrize("deep", ["convolutions", "products"])
def test_step(
    timed: Any, monkeypatch: Any, network: str, deep: str, device: torch.device, steps_of: int
) -> None:
    """Our step, feeding and averaged weights included, with deep layers as either."""
    if deep == "convolutions":
        monkeypatch.setattr(products, "_pays", lambda *_: False)
    model = make(network, 64, device)
    step, _, rounds = train_steps(model, steps_of, 64, device, "auto", "auto")
    timed(step, device, steps_of, **rounds, model=network, measures=f"gapfill, {deep}")
