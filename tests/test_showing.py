"""What a notebook shows of models and of their fills."""

import pytest
import torch
from common import message

import gapfill
from gapfill import masks, summary, testing
from gapfill.data import Stream
from gapfill.data.faces import generate


@pytest.fixture(scope="module")
def trained():
    model = gapfill.create("cnn", size=32, width=4)
    images = testing.pictures(model, 12)
    return model.fit(
        Stream(images, 4), mask="rect", val=images[:4], steps=4, watch=2, quiet=True, device="cpu"
    )


def test_a_model_without_a_docstring_says_nothing_of_another():
    class Bare(gapfill.Inpainter):
        def fill(self, known, mask):
            return known

    assert summary.line(Bare) == ""
    assert summary.line(type(gapfill.create("cnn"))).startswith("Context encoder")


def test_a_model_says_what_it_is_and_how_it_was_trained(trained):
    text = repr(trained)
    count = sum(each.numel() for each in trained.parameters())
    assert text.startswith("cnn: ")
    assert "width=4" in text
    assert f"{count:,}, float32, on cpu" in text
    assert "4 steps of 4 pictures, under rect masks, from 12 pictures, seed 0" in text
    best = max(line["val/hole_psnr"] for line in trained.history if "val/score" in line)
    assert f"hole_psnr {best:.4g}" in text
    assert "best of 2 looks" in " ".join(text.split())
    assert "Conv2d" not in text
    assert len(text.splitlines()) < 15
    assert "Conv2d" in torch.nn.Module.__repr__(trained)


def test_a_model_that_learned_nothing_says_so():
    assert "none yet: .fit(loader)" in repr(gapfill.create("cnn"))
    assert "needs none" in repr(gapfill.create("telea"))
    model = gapfill.create("cnn", size=32, width=4)
    model.load_state_dict(model.state_dict())
    assert "nothing is known of it" in repr(model)


def test_a_loaded_model_says_how_it_was_trained(trained, tmp_path):
    trained.save(tmp_path)
    text = repr(gapfill.load(tmp_path))
    assert "4 steps of 4 pictures, under rect masks, from 12 pictures" in text
    assert "looks" not in text


@pytest.mark.parametrize("name", gapfill.list_models())
def test_every_model_is_shown(name):
    try:
        model = gapfill.create(name)
    except gapfill.GapfillError as error:
        pytest.skip(str(error))
    assert repr(model).startswith(f"{name}: ")
    assert "<table>" in model._repr_html_()


def test_names_are_escaped_in_a_notebook(trained, monkeypatch):
    monkeypatch.setattr(type(trained), "name", "<script>")
    assert "<script>" not in trained._repr_html_()


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes]


def strips(figure):
    return [axis.images[0].get_array() for axis in figure.axes]


def test_fills_are_shown_below_their_holes_and_originals():
    images = generate(3, 32)
    holes = masks.draw("center", range(3), 32)
    filled = gapfill.create("telea").inpaint(images, holes)
    figure = gapfill.show(images, holes, {"telea": filled, "again": filled})
    assert titles(figure) == ["original", "corrupted", "telea", "again"]
    original, corrupted, first, _ = strips(figure)
    assert torch.equal(torch.from_numpy(original[:, :32]), images[0].permute(1, 2, 0))
    assert torch.equal(torch.from_numpy(first[:, -32:]), filled[2].permute(1, 2, 0))
    assert (corrupted[8:24, 8:24] == 206).all()
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_floats_one_mask_for_all_several_fills_and_few_pictures():
    images = generate(3, 32).float() / 255
    hole = masks.draw("center", 0, 32)
    fills = torch.rand(2, 3, 3, 32, 32)
    figure = gapfill.show(images, hole, fills, count=2)
    assert titles(figure) == ["original", "corrupted", "filled 1", "filled 2"]
    assert strips(figure)[0].shape[1] < 3 * 32
    wanted = (fills[1, 1] * 255).round().byte().permute(1, 2, 0)
    assert torch.equal(torch.from_numpy(strips(figure)[3][:, -32:]), wanted)


def test_what_is_no_fill_of_the_pictures_is_refused():
    images = generate(3, 32)
    holes = masks.draw("center", range(3), 32)
    text = message(gapfill.show, images, holes, {"mine": images[:2]})
    assert text == (
        "the fills of 'mine' must be [3, 3, 32, 32] as the pictures, or [n, 3, 3, 32, 32] from "
        "sample; got [2, 3, 32, 32]."
    )
    assert "at least one" in message(gapfill.show, images, holes, count=0)
