"""The baselines that no optimiser trains, against what they must do."""

import sys

import pytest
import torch

import gapfill
from gapfill import masks
from gapfill.data import Stream
from gapfill.data.faces import generate
from gapfill.errors import GapfillError, UsageError


@pytest.fixture(scope="module")
def faces():
    return generate(40, 32)


def hole(count, kind="center"):
    return masks.draw(kind, range(count), 32)


def test_mean_is_the_mean_of_the_training_pictures(faces):
    model = gapfill.create("mean", size=32).fit(Stream(faces[:30], 8))
    filled = model.inpaint(faces[30:].float() / 255, hole(10))
    expected = (faces[:30].double() / 255).mean(0).float()
    inside = hole(10).bool().expand_as(filled)
    torch.testing.assert_close(
        filled[inside], expected.expand_as(filled)[inside], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", ["mean", "nearest"])
def test_a_loader_of_floats_teaches_the_same_as_a_stream(name, faces):
    stream = gapfill.create(name, size=32).fit(Stream(faces, 8))
    loader = gapfill.create(name, size=32).fit([faces[:25].float() / 255, faces[25:].float() / 255])
    for one, two in zip(stream.buffers(), loader.buffers(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["mean", "nearest"])
def test_a_memory_of_nothing_is_refused(name):
    with pytest.raises(UsageError, match="no image batches"):
        gapfill.create(name, size=32).fit([])
    with pytest.raises(UsageError, match=f"'{name}' has not been trained"):
        gapfill.create(name, size=32).inpaint(generate(1, 32), hole(1))


@pytest.mark.parametrize("kind", ["center", "half", "pixels"])
def test_nearest_finds_a_training_picture_again(kind, faces):
    model = gapfill.create("nearest", size=32).fit(Stream(faces, 8))
    assert torch.equal(model.inpaint(faces, hole(40, kind)), faces)


def test_nearest_keeps_no_more_than_its_capacity(faces, tmp_path):
    model = gapfill.create("nearest", size=32, capacity=7).fit([faces[:5], faces[5:]])
    assert torch.equal(model.bank, faces[:7])
    model.save(tmp_path)
    assert torch.equal(gapfill.load(tmp_path).bank, faces[:7])


@pytest.mark.parametrize("name", ["telea", "navier_stokes", "biharmonic"])
def test_a_plain_picture_stays_plain(name):
    plain = torch.full((2, 3, 32, 32), 90, dtype=torch.uint8)
    plain[1] = 201
    filled = gapfill.create(name).fit([]).inpaint(plain, hole(2))
    # OpenCV's fast marching wavers by up to 3 levels even here.
    assert (filled.int() - plain.int()).abs().max() <= (3 if name == "telea" else 1)


def test_biharmonic_continues_a_slope_where_telea_does_not():
    ramp = torch.linspace(0, 255, 32).round().byte().expand(1, 3, 32, 32).contiguous()
    smooth = gapfill.create("biharmonic").inpaint(ramp, hole(1))
    marching = gapfill.create("telea").inpaint(ramp, hole(1))
    assert (smooth.int() - ramp.int()).abs().max() <= 2
    assert (marching.int() - ramp.int()).abs().max() > 8


def test_biharmonic_without_scikit_image_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(GapfillError, match=r"pip install scikit-image"):
        gapfill.create("biharmonic").inpaint(generate(1, 32), hole(1))
