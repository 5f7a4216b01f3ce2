"""Convolutions as matrix products: the parent's numbers, in every direction."""

import pytest
import torch
from torch import nn

from gapfill.nets import products as module
from gapfill.nets.products import Conv2d, ConvTranspose2d

LAYERS = {
    "down": (Conv2d, nn.Conv2d, (6, 10, 4, 2, 1), 8),
    "same": (Conv2d, nn.Conv2d, (6, 10, 3, 1, 1), 4),
    "last": (Conv2d, nn.Conv2d, (6, 1, 4), 4),
    "odd": (Conv2d, nn.Conv2d, (6, 10, 5, 3, 2), 9),
    "up": (ConvTranspose2d, nn.ConvTranspose2d, (10, 6, 4, 2, 1), 4),
    "up odd": (ConvTranspose2d, nn.ConvTranspose2d, (10, 6, 5, 3, 2), 4),
}


def pair(name, bias=True):
    ours, parent, sizes, side = LAYERS[name]
    torch.manual_seed(0)
    layer, reference = ours(*sizes, bias=bias).double(), parent(*sizes, bias=bias).double()
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(1, sizes[0], side, side, dtype=torch.double, requires_grad=True)
    return layer, reference, x


@pytest.fixture
def products(monkeypatch):
    """Every layer as a product, and a count of how many were."""
    made = []
    real = module._matrix

    def counting(weight):
        made.append(weight.shape)
        return real(weight)

    monkeypatch.setattr(module, "_matrix", counting)
    return made


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_result_gradients_and_their_gradients_are_the_parents(name, bias, products, monkeypatch):
    monkeypatch.setattr(module, "_pays", lambda *_: True)
    layer, reference, x = pair(name, bias)
    found = []
    for each in (layer, reference):
        result = each(x)
        weights = [x, *each.parameters()]
        first = torch.autograd.grad(result.square().sum(), weights, create_graph=True)
        penalty = sum(gradient.square().sum() for gradient in first)
        found.append([result, *first, *torch.autograd.grad(penalty, weights)])
    assert products
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_only_the_gradient_that_is_asked_for_is_computed(monkeypatch):
    monkeypatch.setattr(module, "_pays", lambda *_: True)
    layer, _, x = pair("down")
    folds = []
    real = module._Fold.apply
    monkeypatch.setattr(
        module._Fold,
        "apply",
        lambda *given: folds.append(1) or real(*given),
        raising=False,
    )
    layer(x).sum().backward(inputs=[layer.weight])
    assert x.grad is None
    assert not folds


def test_a_deep_layer_is_a_product_and_a_shallow_one_is_not(products):
    Conv2d(256, 256, 4, 2, 1)(torch.randn(2, 256, 8, 8))
    assert len(products) == 1
    Conv2d(4, 64, 4, 2, 1)(torch.randn(2, 4, 64, 64))
    Conv2d(256, 256, 4, 2, 1)(torch.randn(256, 256, 8, 8))
    assert len(products) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"groups": 2},
        {"dilation": 2},
        {"padding_mode": "reflect"},
        {"padding": (1, 0)},
        {"padding": "same"},
    ],
    ids=str,
)
def test_what_is_no_plain_convolution_is_left_to_the_parent(settings, products):
    layer = Conv2d(128, 128, 3, **({"padding": 1} | settings))
    reference = nn.Conv2d(128, 128, 3, **({"padding": 1} | settings))
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(1, 128, 6, 6)
    assert torch.equal(layer(x), reference(x))
    assert not products


def test_an_output_size_is_left_to_the_parent(products):
    layer = ConvTranspose2d(128, 128, 4, 2, 1)
    assert layer(torch.randn(1, 128, 2, 2), output_size=[5, 5]).shape[-1] == 5
    assert not products


def test_autocast_is_obeyed(products):
    layer = Conv2d(128, 128, 4, 2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 128, 4, 4)).dtype == torch.bfloat16
    assert products
