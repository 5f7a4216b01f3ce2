"""What a fill on CUDA moves in bf16: dtypes and layouts, found without a GPU on tensors of none."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gapfill

BATCH = 7
SIDE = 32
FEW = 4  # channels of pictures and masks, which are float32


class Maps(TorchDispatchMode):
    """Keeps what operators made: each map of more channels than a picture has."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.made += [(func._schema.name, each) for each in tree_leaves(result) if many(each)]
        return result


def many(value):
    """Whether it is maps of more channels than a picture has."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return False
    if value.ndim != 4 or len(value) != BATCH or value.shape[1:3] == (SIDE, SIDE):
        return False  # the last is a picture whose channels are its last dimension
    return value.shape[1] > FEW


def maps_of(name):
    """The maps of a training step's fill on a GPU, in bf16."""
    model = gapfill.create(name, size=SIDE, width=8).to(memory_format=torch.channels_last)
    with FakeTensorMode(), torch.device("cuda"):
        model._apply(lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype))
        image, mask = torch.rand(BATCH, 3, SIDE, SIDE), torch.rand(BATCH, 1, SIDE, SIDE)
        image = image.contiguous(memory_format=torch.channels_last)
        # As torch.autocast does, which asks for the GPU that is not here.
        torch.set_autocast_enabled("cuda", True)
        try:
            torch.set_autocast_dtype("cuda", torch.bfloat16)
            with Maps() as maps:
                model.fill(image, mask)
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()
    assert maps.made
    return maps.made


@pytest.mark.parametrize("name", ["unet", "gan", "gated", "pconv"])
def test_every_map_is_bf16(name):
    assert {operator for operator, each in maps_of(name) if each.dtype != torch.bfloat16} == set()
