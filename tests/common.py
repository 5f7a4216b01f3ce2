"""What tests of several modules need."""

import pytest
import torch

from gapfill import trunks
from gapfill.data import Stream
from gapfill.errors import UsageError


def message(call, *arguments, error=UsageError, **keywords):
    """The one line that a call refuses its arguments with."""
    with pytest.raises(error) as caught:
        call(*arguments, **keywords)
    text = str(caught.value)
    assert "\n" not in text
    return text


def numbered(count, size=8):
    """Pictures that say their number in every pixel but the left column, which is 255."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, size, size)
    images[..., 0] = 255
    return images


def random_weights(name):
    """A trunk of LPIPS with weights that mean nothing, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = torch.nn.Sequential(*trunks.TRUNKS[name].modules())
    return {f"features.{key}": weights.detach() for key, weights in layers.named_parameters()}


class Killed(Exception):  # noqa: N818, not an error
    """Ends a run on its way."""


class Ending(Stream):
    """Pictures that end a run when it asks for the batch of step `last`."""

    def __init__(self, last, images, batch_size=4):
        super().__init__(images, batch_size)
        self.last = last

    def block(self, first, count):
        if first == self.last:
            raise Killed
        return super().block(first, count)


def same(one, two):
    """Whether two models have the same weights."""
    return all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))
