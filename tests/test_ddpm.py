"""Diffusion over whole pictures: the schedule, the way of a fill, the noise of what is known."""

import math

import pytest
import torch

import gapfill
from gapfill import testing
from gapfill.models._diffusion import TIMES, path, signal
from gapfill.types import Batch


def small(**settings):
    model = gapfill.create("ddpm", **({"size": 32, "width": 4, "steps": 4, "jump": 2} | settings))
    model.trained = True
    return model


def test_the_schedule_has_the_numbers_of_its_source():
    share = signal()
    assert len(share) == TIMES + 1
    assert share[0] == 1
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    for time in (1, 250, 500, 900):
        bar = math.cos((time / TIMES + 0.008) / 1.008 * math.pi / 2) ** 2
        assert share[time].item() ** 2 == pytest.approx(bar / start)
    # Halfway nearly half of the variance is noise, and the last step leaves a thousandth of what
    # little the one before had.
    assert share[500].item() ** 2 == pytest.approx(0.494, abs=1e-3)
    assert (share[-1] / share[-2]).item() ** 2 == pytest.approx(1e-3)
    assert (share[1:] < share[:-1]).all()


@pytest.mark.parametrize(
    ("settings", "levels"),
    [
        ((3, 5, 9), [3, 2, 1, 0]),  # no stretch but the noisiest: straight
        ((4, 2, 1), [4, 3, 2, 1, 0]),
        ((4, 2, 2), [4, 3, 2, 1, 0, 2, 1, 0]),
        ((3, 1, 2), [3, 2, 1, 2, 1, 0, 1, 0]),
        ((6, 2, 2), [6, 5, 4, 3, 2, 4, 3, 2, 1, 0, 2, 1, 0]),
    ],
)
def test_a_fill_walks_each_stretch_as_often_as_it_is_told(settings, levels):
    assert path(*settings) == levels


@pytest.mark.parametrize(("steps", "jump", "resamplings"), [(20, 5, 3), (7, 2, 4), (9, 1, 1)])
def test_a_fill_asks_the_network_once_for_each_level_down(steps, jump, resamplings, monkeypatch):
    model, asked = small(steps=steps, jump=jump, resamplings=resamplings).eval(), []
    monkeypatch.setattr(
        model, "cleaner", lambda x, now, then: asked.append((now, then)) or torch.zeros_like(x)
    )
    model.fill(torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32))
    stretches = len(range(0, steps - jump, jump))
    assert len(asked) == steps + stretches * jump * (resamplings - 1)
    assert all(then < now for now, then in asked)
    assert asked[0][0] == TIMES
    assert asked[-1][1] == 0


@pytest.mark.parametrize("resamplings", [1, 3])
def test_what_is_known_is_as_noisy_as_the_schedule_says_at_every_level(resamplings, monkeypatch):
    model, states = small(steps=6, resamplings=resamplings).eval(), []
    cleaner = model.cleaner
    monkeypatch.setattr(
        model, "cleaner", lambda x, now, then: states.append((now, x)) or cleaner(x, now, then)
    )
    known = torch.full((8, 3, 32, 32), 0.6)
    mask = torch.zeros(8, 1, 32, 32)
    mask[..., :16, :] = 1
    torch.manual_seed(0)
    model.fill(known * (1 - mask), mask)
    assert len(states) == len(path(6, 2, resamplings)) - resamplings * 2 + 1
    for time, state in states[1:]:  # the first is noise and nothing else
        part, share = state[..., 16:, :], model.signal[time].item()
        # 12,288 numbers: the standard error of their mean is 0.009 and of their deviation 0.006.
        assert part.mean().item() == pytest.approx(0.6 * share, abs=0.05)
        assert part.std().item() == pytest.approx(math.sqrt(1 - share**2), abs=0.03)


def test_back_up_the_variance_is_what_the_schedule_says_there():
    model = small()
    torch.manual_seed(0)
    for now, then in ((0, 250), (250, 500), (500, 1000), (0, 1000)):
        share, later = model.signal[now].item(), model.signal[then].item()
        state = share * 0.6 + math.sqrt(1 - share**2) * torch.randn(20, 3, 32, 32)
        found = model.noisier(state, now, then)
        # 61,440 numbers: standard errors of 0.004 and 0.003.
        assert found.mean().item() == pytest.approx(0.6 * later, abs=0.02)
        assert found.std().item() == pytest.approx(math.sqrt(1 - later**2), abs=0.015)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_with_a_perfect_guess_a_step_lands_on_the_schedule(eta, monkeypatch):
    model = small(eta=eta).eval()
    picture, noise = torch.full((20, 3, 32, 32), 0.6), torch.randn(20, 3, 32, 32)
    torch.manual_seed(0)
    for now, then in ((750, 500), (500, 250), (250, 0)):
        a, b = model.signal[now], model.signal[then]
        left = (1 - a.square()).sqrt()
        monkeypatch.setattr(model.network, "forward", lambda x, t: a * noise - left * picture)  # noqa: B023
        found = model.cleaner(a * picture + left * noise, now, then)
        # 61,440 numbers: standard errors of 0.004 and 0.003.
        assert found.mean().item() == pytest.approx(0.6 * b.item(), abs=0.02)
        assert found.std().item() == pytest.approx(math.sqrt(1 - b.item() ** 2), abs=0.015)
        if eta == 0:  # nothing new: the same noise, less of it
            expected = b * picture + (1 - b.square()).clamp_min(0).sqrt() * noise
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_network_learns_the_velocity_and_never_hears_of_a_hole():
    model = small()
    image = testing.pictures(model).float() / 127.5 - 1
    losses = []
    for mask in (torch.zeros(6, 1, 32, 32), torch.ones(6, 1, 32, 32)):
        torch.manual_seed(0)
        losses.append(model.loss(Batch(image, mask))["velocity"].item())
    assert losses[0] == losses[1]
    assert losses[0] > 0


def test_another_seed_is_another_fill_and_fresh_noise_is_not_needed_for_that():
    model = small(eta=0.0)
    image, mask = testing.pictures(model), testing.holes(model)
    one, other, third = model.sample(image, mask, n=3)
    assert not torch.equal(one, other)
    assert not torch.equal(other, third)
    known = (mask == 0).expand_as(image)
    assert all(torch.equal(each[known], image[known]) for each in (one, other, third))
