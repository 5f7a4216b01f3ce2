"""Masks, however they were painted."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from gapfill import masks
from gapfill.data.faces import generate
from gapfill.errors import UsageError
from gapfill.pictures import read_mask
from gapfill.reading.holes import marked

KINDS = ["center", "rect", "brush", "pixels"]
SIDE = 128


def hole(kind):
    return masks.draw(kind, 1, SIDE)[0, 0].bool().numpy()


def saved(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def levels(missing, white, black=0, dtype=np.uint8):
    return Image.fromarray(np.where(missing, white, black).astype(dtype))


def paint(missing, colour, ground=(0, 0, 0)):
    return Image.fromarray(np.where(missing[..., None], colour, ground).astype(np.uint8))


def brush(missing, colour, alpha):
    pixels = np.zeros((*missing.shape, 4), np.uint8)
    pixels[missing] = (*colour, alpha)
    return Image.fromarray(pixels)


def palette(missing, colours):
    picture = Image.fromarray(missing.astype(np.uint8))
    picture = picture.convert("P")
    picture.putpalette(sum(colours, ()))
    return picture


def photo():
    return Image.fromarray(generate(1, SIDE, seed=3)[0].permute(1, 2, 0).numpy())


def erased(missing, alpha=0, picture=None):
    picture = (picture or photo()).convert("RGBA")
    picture.putalpha(levels(missing, alpha, 255))
    return picture


SPELLINGS = {
    "white on black": lambda m: levels(m, 255),
    "0 and 1": lambda m: levels(m, 1),
    "0 and 100": lambda m: levels(m, 100),
    "10 and 60": lambda m: levels(m, 60, 10),
    "200 and 255": lambda m: levels(m, 255, 200),
    "1 bit": lambda m: levels(m, 255).convert("1"),
    "16 bits of 0 and 1": lambda m: levels(m, 1, dtype=np.uint16),
    "16 bits": lambda m: levels(m, 65535, dtype=np.uint16),
    "32 bits": lambda m: levels(m, 7, dtype=np.int32),
    "floats of 0 and 1": lambda m: levels(m, 1, dtype=np.float32),
    "floats of 0 and 255": lambda m: levels(m, 255, dtype=np.float32),
    "a palette of labels": lambda m: palette(m, [(0, 0, 0), (128, 0, 0)]),
    "a palette of greys": lambda m: palette(m, [(0, 0, 0), (1, 1, 1)]),
    "red on black": lambda m: paint(m, (255, 0, 0)),
    "dark blue on black": lambda m: paint(m, (0, 0, 128)),
    "red on white": lambda m: paint(m, (255, 0, 0), (255, 255, 255)),
    "green on grey": lambda m: paint(m, (0, 160, 0), (90, 90, 90)),
    "yellow on violet": lambda m: paint(m, (253, 231, 37), (68, 1, 84)),
    "a faint brush": lambda m: brush(m, (255, 255, 255), 60),
    "a faint black brush": lambda m: brush(m, (0, 0, 0), 60),
    "a red brush": lambda m: brush(m, (255, 0, 0), 255),
    "grey with alpha": lambda m: brush(m, (0, 0, 0), 255).convert("LA"),
    "an erased photo": erased,
    "a half erased photo": lambda m: erased(m, 100),
    "a hardly erased photo": lambda m: erased(m, 200),
    "an erased grey photo": lambda m: erased(m, picture=photo().convert("L")),
    "a JPEG": lambda m: saved(levels(m, 255), "JPEG", quality=85),
    "a faint JPEG": lambda m: saved(levels(m, 90), "JPEG", quality=95),
    "a WebP": lambda m: saved(levels(m, 255), "WEBP", quality=90),
    "a GIF": lambda m: saved(levels(m, 255), "GIF"),
    "CMYK": lambda m: levels(m, 255).convert("CMYK"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_means_the_same_however_it_was_painted(kind, spelling):
    if (kind, spelling) == ("pixels", "a faint JPEG"):
        pytest.skip("the format's own noise is as strong")
    missing = hole(kind)
    picture = SPELLINGS[spelling](missing)
    lossy = picture.format in ("JPEG", "WEBP")
    assert (marked(picture) != missing).mean() <= (0.02 if lossy else 0)


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_soft_edges_are_cut_in_the_middle(radius):
    soft = levels(hole("center"), 255).filter(ImageFilter.GaussianBlur(radius))
    assert (marked(soft) != hole("center")).mean() < 0.005
    # Where nothing is painted the colour is black, which a filter mixes in.
    soft = brush(hole("center"), (255, 0, 0), 120).filter(ImageFilter.GaussianBlur(radius))
    assert (marked(soft) != hole("center")).mean() < 0.02


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "I;16"])
def test_a_photo_is_no_mask(mode):
    for number in range(8):
        picture = Image.fromarray(generate(8, SIDE, seed=5)[number].permute(1, 2, 0).numpy())
        if mode == "I;16":
            picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
        with pytest.raises(ValueError, match=r"as a photo has|as in a photo"):
            marked(picture if mode == "I;16" else picture.convert(mode))


def test_labels_are_named_with_their_brightest_value():
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20], labels[20:30], labels[40:60] = 3, 11, 20
    with pytest.raises(ValueError, match=r"neither black nor white|the brightest is 20 "):
        marked(Image.fromarray(labels))
    labels[labels == 11] = 20
    with pytest.raises(ValueError, match="the brightest is 20 where white is 255; paint what"):
        marked(Image.fromarray(labels))


@pytest.mark.parametrize(("value", "share"), [(0, 0), (255, 1)])
def test_black_is_known_and_white_is_missing_where_there_is_nothing_else(value, share):
    assert marked(Image.new("RGB", (9, 9), (value,) * 3)).mean() == share
    assert marked(Image.new("RGBA", (9, 9), (value, value, value, 255))).mean() == share


def test_one_value_that_is_neither_is_named():
    with pytest.raises(ValueError, match="every pixel is 17 of 255; paint what is missing white"):
        marked(Image.new("L", (9, 9), 17))


def test_a_photo_given_as_mask_is_refused_with_the_order(tmp_path):
    photo().save(tmp_path / "face.png")
    with pytest.raises(UsageError) as caught:
        read_mask(tmp_path / "face.png", (SIDE, SIDE))
    assert str(caught.value) == (
        f"{tmp_path / 'face.png'} is no mask: it has many colours, as a photo has; paint what is "
        "missing white and the rest black. The photo comes first, then its mask."
    )


def test_an_erased_photo_is_read_from_its_file(tmp_path):
    erased(hole("rect")).save(tmp_path / "erased.png")
    found = read_mask(tmp_path / "erased.png", (SIDE, SIDE))
    assert torch.equal(found[0, 0].bool(), torch.from_numpy(hole("rect")))
