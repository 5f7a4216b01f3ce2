from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

import gapfill
from gapfill import registry
from gapfill.errors import GapfillError, UsageError
from gapfill.fill import photo as filling
from gapfill.fill.painting import fill_any_size
from gapfill.fill.photo import Marking, fill_file
from gapfill.inpainter import Inpainter

WIDTH, HEIGHT = 100, 80
ORIENTATION = 0x0112


class Probe(Inpainter):
    """Fills with red and keeps what it was shown."""

    @dataclass(frozen=True)
    class Config:
        """Settings."""

        size: int = 32

    def __init__(self, config=None):
        super().__init__(config or self.Config())
        self.seen = []

    def fill(self, known, mask):
        self.seen.append((known, mask))
        red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
        return red.expand_as(known)


def pixels(seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def odd_hole(height=HEIGHT, width=WIDTH):
    """A slanted hole with a lone pixel beside it."""
    hole = np.zeros((height, width), np.uint8)
    for row in range(17, 50):
        hole[row, 20 + row // 2 : 47 + row // 3] = 255
    hole[60, 33] = 255
    return hole


def write(path, array, **settings):
    Image.fromarray(array).save(path, **settings)
    return path


def read(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        return np.array(picture)


@pytest.fixture
def photo(tmp_path):
    return write(tmp_path / "photo.png", pixels())


@pytest.fixture
def mask(tmp_path):
    return write(tmp_path / "mask.png", odd_hole())


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "filled.png"


@pytest.fixture
def saved(tmp_path):
    """A small saved model, trained hardly at all."""
    model = gapfill.create("cnn", size=32, width=4)
    model.trained = True
    model.save(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def probe(monkeypatch):
    """The model `probe`, and what it is shown."""
    registry.list_models()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    made = Probe()
    gapfill.register("probe")(Probe)
    monkeypatch.setattr(filling, "open_model", lambda name: made)
    return made


def message(*arguments, error=UsageError, **keywords):
    with pytest.raises(error) as caught:
        fill_file(*arguments, device="cpu", **keywords)
    text = str(caught.value)
    assert "\n" not in text
    return text


def tensors(picture, hole):
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
    return image, torch.from_numpy((hole > 0).astype(np.float32))[None, None]


def redness(filled, missing):
    """1 where the hole is all red; its rim, enlarged with it, takes colour from around."""
    red, *others = filled.double().movedim(1, 0) / 255
    marked = missing[:, 0] > 0
    return red[marked].mean() - sum(other[marked].mean() for other in others) / 2


@pytest.mark.parametrize("model", ["telea", "saved"])
def test_known_pixels_of_any_photo_stay_bit_for_bit(request, photo, mask, out, model):
    model = request.getfixturevalue("saved") if model == "saved" else model
    fill_file(model, photo, mask, out, device="cpu")
    filled, hole = read(out), odd_hole() > 0
    assert filled.shape == (HEIGHT, WIDTH, 3)
    assert (filled[~hole] == pixels()[~hole]).all()
    assert (filled[hole] != pixels()[hole]).mean() > 0.9


@pytest.mark.parametrize(("height", "width"), [(80, 100), (100, 80), (32, 32), (21, 37), (33, 32)])
def test_a_photo_of_any_shape_is_filled_in_the_hole_and_nowhere_else(height, width):
    hole = np.zeros((height, width), np.uint8)
    hole[height // 3 : height // 2, width // 4 : width // 2] = 1
    picture = pixels(1, height, width)
    image, missing = tensors(picture, hole)
    filled = fill_any_size(Probe(), image, missing)
    marked = missing.bool().expand_as(image)
    assert torch.equal(filled[~marked], image[~marked])
    assert redness(filled, missing) > 0.85


def test_what_the_mask_hides_never_reaches_the_model_through_the_reduction():
    hole = odd_hole()
    picture = pixels()
    other = np.where(hole[..., None] > 0, 255 - picture, picture)
    probe = Probe()
    fill_any_size(probe, *tensors(picture, hole))
    fill_any_size(probe, *tensors(other, hole))
    (one, first), (two, second) = probe.seen
    assert torch.equal(first, second)
    assert torch.equal(one, two), "known pixels of the reduced picture are mixed with hidden ones"


def test_every_pixel_of_the_hole_is_missing_in_the_reduced_picture_too():
    hole = np.zeros((64, 64), np.uint8)
    hole[31, 31] = 1
    probe = Probe()
    fill_any_size(probe, *tensors(pixels(0, 64, 64), hole), context="whole")
    assert probe.seen[0][1][0, 0, 15, 15] == 1


@pytest.mark.parametrize("left", [0, 15, 70])
def test_the_square_that_the_model_sees_holds_the_whole_hole(left):
    hole = np.zeros((40, 100), np.uint8)
    hole[10:20, left : left + 30] = 1
    probe = Probe()
    image, missing = tensors(pixels(0, 40, 100), hole)
    filled = fill_any_size(probe, image, missing)
    assert redness(filled, missing) > 0.85
    assert 0.15 < probe.seen[0][1].mean() < 0.25


def test_a_hole_longer_than_the_square_is_filled(saved, tmp_path, out):
    photo = write(tmp_path / "photo.png", pixels(0, 40, 100))
    hole = np.zeros((40, 100), np.uint8)
    hole[10:13, 5:65] = 255
    fill_file(saved, photo, write(tmp_path / "mask.png", hole), out, device="cpu")
    filled = read(out)
    assert (filled[hole == 0] == pixels(0, 40, 100)[hole == 0]).all()
    assert (filled[hole > 0] != pixels(0, 40, 100)[hole > 0]).mean() > 0.9


def test_photo_and_mask_are_turned_upright_by_their_exif(tmp_path, out):
    upright, hole = pixels(), odd_hole()
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned a quarter clockwise to stand upright
    photo = write(tmp_path / "photo.png", np.rot90(upright).copy(), exif=exif)
    mask = write(tmp_path / "mask.png", np.rot90(hole).copy(), exif=exif)
    plain_mask = write(tmp_path / "plain.png", hole)
    fill_file("telea", photo, mask, out, device="cpu")
    filled = read(out)
    assert filled.shape == (HEIGHT, WIDTH, 3)
    assert (filled[hole == 0] == upright[hole == 0]).all()
    fill_file("telea", photo, plain_mask, out, device="cpu")
    assert (read(out) == filled).all()


def test_a_turned_photo_and_a_mask_that_is_not_are_a_mismatch(tmp_path, out):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photo = write(tmp_path / "photo.jpg", pixels(0, 178, 218), exif=exif)
    mask = write(tmp_path / "mask.png", odd_hole(178, 218))
    assert message("telea", photo, mask, out) == (
        "mask is 218×178 but the photo is 178×218 (after EXIF rotation). The mask lies on its "
        "side: turn it as the photo is shown."
    )


def test_a_mask_of_another_size_says_both(photo, tmp_path, out):
    mask = write(tmp_path / "small.png", odd_hole(70, 90))
    assert message("telea", photo, mask, out) == (
        "mask is 90×70 but the photo is 100×80 (after EXIF rotation). They must match; "
        "--resize-mask brings one of the same shape to the photo's size."
    )


def test_an_empty_mask_is_refused(photo, tmp_path, out):
    mask = write(tmp_path / "empty.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    assert message("telea", photo, mask, out) == "the mask is empty: nothing to fill."
    assert not out.exists()


def test_a_mask_the_wrong_way_round_is_refused_and_can_be_inverted(photo, tmp_path, out):
    hole = np.zeros((HEIGHT, WIDTH), np.uint8)
    hole[10:18, 40:80] = 255  # 4 % of the picture
    mask = write(tmp_path / "inverse.png", 255 - hole)
    text = message("telea", photo, mask, out)
    assert text == (
        "the mask marks 96 % of the picture as missing. 1/white means missing; if yours is the "
        "other way round, use --invert-mask."
    )
    fill_file("telea", photo, mask, out, device="cpu", marking=Marking(invert=True))
    filled = read(out)
    assert (filled[hole == 0] == pixels()[hole == 0]).all()
    assert (filled[hole > 0] != pixels()[hole > 0]).any()
    right = write(tmp_path / "right.png", hole)
    assert message("telea", photo, right, out, marking=Marking(invert=True)).endswith(
        "leave out --invert-mask."
    )


def test_a_mask_just_below_the_limit_is_filled(saved, tmp_path, out):
    photo = write(tmp_path / "square.png", pixels(0, 64, 64))
    hole = np.full((64, 64), 255, np.uint8)
    hole[:4] = 0
    fill_file(saved, photo, write(tmp_path / "mask.png", hole), out, device="cpu")
    assert (read(out)[:4] == pixels(0, 64, 64)[:4]).all()


def test_a_name_that_ends_in_no_format_is_refused(photo, mask, tmp_path):
    text = message("telea", photo, mask, tmp_path / "filled.bmp")
    assert text == "--out must end in .png, .jpg, .jpeg, .webp, .tif, .tiff; got filled.bmp."


def test_a_photo_or_mask_that_cannot_be_read_is_named(photo, mask, tmp_path, out):
    gone = tmp_path / "gone.png"
    assert "gone.png" in message("telea", gone, mask, out, error=GapfillError)
    assert "gone.png" in message("telea", photo, gone, out, error=GapfillError)
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:500])
    assert "broken.png" in message("telea", broken, mask, out, error=GapfillError)


def test_a_model_that_must_be_trained_says_so(photo, mask, out):
    text = message("cnn", photo, mask, out)
    assert text.startswith("'cnn' has to be trained first: gapfill fit cnn --out runs/cnn, ")


def test_a_name_that_is_neither_a_model_nor_a_folder_says_so(photo, mask, out):
    assert message("telae", photo, mask, out).startswith(
        "unknown model 'telae'. Did you mean 'telea'?"
    )


def test_the_same_photo_is_filled_the_same_again(saved, photo, mask, out):
    fill_file(saved, photo, mask, out, device="cpu")
    first = out.read_bytes()
    fill_file(saved, photo, mask, out, device="cpu")
    assert out.read_bytes() == first


def test_neither_photo_nor_mask_is_written_over(saved, photo, mask):
    before = photo.read_bytes(), mask.read_bytes()
    assert message(saved, photo, mask, photo) == f"--out is {photo} itself, which would be lost."
    assert message(saved, photo, mask, mask) == f"--out is {mask} itself, which would be lost."
    assert (photo.read_bytes(), mask.read_bytes()) == before


def test_a_photo_that_is_not_there_is_named_before_a_bad_name_for_the_result(saved, mask, tmp_path):
    gone = tmp_path / "gone.jpg"
    assert "gone.jpg" in message(saved, gone, mask, tmp_path / "x.gif", error=GapfillError)


@pytest.mark.parametrize("word", ["/nowhere/at/all", "nowhere/at/all", "../nowhere", "*"])
def test_a_word_that_is_no_model_is_one_line(word, photo, mask, out):
    text = message(word, photo, mask, out)
    assert text.startswith("there is nothing at" if "/" in word else "unknown model")


def test_several_samples_are_those_of_as_many_seeds(photo, mask, tmp_path, out):
    model = gapfill.create("rcgan", size=32, width=4, critic_width=4, perceptual=0)
    model.trained = True
    model.save(tmp_path / "model")
    name = str(tmp_path / "model")
    fill_file(name, photo, mask, out, device="cpu", seed=3, samples=3)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        f"filled-{seed}.png" for seed in (3, 4, 5)
    ]
    fill_file(name, photo, mask, out, device="cpu", seed=5)
    fills = [read(out.with_name(f"filled-{seed}.png")) for seed in (3, 5)]
    assert not np.array_equal(*fills)
    assert np.array_equal(fills[1], read(out))


def test_several_samples_want_a_model_that_has_them(saved, photo, mask, out):
    assert message(saved, photo, mask, out, samples=2).startswith("cnn has one fill of a hole;")
    assert message(saved, photo, mask, out, samples=0) == "--samples must be at least 1; got 0."
    assert not out.parent.exists()


def test_fill_file_shows_the_model_the_upright_photo(probe, photo, mask, out):
    fill_file("probe", photo, mask, out, device="cpu", grain=False)
    assert redness(*tensors(read(out), odd_hole())) > 0.85
    assert probe.seen[0][0].shape[1:] == (3, 32, 32)


def test_every_second_column_is_filled_through_one_window_too(saved, tmp_path, out):
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    hole = np.zeros((256, 256), np.uint8)
    hole[:, ::2] = 255
    Image.fromarray(hole).save(tmp_path / "mask.png")
    fill_file(str(saved), tmp_path / "photo.png", tmp_path / "mask.png", out, context="whole")
    with Image.open(out) as filled:
        assert (np.array(filled)[:, 1::2] == pixels[:, 1::2]).all()
