import io
import random
import threading
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from gapfill.errors import GapfillError, UsageError
from gapfill.pictures import PictureError, read_mask, read_picture


def encode(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def first_pixel(source):
    picture = read_picture(source)
    assert picture.mode == "RGB"
    return picture.getpixel((0, 0))


def with_orientation(picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(picture, "PNG", exif=exif)


# How a camera stores the upright picture for each EXIF orientation, in numpy's words.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_upright_by_exif(orientation):
    upright = np.asarray(noise(5, 3))
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    picture = read_picture(with_orientation(stored, orientation))
    assert np.array_equal(np.asarray(picture), upright)


def test_an_upright_picture_is_not_turned_again_by_whoever_looks_for_exif():
    from PIL import ImageOps

    picture = read_picture(with_orientation(noise(5, 3), 6))
    assert ImageOps.exif_transpose(picture).size == picture.size == (3, 5)


def test_damaged_exif_does_not_cost_the_picture():
    data = encode(noise(5, 3), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken")
    assert read_picture(data).size == (5, 3)


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    ramp = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    picture = read_picture(encode(Image.fromarray(ramp)))
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, float("nan"), 1.0], [0, 0, 255]),
    ],
)
def test_floating_point_grey_is_not_black(values, expected):
    data = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert np.asarray(read_picture(data))[0, :, 0].tolist() == expected


def test_what_alpha_hides_shows_white():
    assert first_pixel(encode(Image.new("RGBA", (2, 2), (200, 0, 0, 0)))) == (255, 255, 255)
    assert first_pixel(encode(Image.new("RGBA", (2, 2), (200, 0, 0, 255)))) == (200, 0, 0)
    assert first_pixel(encode(Image.new("LA", (2, 2), (10, 0)))) == (255, 255, 255)


def test_palette_transparency_shows_white_and_does_not_warn():
    picture = Image.new("P", (2, 2), 1)
    picture.putpalette([0, 0, 0, 9, 8, 7])
    assert first_pixel(encode(picture, transparency=bytes([255, 0]))) == (255, 255, 255)
    assert first_pixel(encode(picture, transparency=bytes([0, 255]))) == (9, 8, 7)


@pytest.mark.parametrize(
    ("mode", "colour", "form", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("L", 77, "PNG", (77, 77, 77)),
        ("RGB", (1, 2, 3), "WEBP", (1, 2, 3)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (254, 0, 0)),
        ("YCbCr", (76, 85, 255), "TIFF", (254, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(mode, colour, form, expected):
    options = {"lossless": True} if form == "WEBP" else {}
    data = encode(Image.new(mode, (16, 16), colour), form, **options)
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        pytest.skip(f"this Pillow cannot read its own {form} of mode {mode}")
    found = first_pixel(data)
    assert np.abs(np.subtract(found, expected)).max() <= 2


def test_a_path_bytes_and_an_open_file_read_alike(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(noise(6, 4)))
    with path.open("rb") as file:
        pixels = [np.asarray(read_picture(s)) for s in (path, path.read_bytes(), file)]
    assert np.array_equal(pixels[0], pixels[1])
    assert np.array_equal(pixels[0], pixels[2])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode(noise(64, 64), "JPEG")[:900], "image file is truncated"),
        (b"<html>no</html>", "not a picture in a format that is read"),
        (b"", "not a picture in a format that is read"),
    ],
)
def test_an_unreadable_picture_is_named_with_the_reason(data, reason):
    with pytest.raises(PictureError, match=r"^cannot read face\.jpg: ") as caught:
        read_picture(data, "face.jpg")
    assert caught.value.reason == reason
    assert isinstance(caught.value, GapfillError)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PictureError, match=r"none\.png: No such file"):
        read_picture(tmp_path / "none.png")


def test_mutated_files_raise_only_errors_meant_to_be_read():
    dice = random.Random(0)
    refused = []
    for form in ("JPEG", "PNG", "WEBP", "GIF"):
        whole = encode(noise(40, 30), form)
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(5):
                data[dice.randrange(len(data))] = dice.randrange(256)
            try:
                read_picture(bytes(data[: dice.randrange(len(data) // 2, 2 * len(data))]), "x")
            except PictureError as error:
                refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in message for message in refused)


def test_a_decompression_bomb_is_refused_and_a_large_picture_is_not(monkeypatch):
    data = encode(Image.new("L", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns here, raises at the double
    assert read_picture(data).size == (40, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(PictureError, match="too many pixels; at most 128 megapixels are read"):
        read_picture(data, "bomb.png")


def test_reading_on_many_threads_leaves_the_warning_filters_alone():
    before = list(warnings.filters)
    data = encode(noise(8, 8))
    threads = [
        threading.Thread(target=lambda: [read_picture(data) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_a_white_mask_marks_what_is_missing():
    picture = Image.new("L", (6, 4))
    picture.paste(255, (1, 1, 3, 2))
    mask = read_mask(encode(picture))
    assert mask.shape == (1, 1, 4, 6)
    assert mask.dtype == torch.float32
    expected = torch.zeros(4, 6)
    expected[1, 1:3] = 1
    assert torch.equal(mask[0, 0], expected)


def test_grey_masks_are_cut_at_half():
    data = encode(Image.fromarray(np.array([[127, 128]], np.uint8)))
    assert read_mask(data).flatten().tolist() == [0, 1]
    data = encode(Image.fromarray(np.array([[32000, 33000]], np.uint16)))
    assert read_mask(data).flatten().tolist() == [0, 1]


def test_paint_of_one_colour_on_a_transparent_ground_is_the_mask():
    for colour in ((0, 0, 0, 255), (255, 0, 0, 255), (255, 255, 255, 255)):
        picture = Image.new("RGBA", (3, 1))
        picture.putpixel((1, 0), colour)
        assert read_mask(encode(picture)).flatten().tolist() == [0, 1, 0]


def test_paint_of_several_colours_counts_by_its_brightness():
    picture = Image.new("RGBA", (3, 1))
    picture.putpixel((0, 0), (0, 0, 0, 255))
    picture.putpixel((1, 0), (255, 255, 255, 255))
    assert read_mask(encode(picture)).flatten().tolist() == [0, 1, 0]


def test_an_opaque_alpha_channel_changes_no_mask():
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    assert read_mask(encode(picture)).flatten().tolist() == [0, 0]


def test_a_mask_is_turned_upright_before_its_size_is_compared():
    data = with_orientation(Image.new("L", (5, 3)), 6)
    assert read_mask(data, size=(3, 5)).shape == (1, 1, 5, 3)
    with pytest.raises(UsageError, match=r"mask is 3×5 but the photo is 5×3 \(after EXIF"):
        read_mask(data, size=(5, 3))
