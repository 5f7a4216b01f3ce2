"""What critics judge: crops, views, composites."""

import pytest
import torch
from torch import nn

import gapfill
from gapfill import masks, nets
from gapfill.models._adversarial import Adversarial
from gapfill.registry import model_class
from gapfill.types import Batch

SMALL = {"size": 32, "width": 4, "critic_width": 4}


def small(name, **settings):
    fields = model_class(name).Config.__dataclass_fields__
    return gapfill.create(name, **{key: SMALL[key] for key in SMALL if key in fields}, **settings)


def numbered(count, size):
    """Pictures whose every pixel says where it is."""
    return torch.arange(count * size * size, dtype=torch.float32).view(count, 1, size, size)


def hole(size, top, left, height, width):
    mask = torch.zeros(1, 1, size, size)
    mask[..., top : top + height, left : left + width] = 1
    return mask


@pytest.mark.parametrize(
    ("where", "top", "left"),
    [
        ((8, 8, 16, 16), 8, 8),  # a square of half the side is the part itself
        ((12, 14, 4, 4), 6, 8),  # a smaller one is in its middle
        ((0, 30, 2, 2), 0, 16),  # at the border the part ends there
        ((0, 0, 32, 8), 8, 0),  # larger than the part: its middle
        ((31, 0, 1, 1), 16, 0),
    ],
)
def test_the_part_around_a_hole_is_centred_on_it_and_stays_in_the_picture(where, top, left):
    picture = numbered(1, 32)
    found = nets.crop_around(picture, hole(32, *where))
    assert torch.equal(found, picture[..., top : top + 16, left : left + 16])


def test_each_picture_of_a_batch_is_cut_around_its_own_hole():
    pictures, holes = numbered(6, 32), masks.draw("rect", range(6), 32, seed=4)
    together = nets.crop_around(pictures, holes)
    alone = [nets.crop_around(pictures[i : i + 1], holes[i : i + 1]) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))
    assert len({part[0, 0, 0].item() % 1024 for part in together}) > 1


@pytest.mark.parametrize("kind", list(masks.KINDS))
def test_any_kind_of_mask_has_a_part_around_its_hole(kind):
    holes = masks.draw(kind, range(8), 32)
    found = nets.crop_around(holes, holes)
    assert found.shape == (8, 1, 16, 16)
    assert (found.sum((1, 2, 3)) > 0).all()


def test_a_gradient_comes_back_to_the_pixels_that_were_cut_out():
    pictures = torch.zeros(2, 3, 16, 16, requires_grad=True)
    holes = torch.cat([hole(16, 0, 0, 2, 2), hole(16, 4, 4, 8, 8)])
    (slope,) = torch.autograd.grad(nets.crop_around(pictures, holes).sum(), pictures)
    assert torch.equal(slope[0, 0], hole(16, 0, 0, 8, 8)[0, 0])
    assert torch.equal(slope[1, 0], hole(16, 4, 4, 8, 8)[0, 0])


@pytest.mark.parametrize(
    ("view", "sides", "logits"), [("global", [32], 3), ("local", [16], 3), ("both", [32, 16], 6)]
)
def test_a_view_makes_a_critic_for_each_size_that_it_needs(view, sides, logits):
    made = []

    def make(size):
        made.append(size)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 1), nn.Flatten(0))

    critics = nets.Critics(make, 32, view)
    holes = masks.draw("rect", range(3), 32)
    assert critics(torch.zeros(3, 3, 32, 32), holes).shape == (logits,)
    assert made == sides


@pytest.mark.parametrize("view", ["global", "local", "both"])
def test_dcgan_takes_either_critic_or_both(view):
    model = small("dcgan", critics=view)
    batch = Batch(torch.rand(4, 3, 32, 32) * 2 - 1, masks.draw("rect", range(4), 32))
    assert set(model.critic) == ({"global", "local"} if view == "both" else {view})
    model.loss(batch)["adversarial"].backward()
    assert all(weight.grad is not None for weight in model.parameters())


ADVERSARIAL = [name for name in gapfill.list_models() if issubclass(model_class(name), Adversarial)]


def spied(way, shown):
    return lambda pictures, masks: shown.append(pictures) or way(pictures, masks)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_every_critic_is_shown_composites_and_never_raw_output(name, monkeypatch):
    model, shown = small(name), []
    # Some losses ask for a critic's feature maps instead of its logits alone.
    for way in {"forward", "maps"} & {*dir(model.critic)}:
        monkeypatch.setattr(model.critic, way, spied(getattr(model.critic, way), shown))
    batch = Batch(torch.rand(4, 3, 32, 32) * 2 - 1, masks.draw("rect", range(4), 32))
    known = (batch.mask == 0).expand_as(batch.image)
    model.critic_loss(batch)
    model.loss(batch)
    composites = [each for each in shown if torch.equal(each[known], batch.image[known])]
    # The penalty's pictures lie between real ones and composites, known pixels but for rounding.
    assert all(torch.allclose(each[known], batch.image[known], atol=1e-6) for each in shown)
    assert len(composites) >= 3


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_critic_does_not_reach_the_generator(name):
    model = small(name)
    batch = Batch(torch.rand(4, 3, 32, 32) * 2 - 1, masks.draw("rect", range(4), 32))
    sum(model.critic_loss(batch).values()).backward()
    assert all(weight.grad is None for weight in model.generator.parameters())
