"""Two fills of each picture, rewarded for their distance: what the reward is worth."""

import pytest
import torch

import gapfill
from gapfill import losses
from gapfill.models.rcgan import REWARD
from gapfill.types import Batch


@pytest.fixture
def model():
    made = gapfill.create("rcgan", size=32, width=4, critic_width=4, perceptual=0)
    made.trained = True
    return made


def batch(pictures):
    mask = torch.zeros(len(pictures), 1, 32, 32)
    mask[..., 8:24, 4:20] = 1
    return Batch(pictures, mask)


def test_fills_spread_as_a_gaussian_truth_does_cost_least():
    draws = torch.randn(3, 200_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    truth, one, other = draws
    hole = torch.ones_like(truth)

    def cost(spread, off=0.0):
        first, second = spread * one + off, spread * other + off
        apart = losses.l1(first, second, hole)
        return (losses.l1((first + second) / 2, truth, hole) - REWARD * apart).item()

    assert min((0.0, 0.5, 0.8, 1.0, 1.25, 2.0), key=cost) == 1.0
    assert cost(1.0) < cost(1.0, off=0.3)


def test_the_terms_are_those_of_the_mean_and_the_distance(model):
    seen = batch(torch.rand(3, 3, 32, 32) * 2 - 1)
    one, other = model.filled(seen), model.other(seen)
    terms = model.loss(seen)
    assert not torch.equal(one, other)
    middle = losses.l1((one + other) / 2, seen.image, seen.mask)
    torch.testing.assert_close(terms["l1"], middle)
    torch.testing.assert_close(terms["spread"], -0.5 * REWARD * losses.l1(one, other, seen.mask))


def test_noise_stands_in_the_hole_alone_and_in_squares(model, monkeypatch):
    looked_at = []
    inside = model.generator.forward
    monkeypatch.setattr(model.generator, "forward", lambda x: looked_at.append(x) or inside(x))
    seen = batch(torch.rand(2, 3, 32, 32))
    model.fill(seen.known, seen.mask)
    (x,) = looked_at
    assert torch.equal(x[:, :3] * (1 - seen.mask), seen.known)
    assert torch.equal(x[:, 3:], seen.mask)
    square = x[:, :3, 8:12, 4:8]
    assert torch.equal(square, square[..., :1, :1].expand_as(square))
    assert len(x[:, :3, 8:24, 4:20].unique()) == 2 * 3 * 16


def test_another_seed_is_another_fill_and_known_pixels_stay(model):
    picture = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    hole = batch(picture).mask.to(torch.uint8)
    first, second = model.sample(picture, hole, n=2)
    assert not torch.equal(first, second)
    assert torch.equal(first * (1 - hole), second * (1 - hole))
