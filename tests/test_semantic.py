"""The search for a picture that fits: weights, losses by picture, restarts."""

import pytest
import torch
from torch import nn

import gapfill
from gapfill import masks
from gapfill.models.semantic import context, nearness

TINY = {"size": 32, "width": 4, "critic_width": 4, "iterations": 6}


def ready(**settings):
    """A model that may be asked to fill, whose pictures differ from code to code."""
    torch.manual_seed(0)
    model = gapfill.create("semantic", **TINY | settings).eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                part.weight.mul_(6)
    model.trained = True
    return model


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, 3, 32, 32, generator=generator)


def test_a_known_pixel_weighs_the_share_of_missing_ones_around_it():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 10:20, 10:20] = 1
    weight = nearness(mask, 3)[0, 0]
    assert weight[9, 15].item() == pytest.approx(21 / 49)  # three rows of seven
    assert weight[9, 9].item() == pytest.approx(9 / 49)
    assert weight[7, 15].item() == pytest.approx(7 / 49)
    assert weight[6, 15] == 0


def test_the_weights_are_on_the_known_side_of_the_mask():
    holes = masks.draw("rect+brush+pixels", range(12), 32)
    weight = nearness(holes, 3)
    assert (weight * holes).abs().max() == 0
    assert torch.equal((weight > 0).float(), masks.ring(holes, 3))


def test_at_the_border_the_share_is_of_the_pixels_that_there_are():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 1:, :] = 1
    assert nearness(mask, 1)[0, 0, 0, 0].item() == pytest.approx(2 / 4)


def test_the_context_loss_is_a_sum_for_each_picture():
    made, known = torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    weight = torch.zeros(2, 1, 4, 4)
    weight[0, 0, 0, :2] = 0.5
    assert context(made, known, weight).tolist() == [3.0, 0.0]


@pytest.mark.parametrize("prior", [0.003, 100.0])
def test_a_search_does_not_depend_on_the_other_pictures(prior, pictures):
    model, holes = ready(prior=prior), masks.draw("rect", range(3), 32)
    together = model.inpaint(pictures, holes)
    for number in range(3):
        one = slice(number, number + 1)
        alone = model.inpaint(pictures[one], holes[one], first=number)
        # Another batch size rounds otherwise, some 1e-7 a convolution; six steps of Adam stay in
        # [-1, 1] and do not blow that up, while one loss for all pictures is off by 1e-2.
        assert (alone - together[one]).abs().max() < 1e-4


def test_the_prior_loss_takes_part_in_the_search(pictures):
    holes = masks.draw("center", range(3), 32)
    without, strong = (
        ready(prior=prior).inpaint(pictures, holes, seed=1) for prior in (0.0, 100.0)
    )
    assert not torch.allclose(without, strong, atol=1e-3)


def test_a_search_comes_nearer_to_what_is_known_and_stays_in_range(pictures):
    model, holes = ready(prior=0.0), masks.draw("center", range(3), 32)
    known, weight = (pictures * 2 - 1) * (1 - holes), nearness(holes, 3)
    with torch.no_grad():
        start = 2 * torch.rand(1, 100).expand(3, -1).clone() - 1
        before = context(model.generator(start), known, weight)
        code = model.search(start.clone(), known, weight)
        after = context(model.generator(code), known, weight)
    assert (after < before).all()
    assert code.abs().max() <= 1


def test_more_restarts_never_fit_worse(pictures):
    holes = masks.draw("center", range(3), 32)
    known, weight = (pictures * 2 - 1) * (1 - holes), nearness(holes, 3)
    errors = []
    for restarts in (1, 4):
        model = ready(restarts=restarts, blend=False)
        torch.manual_seed(5)
        with torch.no_grad():
            errors.append(context(model.fill(known, holes), known, weight))
    assert (errors[1] <= errors[0] + 1e-4).all()
    assert (errors[1] < errors[0] - 1e-4).any()


def test_the_search_leaves_weights_and_statistics_alone(pictures):
    model, holes = ready(), masks.draw("center", range(3), 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.inpaint(pictures, holes)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(weight.grad is None for weight in model.parameters())


def test_a_run_is_watched_on_as_many_pictures_as_the_model_says(tmp_path, monkeypatch):
    model, seen = gapfill.create("semantic", **TINY), []
    fill = type(model).fill
    monkeypatch.setattr(
        type(model),
        "fill",
        lambda self, known, mask: seen.append(len(known)) or fill(self, known, mask),
    )
    faces = (torch.rand(40, 3, 32, 32) * 255).byte()
    model.fit([faces[:4]], val=faces, steps=1, watch=1, device="cpu", quiet=True)
    assert seen == [model.watched]
