"""The paper's seven changes from a plain GAN to a DCGAN, read off the modules themselves."""

import pytest
import torch
from torch import nn

import gapfill
from gapfill import losses
from gapfill.types import Batch

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@pytest.fixture
def paper():
    return gapfill.create("dcgan", recipe="paper", width=8, critic_width=8)


@pytest.fixture
def plain():
    return gapfill.create("gan", width=8)


def kinds(module):
    return [type(part) for part in module.modules() if not list(part.children())]


def leaves(module):
    return [part for part in module.modules() if not list(part.children())]


def test_1_strides_take_the_place_of_pooling(paper, plain):
    assert nn.MaxPool2d in kinds(plain.generator)
    assert nn.MaxPool2d in kinds(plain.critic)
    assert not any("Pool" in kind.__name__ or kind is nn.Upsample for kind in kinds(paper))
    strided = [part.stride for part in leaves(paper.critic) if isinstance(part, nn.Conv2d)]
    assert strided[:-1] == [(2, 2)] * 4
    widening = [part for part in leaves(paper.generator) if isinstance(part, nn.ConvTranspose2d)]
    assert [part.stride for part in widening] == [(2, 2)] * 4


@pytest.mark.parametrize("player", ["generator", "critic"])
def test_2_batchnorm_stands_between_convolution_and_activation(paper, plain, player):
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in kinds(getattr(plain, player)))
    parts = leaves(getattr(paper, player))
    convolutions = [i for i, part in enumerate(parts) if isinstance(part, CONVOLUTIONS)]
    normalised = [
        isinstance(parts[i + 1 : i + 2][0:1] and parts[i + 1], nn.BatchNorm2d)
        if i + 1 < len(parts)
        else False
        for i in convolutions
    ]
    # Not on the generator's output, the critic's input layer and its logit.
    first = player == "generator"
    assert normalised == [first, *[True] * (len(convolutions) - 2), False]
    for i, has in zip(convolutions, normalised, strict=True):
        if has:
            assert isinstance(parts[i + 2], nn.ReLU | nn.LeakyReLU)


def test_3_there_is_no_dense_layer(paper, plain):
    assert nn.Linear in kinds(plain.generator)
    assert nn.Linear in kinds(plain.critic)
    assert nn.Linear not in kinds(paper)


def test_4_nothing_is_flattened(paper, plain):
    assert nn.Flatten in kinds(plain.generator)
    assert nn.Flatten not in kinds(paper)


def test_5_the_discriminator_has_relu_and_a_sigmoid_output(paper):
    activations = {kind for kind in kinds(paper.critic) if "ReLU" in kind.__name__}
    assert activations == {nn.ReLU}
    # The sigmoid lives in the loss, on logits, where it cannot saturate to exactly 1.
    logits = torch.tensor([-2.0, 0.5])
    expected = -torch.log(torch.sigmoid(logits)).mean()
    torch.testing.assert_close(losses.real(logits), expected)


def test_6_the_generator_has_leaky_relu_and_a_tanh_output(paper):
    parts = leaves(paper.generator)
    activations = {type(part) for part in parts if "ReLU" in type(part).__name__}
    assert activations == {nn.LeakyReLU}
    assert isinstance(parts[-1], nn.Tanh)


def test_7_the_input_is_the_broken_picture_trained_in_pairs_with_the_whole_one(paper):
    assert leaves(paper.generator)[0].in_channels == 3
    seen = []
    paper.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = Batch(torch.rand(2, 3, 64, 64) * 2 - 1, torch.zeros(2, 1, 64, 64))
    batch.mask[:, :, 16:48, 16:48] = 1
    terms = paper.loss(batch)
    assert torch.equal(seen[0], batch.image * (1 - batch.mask))
    assert set(terms) == {"l1", "l2", "gradient", "adversarial"}


def test_the_critic_sees_composites_and_not_raw_output():
    model = gapfill.create("dcgan", width=8, critic_width=8)
    seen = []
    model.critic.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = Batch(torch.rand(2, 3, 64, 64) * 2 - 1, torch.zeros(2, 1, 64, 64))
    batch.mask[:, :, :32] = 1
    model.critic_loss(batch)
    model.loss(batch)
    assert len(seen) == 3
    for pictures in seen:
        assert torch.equal(pictures[:, :, 32:], batch.image[:, :, 32:])


def test_the_radford_recipe_is_the_other_way_round():
    model = gapfill.create("dcgan", recipe="radford", width=8, critic_width=8)
    assert leaves(model.generator)[0].in_channels == 4
    assert nn.LeakyReLU in kinds(model.critic)
    assert nn.ReLU not in kinds(model.critic)


def test_the_paper_recipe_saturates_and_the_other_does_not():
    sure = torch.full((4,), -8.0, requires_grad=True)
    losses.saturating(sure).backward()
    assert sure.grad.abs().max() < 1e-3
    sure.grad = None
    losses.real(sure).backward()
    assert sure.grad.abs().min() > 0.2


@pytest.mark.parametrize("name", ["cnn", "dcgan"])
@pytest.mark.parametrize("size", [28, 48, 100, 256])
def test_any_multiple_of_4_from_28_to_256_works(name, size):
    model = gapfill.create(name, size=size, width=4)
    batch = Batch(torch.rand(2, 3, size, size), torch.ones(2, 1, size, size))
    assert model.fill(batch.known, batch.mask).shape == batch.image.shape
    if name == "dcgan":
        assert model.critic(batch.image, batch.mask).shape == (2,)


def test_cnn_reconstructs_and_has_no_adversary():
    model = gapfill.create("cnn", width=4)
    assert [update.name for update in model.updates()] == ["network"]
    assert not any("critic" in name for name, _ in model.named_modules())


@pytest.mark.parametrize(("name", "low", "high"), [("cnn", 7e6, 9e6), ("dcgan", 9e6, 12e6)])
def test_the_sizes_are_those_of_the_documentation(name, low, high):
    count = sum(weight.numel() for weight in gapfill.create(name).parameters())
    assert low < count < high
