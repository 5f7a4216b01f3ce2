"""WGAN-GP: every critic is held to a slope of 1 by itself."""

import pytest
from torch import nn

import gapfill
from gapfill import testing
from gapfill.types import Batch


class Steep(nn.Module):
    """A critic of one slope everywhere."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, pictures):
        return self.slope * pictures.mean((1, 2, 3)) * pictures[0].numel() ** 0.5


@pytest.mark.parametrize("slopes", [{"global": 3.0}, {"global": 3.0, "local": 0.5}])
def test_each_critic_is_held_to_a_slope_of_one(slopes):
    view = "both" if len(slopes) == 2 else "global"
    model = gapfill.create("wgan_gp", size=32, width=4, critic_width=4, critics=view)
    for name, slope in slopes.items():
        model.critic[name] = Steep(slope)
    image = testing.pictures(model, 4).float() / 127.5 - 1
    terms = model.eval().critic_loss(Batch(image, testing.holes(model, 4)))
    expected = [(slope - 1) ** 2 for slope in slopes.values()]
    assert terms["penalty"].item() == pytest.approx(10 * sum(expected) / len(expected), rel=1e-4)
