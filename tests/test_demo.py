"""The page of `gapfill demo` without a browser: look, find the hole, fill, save."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from common import message
from PIL import Image

import gapfill
from gapfill.commands import main as cli
from gapfill.errors import GapfillError, UsageError
from gapfill.fill.kept import read_photo
from gapfill.fill.page import tools, work
from gapfill.fill.page.examples import examples
from gapfill.fill.photo import Marking, fill_file


@pytest.fixture(scope="module")
def ready():
    return tools.prepare(["telea", "navier_stokes"])


def photo_file(path, width=90, height=60, mode="RGB", **options):
    levels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    Image.fromarray(levels, "RGBA" if mode == "RGBA" else None).convert(mode).save(path, **options)
    return path


def levels_of(path):
    with Image.open(path) as picture:
        return np.array(picture)


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def stroke(path, top=0.4, bottom=0.6):
    """Paint over the middle of a photo, at the size that it is shown."""
    width, height = work.look(path).size
    drawn = np.zeros((height, width), bool)
    drawn[int(top * height) : int(bottom * height), width // 3 : width // 2] = True
    return drawn


def filled(ready, path, folder, strokes=None, mask=None, how=None):
    how = how or work.How()
    photo = read_photo(path)
    hole = work.find_hole(photo, path, strokes, mask, how.marking)
    return hole, list(work.fills(ready, photo, hole, how, folder))


def test_what_is_painted_is_filled_by_each_model_and_saved_as_the_photo_is(ready, tmp_path):
    path = photo_file(tmp_path / "photo.jpg", dpi=(300, 300))
    hole, fills = filled(ready, path, tmp_path, stroke(path))
    assert [fill.name for fill in fills] == ["telea", "navier_stokes"]
    assert fills[0].caption == f"telea · {fills[0].seconds:.2f} s"
    assert size_of(fills[0].shown) == work.look(path).size
    saved, lost = work.save(hole, fills[1], tmp_path)
    assert saved.name == "photo-navier_stokes.jpg"
    assert lost == ["known pixels bit for bit"]
    with Image.open(saved) as picture:
        assert picture.size == (90, 60)
        assert picture.info["dpi"] == (300, 300)


def test_a_mask_file_gives_the_file_that_the_command_writes(ready, tmp_path):
    path = photo_file(tmp_path / "photo.png")
    mask = tmp_path / "mask.png"
    marked = np.zeros((60, 90), bool)
    marked[20:40, 30:50] = True
    Image.fromarray(marked).save(mask)
    how = work.How(Marking(grow=2))
    hole, (fill, _) = filled(ready, path, tmp_path, None, mask, how)
    saved, _ = work.save(hole, fill, tmp_path)
    out = tmp_path / "out.png"
    fill_file("telea", path, mask, out, marking=Marking(grow=2))
    assert saved.read_bytes() == out.read_bytes()


def test_what_is_painted_and_what_a_mask_file_marks_are_one_hole(ready, tmp_path):
    path = photo_file(tmp_path / "photo.png")
    mask = tmp_path / "mask.png"
    marked = np.zeros((60, 90), bool)
    marked[:5, :5] = True
    Image.fromarray(marked).save(mask)
    drawn = stroke(path)
    photo = read_photo(path)
    both = work.find_hole(photo, path, drawn, mask, Marking()).missing
    alone = work.find_hole(photo, path, drawn, None, Marking()).missing
    assert (both == alone | marked).all()


def test_a_hole_is_judged_before_it_is_widened_as_the_command_judges_it(tmp_path):
    path = photo_file(tmp_path / "photo.png", width=100, height=50)
    photo, drawn = read_photo(path), np.zeros((50, 100), bool)
    drawn[:, :94] = True
    wide = work.find_hole(photo, path, drawn, None, Marking(grow=3)).missing
    assert wide.mean() > 0.95
    assert "nothing is left to see" in message(
        work.find_hole, photo, path, drawn, None, Marking(grow=9)
    )


def test_what_a_mask_file_marks_is_tinted(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (512, 512)).save(path)
    mask = tmp_path / "mask.png"
    Image.fromarray(np.arange(512)[:, None].repeat(512, 1) < 256).save(mask)
    seen = work.look(path, mask)
    assert seen.getpixel((5, 5)) == tuple(level // 2 for level in (225, 29, 72))
    assert seen.getpixel((5, 500)) == (0, 0, 0)


def test_a_mistake_is_the_line_that_the_command_says(tmp_path):
    path = photo_file(tmp_path / "photo.png")
    photo = read_photo(path)
    nothing = message(work.find_hole, photo, path, None, None, Marking())
    assert nothing == "the mask is empty: nothing to fill."
    assert message(work.find_hole, photo, path, stroke(path) & False, None, Marking()) == nothing
    whole = np.ones((512, 768), bool)
    assert "marks 100 %" in message(work.find_hole, photo, path, whole, None, Marking())
    mask = photo_file(tmp_path / "mask.png", 45, 30, "1")
    said = message(work.find_hole, photo, path, None, mask, Marking())
    assert said == message(fill_file, "telea", path, mask, tmp_path / "out.png")
    assert said == (
        "mask is 45×30 but the photo is 90×60 (after EXIF rotation). They must match; "
        "--resize-mask brings one of the same shape to the photo's size."
    )
    work.find_hole(photo, path, None, mask, Marking(resize=True))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    assert "not a picture" in message(work.look, broken, error=GapfillError)
    assert (
        work.said(OSError(28, "No space left", str(tmp_path / "x.png")), tmp_path)
        == "x.png: No space left."
    )


def test_a_model_that_fails_stops_no_other(ready, tmp_path):
    path = photo_file(tmp_path / "photo.png")
    wrong = work.How(context="nonsense")
    _, found = filled(ready, path, tmp_path, stroke(path), how=wrong)
    assert [type(each) for each in found] == [UsageError, UsageError]


def test_transparency_and_16_bits_are_kept(ready, tmp_path):
    path = photo_file(tmp_path / "cut-out.png", mode="RGBA")
    hole, (fill, _) = filled(ready, path, tmp_path, stroke(path))
    saved, lost = work.save(hole, fill, tmp_path)
    before, after = levels_of(path), levels_of(saved)
    assert not lost
    assert (after[~hole.missing] == before[~hole.missing]).all()
    assert (after[..., 3] == before[..., 3]).all()
    deep = tmp_path / "deep.png"
    levels = np.random.default_rng(0).integers(0, 65536, (60, 90)).astype(np.uint16)
    Image.fromarray(levels).save(deep)
    hole, (fill, _) = filled(ready, deep, tmp_path, stroke(deep))
    saved, _ = work.save(hole, fill, tmp_path)
    after = levels_of(saved)
    assert after.dtype == np.uint16
    assert (after[~hole.missing] == levels[~hole.missing]).all()


def test_a_large_picture_is_shown_small_and_saved_large(ready, tmp_path):
    path = tmp_path / "large.bmp"
    Image.new("L", (6000, 3000), 90).save(path)
    assert work.look(path).size == (1024, 512)
    hole, (fill, _) = filled(ready, path, tmp_path, stroke(path, 0.49, 0.51))
    assert size_of(fill.shown) == (1024, 512)
    saved, _ = work.save(hole, fill, tmp_path)
    assert (saved.suffix, size_of(saved)) == (".png", (6000, 3000))
    assert (levels_of(saved)[~hole.missing] == 90).all()


def test_a_picture_with_next_to_no_height_is_painted_on_too(tmp_path):
    path = tmp_path / "line.png"
    Image.new("RGB", (5000, 3)).save(path)
    drawn = np.zeros(work.look(path).size[::-1], bool)
    drawn[:, :100] = True
    hole = work.find_hole(read_photo(path), path, drawn, None, Marking())
    assert hole.missing.shape == (3, 5000)


class Dice(torch.nn.Module):
    """Stands for a stochastic model: each seed paints another grey."""

    stochastic, multiple, config = True, 1, None

    def inpaint(self, image, mask, seed=0, first=0):
        return torch.where(mask.bool(), seed / 10, image)


def test_a_stochastic_model_shows_several_fills_and_then_more(tmp_path):
    path = photo_file(tmp_path / "photo.png")
    dice, photo = tools.Tool("dice", Dice()), read_photo(path)
    hole = work.find_hole(photo, path, stroke(path), None, Marking())
    first = list(work.fills([dice], photo, hole, work.How(), tmp_path))
    more = list(work.fills([dice], photo, hole, work.How(), tmp_path, first=work.FILLS))
    assert [fill.number for fill in first + more] == [1, 2, 3, 4, 5, 6]
    assert [int(fill.made[0, 0]) for fill in first + more] == [0, 26, 51, 76, 102, 128]
    assert first[1].caption.startswith("dice · fill 2 · ")
    assert work.save(hole, first[1], tmp_path)[0].name == "photo-dice-2.png"


def test_pretrained_models_for_any_hole_come_first_and_then_the_classical_ones():
    words = tools.usual()
    assert words[-2:] == ["navier_stokes", "telea"]
    trained = [f"{name}@any" for name in gapfill.list_models(pretrained=True) if _has_any(name)]
    assert words[:-2] == trained


def _has_any(name):
    from gapfill import pretrained

    return "any" in pretrained.tags(name)


def test_weights_come_before_what_needs_none():
    found = tools.prepare(["telea", "unet@any", "telea"])
    assert [tool.name for tool in found] == ["unet@any", "telea"]


def test_the_examples_are_pictures(tmp_path):
    found = examples(tmp_path)
    assert len(found) >= 3
    for path, context in found:
        assert min(work.look(path).size) == 512
        assert context == ("whole" if path.name.startswith("face") else "auto")


def test_without_gradio_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["demo", "--no-browser"]) == 2
    assert capsys.readouterr().err == (
        'gapfill: the demo needs gradio: pip install "gradio>=6,<7"\n'
    )


@pytest.mark.parametrize("port", ["0", "70000"])
def test_a_port_that_is_none_is_refused(port, capsys):
    assert cli.main(["demo", "--port", port]) == 2
    assert capsys.readouterr().err == f"gapfill: --port must be 1 to 65535; got {port}.\n"


def test_nothing_is_left_behind(monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gradio", None)
    cli.main(["demo", "--quiet"])
    assert not list(Path(tmp_path).iterdir())
