"""Layers whose results PyTorch has too, in another memory format."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import pixel_shuffle

from gapfill import nets
from gapfill.nets.layers import PixelShuffle, in_rows

LAST = torch.channels_last


@pytest.mark.parametrize("memory", [LAST, torch.contiguous_format])
def test_the_mask_joins_pictures_in_their_own_memory_format(memory):
    known = torch.rand(2, 3, 8, 6).contiguous(memory_format=memory)
    mask = torch.rand(2, 1, 8, 6) < 0.5
    joined = nets.with_mask(known, mask)
    assert torch.equal(joined, torch.cat([known, mask.float()], 1))
    assert joined.is_contiguous(memory_format=memory)


def test_an_exported_graph_joins_them_by_one_operator():
    class Joined(torch.nn.Module):
        def forward(self, known, mask):
            return nets.with_mask(known.contiguous(memory_format=LAST), mask)

    program = torch.export.export(Joined(), (torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert not [name for name in called if "permute" in name]


@pytest.mark.parametrize("factor", [2, 3])
def test_pixels_shuffled_in_rows_are_those_of_pixel_shuffle(factor):
    maps = torch.rand(2, 3 * factor**2, 4, 5, requires_grad=True)
    made = [function(maps, factor) for function in (in_rows, pixel_shuffle)]
    assert torch.equal(*made)
    towards = torch.rand_like(made[0])
    assert torch.equal(*(torch.autograd.grad(each, maps, towards)[0] for each in made))


def test_on_cuda_shuffled_pixels_are_channels_last():
    with FakeTensorMode():
        maps = torch.rand(2, 12, 4, 4, device="cuda").contiguous(memory_format=LAST)
        assert PixelShuffle(2)(maps).is_contiguous(memory_format=LAST)
