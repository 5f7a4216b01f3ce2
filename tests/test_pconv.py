"""Partial convolutions: what they see, and how what is known grows."""

import torch

from gapfill import masks
from gapfill.models.pconv import PartialConv


def bare(kernel=3, stride=1):
    """A layer without BatchNorm whose weights all are one, for one channel."""
    layer = PartialConv(1, 1, kernel, stride)
    layer.norm = torch.nn.Identity()
    torch.nn.init.ones_(layer.convolution.weight)
    return layer


def test_a_constant_stays_what_it_is_wherever_anything_is_known():
    known = 1 - masks.draw("brush", range(4), 32)
    with torch.no_grad():
        x, seen = bare()(0.5 * known, known)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(x[inside], 9 * 0.5 * seen[inside])


def test_one_known_pixel_is_seen_by_its_neighbours_and_nobody_else():
    known = torch.zeros(1, 1, 9, 9)
    known[..., 4, 4] = 1
    with torch.no_grad():
        x, seen = bare()(known, known)
    assert seen.sum() == 9
    assert seen[..., 3:6, 3:6].all()
    assert torch.equal(x != 0, seen != 0)


def test_with_all_known_it_is_a_convolution():
    layer, x = bare(5, 2), torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        y, seen = layer(x, torch.ones_like(x))
        plain = layer.convolution(x)
    assert seen.all()
    torch.testing.assert_close(y[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1])


def test_two_maps_with_different_holes_share_one_window():
    layer = PartialConv(3, 1, 1)
    layer.norm = torch.nn.Identity()
    torch.nn.init.ones_(layer.convolution.weight)
    # Two channels of three are known: their sum is scaled up by 3/2.
    x = torch.tensor([2.0, 4.0, 0.0]).view(1, 3, 1, 1)
    with torch.no_grad():
        y, _ = layer(x, torch.full((1, 1, 1, 1), 2 / 3))
    torch.testing.assert_close(y.item(), 9.0)


def test_the_share_that_is_known_makes_no_map_float32():
    with torch.autocast("cpu", torch.bfloat16):
        x, seen = PartialConv(4, 8)(torch.rand(2, 4, 8, 8), torch.ones(2, 1, 8, 8))
    assert x.dtype == torch.bfloat16
    assert seen.dtype == torch.float32
