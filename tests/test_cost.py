"""How a fill is timed."""

from types import SimpleNamespace

import pytest
import torch

from gapfill.compare import evaluate


@pytest.mark.parametrize(("seconds", "fills"), [(0.001, 32), (0.2, 8), (1.0, 5), (4.0, 3), (30, 1)])
def test_a_fast_fill_is_timed_often_and_a_slow_one_once(seconds, fills, monkeypatch):
    clock = SimpleNamespace(now=0.0, fills=0)

    def inpaint(image, mask):
        clock.now += seconds
        clock.fills += 1

    monkeypatch.setattr(evaluate, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    found = evaluate._median_seconds(
        SimpleNamespace(inpaint=inpaint), torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    )
    assert found == pytest.approx(seconds)
    assert clock.fills == fills
