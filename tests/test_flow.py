"""Flows in the hole: the path, the steps, the noise, the two stages."""

import pytest
import torch

import gapfill
from gapfill import testing
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import Stream
from gapfill.models._perceptual import sees
from gapfill.registry import model_class
from gapfill.types import Batch

NAMES = [name for name in gapfill.list_models() if hasattr(model_class(name), "flow_loss")]


def small(name, **settings):
    model = gapfill.create(name, **({"size": 32, "width": 4, "steps": 3} | settings))
    model.trained = True
    return model


def batch(model):
    return MaskedBatches(Stream(testing.pictures(model), 6), "rect", 0, torch.device("cpu"))(0)


def test_there_are_flows():
    assert len(NAMES) >= 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_last_step_is_pasted_like_any(name, steps):
    model = small(name, steps=steps)
    image, mask = testing.pictures(model), testing.holes(model)
    for filled in model.sample(image, mask, n=2):
        known = (mask == 0).expand_as(image)
        assert torch.equal(filled[known], image[known])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_steps_end_at_the_last_guess(name, steps, monkeypatch):
    model = small(name, steps=steps)
    times = []

    def end(z, time, *others):
        times.append(time[0].item())
        return torch.full_like(z, time[0].item())

    monkeypatch.setattr(model, "end", end)
    found = model.fill(torch.zeros(2, 3, 32, 32), torch.ones(2, 1, 32, 32))
    assert times == pytest.approx([step / steps for step in range(steps)])
    torch.testing.assert_close(found, torch.full_like(found, times[-1]))


@pytest.mark.parametrize("name", NAMES)
def test_each_step_is_given_what_is_known(name, monkeypatch):
    model, seen = small(name), []
    image = torch.rand(2, 3, 32, 32)
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 8:20, 4:30] = 1
    flow = model.flow.forward

    def spy(x, time):
        seen.append(x)
        return flow(x, time)

    monkeypatch.setattr(model.flow, "forward", spy)
    model.fill(image * (1 - mask), mask)
    assert len(seen) == 3
    for x in seen:
        assert torch.equal(x[:, :3] * (1 - mask), image * (1 - mask))
        assert torch.equal(x[:, 3:4], mask)
    assert not torch.equal(seen[0] * mask, seen[2] * mask)


@pytest.mark.parametrize("name", NAMES)
def test_a_guess_at_the_end_of_the_line_is_the_place_itself(name):
    model = small(name)
    one = batch(model)
    centre = model.centre(one.known, one.mask)
    z, last = torch.randn_like(one.image), torch.ones(len(one.image))
    torch.testing.assert_close(model.end(z, last, one.known, one.mask, centre), z)


@pytest.mark.parametrize("name", NAMES)
def test_a_guess_before_the_start_owes_the_noise_nothing(name, monkeypatch):
    model = small(name)
    one = batch(model)
    centre = model.centre(one.known, one.mask)
    monkeypatch.setattr(model.flow, "forward", lambda x, time: torch.zeros_like(x[:, :3]))
    z, first = torch.randn_like(one.image), torch.zeros(len(one.image))
    torch.testing.assert_close(model.end(z, first, one.known, one.mask, centre), centre)


@pytest.mark.parametrize("name", NAMES)
def test_at_the_start_the_noise_hides_nothing_from_the_network(name):
    model = small(name).eval()
    one = batch(model)
    centre, first = model.centre(one.known, one.mask), torch.zeros(len(one.image))
    guesses = [
        model.end(torch.randn_like(one.image), first, one.known, one.mask, centre) for _ in range(2)
    ]
    assert torch.equal(*guesses)
    assert not torch.equal(guesses[0], centre)


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_costs_nothing_and_the_loss_is_the_velocitys_error(name, monkeypatch):
    model = small(name)
    one = batch(model)
    monkeypatch.setattr(model, "end", lambda z, *others: one.image)
    assert model.flow_loss(one)["velocity"].item() == 0

    def beside(z, time, *others):
        """The true velocity, one half too large."""
        return one.image + 0.5 * (1 - time[:, None, None, None])

    monkeypatch.setattr(model, "end", beside)
    assert model.flow_loss(one)["velocity"].item() == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_filling_and_training_draw_a_noise_for_each_picture(name, monkeypatch):
    model, states = small(name), []
    image = torch.zeros(3, 3, 32, 32)
    mask = torch.ones(3, 1, 32, 32)

    def end(z, *others):
        states.append(z.clone())
        return z

    monkeypatch.setattr(model, "end", end)
    with model.seeding(0, 0, 3):
        model.fill(image, mask)
    with model.seeding(0, 1, 2):
        model.fill(image[1:], mask[1:])
    model.flow_loss(Batch(image, mask))
    start, later, trained = states[0], states[model.config.steps], states[-1]
    torch.testing.assert_close(start[1:], later)
    for state in (start, trained):
        assert (state[0] - state[1]).abs().max() > 0.01


def test_samples_differ_in_the_hole_alone():
    model = small("flow")
    image, mask = testing.pictures(model), testing.holes(model)
    samples = model.sample(image, mask, n=3).float()
    spread = samples.std(0).mean(1, keepdim=True)
    assert (spread * (1 - mask)).max() == 0
    assert (spread > 1).float().mul(mask).sum() > 0.5 * mask.sum()


def test_the_first_stage_stays_as_it_is_in_the_second_phase(tmp_path):
    model = small("pmrf", mean_share=0.5)
    mean, flow = model.updates()
    assert [mean.when(step, 10) for step in (0, 4, 5, 9)] == [True, True, False, False]
    assert [flow.when(step, 10) for step in (0, 4, 5, 9)] == [False, False, True, True]
    one = batch(model)
    flow.loss(one)["velocity"].backward()
    assert all(weight.grad is None for weight in model.mean.parameters())
    assert all(weight.grad is not None for weight in model.flow.parameters())


def test_the_second_stage_learns_from_the_mean_that_filling_uses():
    model = small("pmrf", dropout=0.9)
    one = batch(model)
    model.train()
    trained = model.centre(one.known, one.mask)
    assert model.mean.training
    model.eval()
    assert torch.equal(trained, model.centre(one.known, one.mask))


@pytest.mark.skipif(not sees("alexnet"), reason="alexnet's weights are not on this machine")
def test_what_flow_looks_at_is_the_pasted_guess(monkeypatch):
    model = small("flow", perceptual=3.0)
    model.updates()
    one = batch(model)
    guess = torch.rand_like(one.image)
    monkeypatch.setattr(model, "end", lambda z, *others: guess)
    expected = 3 * model.eye.distance(one.paste(guess), one.image)
    assert model.flow_loss(one)["perceptual"].item() == pytest.approx(expected.item())
    assert "perceptual" not in small("flow", perceptual=0.0).flow_loss(one)
