"""Critics of patches, Fourier convolutions, and the models that are made of them."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

import gapfill
from gapfill import losses, nets, testing
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import Stream
from gapfill.nets import ffc
from gapfill.types import Batch


def small(name, **settings):
    return gapfill.create(name, **({"size": 32, "width": 8, "critic_width": 4} | settings))


def batch(model):
    return MaskedBatches(Stream(testing.pictures(model), 6), "rect", 0, torch.device("cpu"))(0)


def test_a_logit_for_each_patch():
    critic = nets.PatchCritic(4, masked=True)
    logits = critic(torch.zeros(2, 3, 64, 64), torch.zeros(2, 1, 64, 64))
    assert logits.shape == (2, 1, 4, 4)
    assert not torch.equal(logits, critic(torch.zeros(2, 3, 64, 64), torch.ones(2, 1, 64, 64)))


def test_a_patchgans_logit_sees_thirty_eight_pixels_and_the_mask():
    critic = nets.PatchGAN(4).eval()
    picture = torch.zeros(1, 3, 96, 96, requires_grad=True)
    mask = torch.zeros(1, 1, 96, 96)
    logits = critic(picture, mask)
    assert logits.shape == (1, 1, 12, 12)
    assert not torch.equal(logits, critic(picture, mask + 1))
    (slope,) = torch.autograd.grad(logits[0, 0, 6, 6], picture)
    rows = slope.abs().sum((0, 1, 3)).nonzero().flatten()
    assert (rows.max() - rows.min() + 1).item() == 38


def test_a_critic_judges_each_picture_alone():
    critic = nets.PatchCritic(4, spectral=True)
    pictures, masks = torch.randn(3, 3, 32, 32), torch.zeros(3, 1, 32, 32)
    critic(pictures, masks)
    critic.eval()
    torch.testing.assert_close(critic(pictures[1:2], masks[1:2]), critic(pictures, masks)[1:2])


def test_spectral_norms_come_to_one():
    critic = nets.PatchCritic(4, spectral=True)
    for layer in critic.layers:
        torch.nn.init.normal_(layer.parametrizations.weight.original, std=3.0)
    for _ in range(50):
        critic(torch.randn(2, 3, 32, 32), torch.zeros(2, 1, 32, 32))
    for layer in critic.layers:
        # Fifty power iterations end within two hundredths, from whatever vector they begin.
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, 0.05)


def test_spectral_norms_survive_copying_and_saving():
    critic = nets.PatchCritic(4, spectral=True)
    pictures, masks = torch.randn(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    critic(pictures, masks)
    copied, loaded = deepcopy(critic), nets.PatchCritic(4, spectral=True)
    loaded.load_state_dict(critic.state_dict())
    for other in (copied, loaded):
        assert torch.equal(other.eval()(pictures, masks), critic.eval()(pictures, masks))


def test_the_fourier_unit_sees_the_whole_picture_at_once():
    unit = ffc.FourierUnit(4)
    x = torch.randn(2, 4, 16, 16, requires_grad=True)
    unit(x)[0, 0, 0, 0].backward()
    assert (x.grad[0].abs().sum(0) > 0).all()


@pytest.mark.parametrize("sides", [(8, 8), (6, 9)])
def test_fourier_transforms_stay_in_float32_under_autocast(sides, monkeypatch):
    seen = []
    forward, back = torch.fft.rfft2, torch.fft.irfft2

    def watch(function):
        def watched(x, *others, **settings):
            seen.append(x.dtype)
            return function(x, *others, **settings)

        return watched

    monkeypatch.setattr(torch.fft, "rfft2", watch(forward))
    monkeypatch.setattr(torch.fft, "irfft2", watch(back))
    block = nets.FFCBlock(8)
    with torch.autocast("cpu", torch.bfloat16):
        found = block(torch.randn(2, 8, *sides).bfloat16())
    assert found.shape == (2, 8, *sides)
    assert set(seen) == {torch.float32, torch.complex64}
    assert len(seen) == 4


def test_a_fourier_unit_that_leaves_the_waves_leaves_the_picture(monkeypatch):
    unit = ffc.FourierUnit(3)
    monkeypatch.setattr(unit, "layers", torch.nn.Identity())
    x = torch.randn(2, 3, 7, 10)
    torch.testing.assert_close(unit(x), x)


def test_both_streams_hear_each_other():
    layer = ffc.FFC(8)
    assert layer.local == 2
    x = torch.randn(2, 8, 8, 8, requires_grad=True)
    layer(x)[:, : layer.local].sum().backward()
    assert (x.grad.abs().sum((0, 2, 3)) > 0).all()


def test_matching_is_the_mean_over_the_maps():
    made = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 2, 2)]
    image = [torch.full((2, 3, 4, 4), 2.0), torch.full((2, 1, 2, 2), 1.0)]
    assert losses.matching(made, image).item() == pytest.approx((4 + 1) / 2)
    assert losses.matching(made, made).item() == 0


def test_gates_close_what_they_are_told_to():
    layer = nets.GatedConv(3, 5)
    with torch.no_grad():
        layer.both.weight[5:] = 0
        layer.both.bias[5:] = -100
    assert layer(torch.randn(2, 3, 8, 8)).abs().max() < 1e-20


def test_many_gated_layers_hand_the_picture_on():
    layers = torch.nn.Sequential(*(nets.GatedConv(32, 32) for _ in range(16)))
    with torch.no_grad():
        one, other = layers(torch.randn(2, 32, 8, 8))
    # Over 200 draws the spread lay between 1.7 and 43, and the difference at 0.95 of it or more;
    # PyTorch's own weights leave 0.02 and 1e-7.
    assert 0.1 < one.std() < 1000
    assert (one - other).std() > 0.3 * one.std()


def test_the_hinge_costs_nothing_beyond_the_margin(monkeypatch):
    model = small("gated")
    one = batch(model)

    def sure(pictures, masks):
        real = torch.equal(pictures, one.image)
        return torch.full((len(pictures), 1, 2, 2), 3.0 if real else -3.0)

    monkeypatch.setattr(model.critic, "forward", sure)
    terms = model.critic_loss(one)
    assert terms["real"].item() == terms["fake"].item() == 0
    assert terms["report/accuracy"].item() == 1


@pytest.mark.parametrize("name", ["gated", "lama"])
def test_the_critic_sees_composites_and_sends_the_generator_nothing(name, monkeypatch):
    model = small(name)
    one, seen = batch(model), []
    maps = model.critic.maps

    def spy(pictures, masks):
        seen.append(pictures)
        return maps(pictures, masks)

    monkeypatch.setattr(model.critic, "maps", spy)
    terms = model.critic_loss(one)
    for pictures in seen:
        outside = (one.mask == 0).expand_as(pictures)
        assert torch.equal(pictures[outside], one.image[outside])
    sum(terms[key] for key in terms if "/" not in key).backward()
    assert all(weight.grad is None for weight in model.generator.parameters())


def test_r1_is_the_squared_slope_on_real_pictures(monkeypatch):
    model = small("lama", r1=1.0)
    one = batch(model)

    def linear(pictures, masks):
        return F.avg_pool2d(pictures.mean(1, keepdim=True), 16) * 256 * 3

    monkeypatch.setattr(model.critic, "forward", linear)
    assert model.critic_loss(one)["r1"].item() == pytest.approx(3 * 32 * 32, rel=1e-4)


def test_patches_without_a_hole_count_as_real(monkeypatch):
    model = small("lama", r1=0.0)
    image, mask = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    mask[..., :16, :16] = 1
    logits = torch.full((2, 1, 2, 2), 50.0)
    logits[..., 0, 0] = -50.0

    def right(pictures, masks):
        return logits + 0 * pictures.sum()

    monkeypatch.setattr(model.critic, "forward", right)
    assert model.critic_loss(Batch(image, mask))["fake"].item() < 1e-6


@pytest.mark.parametrize("name", ["gated", "lama"])
def test_they_train_in_bfloat16(name):
    model = small(name)
    stream = Stream(testing.pictures(model, 8), batch_size=4)
    model.fit(stream, steps=3, precision="bf16", device="cpu", mask="brush", quiet=True)
    assert all(weight.isfinite().all() for weight in model.parameters())
