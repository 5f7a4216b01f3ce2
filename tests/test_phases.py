"""Models that learn in phases."""

import numpy as np
import pytest
import torch

import gapfill
from gapfill import masks, nets
from gapfill.report.load import Curve, History
from gapfill.train.engine import Engine
from gapfill.train.schedule import factor
from gapfill.train.settings import Training
from gapfill.types import Batch, always, between, every, span

SMALL = {"size": 32, "width": 4, "critic_width": 4}


def turns(model, total=100):
    """The names of the updates whose turn it is, from which step on."""
    found = {}
    for step in range(total):
        names = [update.name for update in model.updates() if update.when(step, total)]
        found.setdefault(" ".join(names), step)
    return found


def test_glcic_learns_alone_then_its_critic_then_both():
    model = gapfill.create("glcic", **SMALL)
    assert turns(model) == {"reconstruction": 0, "critic": 18, "critic generator": 20}
    alone, _, both = model.updates()
    assert alone.weights[0] is both.weights[0]


def test_the_phases_of_glcic_share_one_optimiser():
    alone, critic, both = gapfill.create("glcic", **SMALL).updates()
    assert alone.optimizer is both.optimizer
    assert critic.optimizer is not both.optimizer


def test_gfc_takes_its_local_critic_first_and_then_the_global_one_too():
    assert turns(gapfill.create("gfc", **SMALL)) == {
        "reconstruction": 0,
        "local_critic local": 30,
        "local_critic critic generator": 50,
    }


def test_the_learning_rate_goes_down_to_the_end_of_each_phase():
    model = gapfill.create("pmrf", size=32, width=4, mean_share=0.4, lr=1.0)
    mean, flow = model.updates()
    engine = Engine(model, [mean, flow], Training(warmup=0.0), "fp32", "eager")
    engine.prepare(20)
    batch = Batch(torch.zeros(2, 3, 32, 32), masks.draw("center", range(2), 32))
    rates = {mean: [], flow: []}
    for step in range(20):
        engine.step(step, batch)
        turn = mean if step < 8 else flow
        rates[turn].append(turn.optimizer.param_groups[0]["lr"])
    for update, count in ((mean, 8), (flow, 12)):
        assert rates[update] == [factor(step, count) for step in range(count)]


@pytest.mark.parametrize("alone", [0.0, 1.0])
def test_a_phase_may_be_left_out(alone):
    for name in ("glcic", "gfc"):
        found = turns(gapfill.create(name, alone=alone, **SMALL))
        assert ("reconstruction" in found) == (alone == 1)


def test_blending_is_for_filling_and_not_for_training():
    torch.manual_seed(0)
    plain = gapfill.create("glcic", **SMALL)
    blended = gapfill.create("glcic", blend=True, **SMALL)
    blended.load_state_dict(plain.state_dict())
    holes = masks.draw("rect", range(4), 32)
    known = (torch.rand(4, 3, 32, 32) * 2 - 1) * (1 - holes)
    assert torch.equal(plain.train().fill(known, holes), blended.train().fill(known, holes))
    with torch.no_grad():
        raw, closed = plain.eval().fill(known, holes), blended.eval().fill(known, holes)
    assert torch.equal(closed, nets.poisson_blend(raw, known, holes))
    assert not torch.equal(closed * holes, raw * holes)


def test_the_charts_take_every_critic_for_one():
    curves = {
        f"{name}/loss": Curve(np.zeros(1), np.zeros(1))
        for name in ("local_critic", "critic", "local", "generator")
    }
    run = History("gfc", 0, curves)
    assert set(run.role("discriminator")) == {"local_critic", "critic"}
    assert set(run.role("generator")) == {"local", "generator"}


def test_a_long_run_knows_its_phases_at_once():
    total = 10**9
    assert span(always, total) == range(total)
    assert span(every(5), total) == range(4, total)
    assert span(every(7), total) == range(6, total // 7 * 7)
    assert span(between(0.2, 0.5), total) == range(total // 5, total // 2)
    assert not span(every(5), 4)
    assert not span(between(0.5, 0.5), total)


@pytest.mark.parametrize("total", [1, 4, 5, 12, 101])
@pytest.mark.parametrize(
    "when", [always, every(1), every(5), between(0, 0.2), between(0.3, 0.7), between(0.99)]
)
def test_a_phases_borders_are_those_that_walking_finds(when, total):
    walked = span(lambda step, total: when(step, total), total)
    assert list(span(when, total)) == list(walked)
    turns = [step for step in range(total) if when(step, total)]
    assert list(walked) == (list(range(turns[0], turns[-1] + 1)) if turns else [])
