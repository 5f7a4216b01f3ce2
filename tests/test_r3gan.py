"""R3GAN: pairs, penalties by finite differences, blocks that begin as their skips."""

import math

import pytest
import torch
from torch import nn

import gapfill
from gapfill import losses, masks, nets
from gapfill.nets.unet import Attention, Residual
from gapfill.types import Batch


def small(**settings):
    model = gapfill.create("r3gan", size=32, width=4, critic_width=4, **settings)
    for weight in model.critic.parameters():  # branches begin at zero: here they take part
        nn.init.normal_(weight, std=0.2)
    return model


def pairs(count=3):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 3, 32, 32, generator=generator) * 2 - 1
    return Batch(image, masks.draw("rect", range(count), 32))


def exact(model):
    """The critic in float64, for pictures of any precision."""
    critic = model.critic.double()
    return lambda pictures, mask: critic(pictures.double(), mask.double())


def spot(shape, seed):
    direction = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (direction / direction.norm()).double()


def penalties(model, batch, judge):
    terms = model.critic_loss(batch, judge)
    return torch.stack([terms["r1"], terms["r2"]]).double()


def test_the_penalties_are_squared_slopes_by_finite_differences():
    model, batch = small(penalty=2.0, perceptual=0.0), pairs(1)
    judge, h = exact(model), 1e-4
    found = penalties(model, batch, judge)
    made = batch.paste(model.filled(batch)).detach()
    for pictures, penalty in zip((batch.image, made), found, strict=True):
        # The slope along its own direction is its length: the central difference is off by h².
        _, slope = losses.with_slope(lambda x: judge(x, batch.mask), pictures)
        length = slope.norm().double()
        along = slope.double() / length
        step = [judge(pictures.double() + sign * h * along, batch.mask).item() for sign in (1, -1)]
        assert (step[0] - step[1]) / (2 * h) == pytest.approx(length.item(), rel=1e-4)
        # And it has no part across: other directions see their share of it.
        across = spot(pictures.shape, 2)
        step = [judge(pictures.double() + sign * h * across, batch.mask).item() for sign in (1, -1)]
        share = (across * slope).sum().item()
        assert (step[0] - step[1]) / (2 * h) == pytest.approx(share, rel=1e-3, abs=1e-6)
        # Float32 slopes: their squares agree to some 1e-6.
        assert penalty.item() == pytest.approx(length.item() ** 2, rel=1e-4)


def test_the_penalties_pull_on_the_critic_as_finite_differences_say():
    model, batch = small(perceptual=0.0), pairs()
    judge = exact(model)
    weights = [weight for weight in model.critic.parameters() if weight.ndim > 1]
    directions = [spot(weight.shape, number) for number, weight in enumerate(weights)]
    slopes = torch.autograd.grad(penalties(model, batch, judge).sum(), weights)
    found = sum((slope * way).sum().item() for slope, way in zip(slopes, directions, strict=True))

    def moved(h):
        with torch.no_grad():
            for weight, way in zip(weights, directions, strict=True):
                weight += h * way
        return penalties(model, batch, judge).sum().item()

    h = 1e-3  # the penalty is rounded to float32: a smaller step would divide that by more
    expected = (moved(h) - moved(-2 * h)) / (2 * h)
    assert found == pytest.approx(expected, rel=1e-2)
    assert abs(found) > 1e-3


def test_the_slopes_are_taken_at_the_first_pictures_of_a_batch():
    model, batch = small(penalised=2, perceptual=0.0), pairs(5)
    first = Batch(batch.image[:2], batch.mask[:2])
    model.eval()
    torch.testing.assert_close(
        penalties(model, batch, model.critic), penalties(model, first, model.critic)
    )


def test_each_logit_is_measured_against_the_one_beside_it():
    made, real = torch.tensor([0.0, 3.0]), torch.tensor([0.0, -1.0])
    expected = (math.log(2) + math.log1p(math.exp(-4))) / 2
    assert losses.ahead(made, real).item() == pytest.approx(expected)
    assert losses.ahead(made + 7, real + 7).item() == pytest.approx(expected)
    assert losses.ahead(real, made).item() > losses.ahead(made, real).item()


def test_the_players_want_the_opposite_of_the_same_pairs():
    model, batch = small(adversarial=1.0, perceptual=0.0).eval(), pairs()
    with torch.no_grad():
        on_real = model.critic(batch.image, batch.mask)
        on_made = model.critic(batch.paste(model.filled(batch)), batch.mask)
    assert model.critic_loss(batch)["relativistic"].item() == pytest.approx(
        losses.ahead(on_real, on_made).item()
    )
    assert model.loss(batch)["adversarial"].item() == pytest.approx(
        losses.ahead(on_made, on_real).item()
    )


def test_the_generators_loss_has_no_gradient_through_the_real_picture():
    model, batch = small(perceptual=0.0), pairs()
    batch.image.requires_grad_()
    (slope,) = torch.autograd.grad(model.loss(batch)["adversarial"], batch.image)
    assert (slope * batch.mask).abs().max() == 0
    assert (slope * (1 - batch.mask)).abs().max() > 0  # what is known is in the composite too


@pytest.mark.parametrize("normed", [True, False])
def test_no_critic_is_normalised_and_every_block_begins_as_its_skip(normed):
    model = gapfill.create("r3gan", size=32, width=4, critic_width=4, normed=normed)
    parts = list(model.modules())

    def has_norms(module):
        kinds = nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm
        return any(isinstance(part, kinds) for part in module.modules())

    assert not has_norms(model.critic)
    assert has_norms(model.generator) == normed
    blocks = [part for part in parts if isinstance(part, Residual | Attention)]
    assert len(blocks) > 8
    for block in blocks:
        last = block.second[-1] if isinstance(block, Residual) else block.out
        assert last.weight.count_nonzero() == 0
        assert normed or last.bias.count_nonzero() == 0


def test_without_normalisation_a_picture_does_not_hear_its_neighbours_while_training():
    model = gapfill.create("r3gan", size=32, width=4, critic_width=4, dropout=0.0, normed=False)
    model.train()
    known, mask = torch.randn(3, 3, 32, 32), torch.ones(3, 1, 32, 32)
    together = model.fill(known, mask)
    torch.testing.assert_close(model.fill(known[1:2], mask[1:2])[0], together[1])


@pytest.mark.parametrize("width", [4, 32])
def test_the_signal_keeps_its_size_through_the_first_network(width):
    torch.manual_seed(0)
    net = nets.UNet(4, width, normed=False)
    nets.initialise_residual(net)
    found = net(torch.randn(4, 4, 64, 64)).std().item()
    assert 0.2 < found < 5  # some dozen layers: a constant factor of 0.8 or 1.3 each would show
