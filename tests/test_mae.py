"""The masked autoencoder: what its encoder sees, its patches, its two stages."""

import pytest
import torch

import gapfill
from gapfill import masks, testing
from gapfill.types import Batch


def small(**settings):
    narrow = {"size": 32, "width": 8, "depth": 2, "decoder_depth": 1, "refine": 4}
    return gapfill.create("mae", **(narrow | {"perceptual": 0.0} | settings)).eval()


def masked(model, seed=0):
    """A picture with its mask beside it, whose hidden part reaches over whole patches and parts."""
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:20] = 1  # with patches of 8: two whole ones, and two halves beside them
    return torch.cat([image * (1 - mask), mask], 1)


@pytest.mark.parametrize("patch", [4, 8])
def test_what_stands_in_a_wholly_hidden_patch_is_not_heard(patch):
    model = small(patch=patch)
    given = masked(model)
    other = given.clone()
    other[:, :3, 8:24, 8:16] = 5.0
    assert torch.equal(model.autoencoder(given), model.autoencoder(other))


def test_a_patch_that_is_partly_known_keeps_its_known_pixels():
    model = small(patch=8)
    given = masked(model)
    other = given.clone()
    other[:, :3, 8:24, 20:24] += 0.5  # the known half of a patch
    found = (model.autoencoder(given) - model.autoencoder(other)).abs()
    assert found[..., 8:16, 8:16].max() > 1e-4  # heard in a wholly hidden one, too


def test_the_encoder_attends_to_known_patches_and_to_each_itself(monkeypatch):
    model, shown = small(patch=8), []
    block = model.autoencoder.encoder[0].forward
    monkeypatch.setattr(
        model.autoencoder.encoder[0],
        "forward",
        lambda x, attn_mask: shown.append(attn_mask) or block(x, attn_mask=attn_mask),
    )
    model.autoencoder(masked(model))
    (sees,) = shown
    hidden = torch.zeros(16, dtype=torch.bool)
    hidden[[5, 9]] = True  # rows two and three, second column, of four by four
    expected = ~hidden[None, :] | torch.eye(16, dtype=torch.bool)
    assert torch.equal(sees[0, 0], expected)


def test_training_hides_more_patches_than_the_hole_and_a_fill_does_not():
    model = small(hidden=0.5, dropout=0.0)
    given = masked(model)
    assert torch.equal(model.autoencoder(given), model.autoencoder(given))
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model.autoencoder(given), model.autoencoder(given))
    model = small(hidden=0.0).train()
    assert torch.equal(model.autoencoder(given), model.autoencoder(given))


def test_a_picture_of_which_no_patch_is_seen_is_no_nan():
    model = small(hidden=0.9).train()
    given = torch.cat([torch.zeros(2, 3, 32, 32), torch.ones(2, 1, 32, 32)], 1)
    given.requires_grad_()
    found = model.autoencoder(given)
    found.square().mean().backward()
    assert found.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in model.autoencoder.encoder.parameters())


@pytest.mark.parametrize("sides", [(32, 32), (36, 28), (48, 64)])
@pytest.mark.parametrize("patch", [4, 8])
def test_any_sides_are_filled(patch, sides):
    model = small(patch=patch)
    model.trained = True
    image, mask = torch.rand(2, 3, *sides), torch.zeros(2, 1, *sides)
    mask[..., 5:20, 9:21] = 1
    assert model.inpaint(image, mask).shape == image.shape


def test_what_is_refined_is_the_composite_of_the_guess(monkeypatch):
    model, shown = small(), []
    refine = model.refine.forward
    monkeypatch.setattr(model.refine, "forward", lambda x: shown.append(x) or refine(x))
    given = masked(model)
    known, mask = given[:, :3], given[:, 3:]
    coarse, fine = model.stages(known, mask)
    (x,) = shown
    assert torch.equal(x, torch.cat([known + coarse * mask, mask], 1))
    assert not torch.equal(fine * mask, coarse * mask)


def test_a_step_guesses_once_and_both_stages_learn(monkeypatch):
    model, calls = small().train(), []
    guess = model.autoencoder.forward
    monkeypatch.setattr(model.autoencoder, "forward", lambda x: calls.append(1) or guess(x))
    image = testing.pictures(model).float() / 127.5 - 1
    terms = model.loss(Batch(image, masks.draw("rect", range(6), 32)))
    assert len(calls) == 1
    assert set(terms) == {"l1", "l2", "coarse"}
    (slope,) = torch.autograd.grad(
        terms["coarse"], model.autoencoder.head[1].weight, retain_graph=True
    )
    assert slope.abs().sum() > 0
    (slope,) = torch.autograd.grad(terms["l2"], model.autoencoder.head[1].weight)
    assert slope.abs().sum() > 0  # through the refinement
