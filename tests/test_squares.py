"""Pictures cut to squares of one size, one by one and in bulk."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gapfill.data import squares
from gapfill.data.squares import check_crop, crop_and_resize, read_squares
from gapfill.errors import UsageError


def encode(picture, kind="PNG", **settings):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_celeba_box_is_reduced_by_exact_means():
    picture = noise(178, 218)
    box = np.asarray(picture).astype(int)[57:185, 25:153]
    blocks = box.reshape(64, 2, 64, 2, 3).sum(axis=(1, 3))
    found = crop_and_resize(picture, 64, "celeba")
    assert found.shape == (64, 64, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - blocks / 4).max() <= 0.5
    assert np.array_equal(found, crop_and_resize(picture, 64, "auto"))


def test_the_centre_square_is_taken_from_other_pictures():
    picture = noise(100, 64)
    expected = np.asarray(picture)[:, 18:82]
    assert np.array_equal(crop_and_resize(picture, 64, "auto"), expected)
    assert np.array_equal(crop_and_resize(picture, 32, "32"), expected[16:48, 16:48])


def test_a_number_gives_the_framing_of_dcgan():
    picture = noise(178, 218)
    expected = np.asarray(picture)[55:163, 35:143]
    assert np.array_equal(crop_and_resize(picture, 108, "108"), expected)


def test_shrinking_by_a_broken_factor_does_not_alias():
    stripes = np.zeros((150, 150, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = crop_and_resize(Image.fromarray(stripes), 64, "center")
    assert abs(shrunk[8:-8, 8:-8].astype(int) - 127).max() < 30


@pytest.mark.parametrize("crop", ["centre", "", "0", "-5", "1.5"])
def test_an_unknown_crop_is_told_what_is_allowed(crop):
    with pytest.raises(UsageError, match="allowed are 'auto', 'celeba', 'center', or"):
        check_crop(crop)


def test_a_crop_that_does_not_fit_says_so():
    with pytest.raises(UsageError, match="crop '108' is larger than the picture of 100×90"):
        crop_and_resize(noise(100, 90), 64, "108")
    with pytest.raises(UsageError, match="needs pictures of 178×218; this is 100×90"):
        crop_and_resize(noise(100, 90), 64, "celeba")


def test_many_pictures_come_out_the_same_on_any_number_of_threads(monkeypatch):
    files = {f"{i}.png": encode(noise(20, 16, seed=i)) for i in range(150)}
    files["70.png"] = b"broken"
    found = []
    for count in (1, 7):
        monkeypatch.setattr(squares, "cpus", lambda count=count: count)
        read = read_squares(files.__getitem__, list(files), 16, "auto")
        assert list(read.failures) == [70]
        assert read.crop == "center"
        read.images[70] = 0
        found.append(read.images)
    assert torch.equal(found[0], found[1])
    expected = crop_and_resize(noise(20, 16, seed=149), 16, "auto").transpose(2, 0, 1)
    assert np.array_equal(found[0][149].numpy(), expected)


def jpegs():
    """Every sort of JPEG that a folder may hold, and what is none."""
    soft = noise(40, 30).resize((178, 218), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    plain = encode(soft, "JPEG", quality=90)
    return {
        "plain.jpg": plain,
        "no subsampling.jpg": encode(soft, "JPEG", subsampling=0),
        "progressive.jpg": encode(soft, "JPEG", progressive=True),
        "turned.jpg": encode(soft, "JPEG", exif=turned),
        "grey.jpg": encode(soft.convert("L"), "JPEG"),
        "cmyk.jpg": encode(soft.convert("CMYK"), "JPEG"),
        "large.jpg": encode(noise(500, 500), "JPEG", quality=100, subsampling=0),
        "a png.jpg": encode(soft),
        "half.jpg": plain[: len(plain) // 2],
        "no end.jpg": plain[:-2],
        "empty.jpg": b"",
    }


@pytest.mark.parametrize("crop", ["auto", "center", "108"])
def test_the_fast_decoder_gives_pillows_pixels_and_pillows_reasons(crop, monkeypatch):
    files = jpegs()
    assert len(files["large.jpg"]) > squares._LARGE
    fast = read_squares(files.__getitem__, list(files), 64, crop)
    monkeypatch.setattr(squares, "_plain_jpeg", lambda data: None)
    slow = read_squares(files.__getitem__, list(files), 64, crop)
    assert fast.failures == slow.failures
    assert {list(files)[number] for number in slow.failures} >= {"half.jpg", "empty.jpg"}
    for number in {*range(len(files))} - {*slow.failures}:
        assert torch.equal(fast.images[number], slow.images[number]), list(files)[number]
    assert fast.crop == slow.crop


def test_the_fast_decoder_takes_plain_jpegs_and_no_others():
    taken = {name for name, data in jpegs().items() if squares._plain_jpeg(data) is not None}
    assert taken == {"plain.jpg", "no subsampling.jpg", "progressive.jpg", "grey.jpg"}


def test_halving_rounds_as_pillow_does():
    picture = noise(64, 32)
    assert np.array_equal(squares._halved(np.asarray(picture)), np.asarray(picture.reduce(2)))


def resized(data, width, height):
    """A JPEG whose header claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2) + width.to_bytes(2) + data[at + 4 :]


PLAIN = encode(noise(178, 218), "JPEG")
CUT = PLAIN[: len(PLAIN) // 2] + PLAIN[-2:]
SHORT = "Corrupt JPEG data: premature end of data segment"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (resized(PLAIN[:629] + PLAIN[-2:], 32000, 32000), "32000×32000 pixels; at most 128 meg"),
        (encode(Image.new("1", (12000, 12000))), "12000×12000 pixels; at most 128 megapixels"),
        (resized(PLAIN, 400, 300), SHORT),
        (CUT, SHORT),
        (CUT.replace(b"\xff\xd8", b"\xff\xd8\xff\xfe\x00\x08Exif\0\0", 1), SHORT),
        (encode(noise(178, 218), "JPEG", progressive=True)[:9000] + b"\xff\xd9", SHORT),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS is not read; allowed are "),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not read; allowed are "),
    ],
    ids=["bomb", "large", "shorter", "cut", "cut for Pillow", "cut progressive", "EPS", "HEIC"],
)
def test_bombs_short_scans_and_other_formats_are_no_pictures(data, reason, capfd):
    read = read_squares({"a": data, "b": PLAIN}.__getitem__, ["a", "b"], 64, "center")
    assert list(read.failures) == [0]
    assert read.failures[0].startswith(reason)
    assert capfd.readouterr().err == ""


def test_what_decoders_say_is_heard_picture_by_picture(monkeypatch, capfd):
    monkeypatch.setattr(squares, "cpus", lambda: 4)
    extra = PLAIN[:-2] + b"abcdefgh" * 5 + PLAIN[-2:]
    files = {str(n): CUT if n % 50 == 7 else extra if n % 50 == 9 else PLAIN for n in range(300)}
    read = read_squares(files.__getitem__, list(files), 64, "center")
    assert list(read.failures) == [7, 57, 107, 157, 207, 257]
    assert list(read.remarks) == [9, 59, 109, 159, 209, 259]
    assert capfd.readouterr().err == ""


def test_no_more_is_decoded_at_once_than_memory_is_meant_for(monkeypatch):
    monkeypatch.setattr(squares, "cpus", lambda: 8)
    monkeypatch.setattr(squares, "_CHUNK", 1)
    monkeypatch.setattr(squares, "_IN_FLIGHT", 1000)
    room, held, most = squares._Room, [0], [0]

    class Counted(room):
        def take(self, wanted):
            taken = super().take(wanted)
            held[0] += taken
            most[0] = max(most[0], held[0])
            return taken

        def give(self, taken):
            held[0] -= taken
            super().give(taken)

    monkeypatch.setattr(squares, "_Room", Counted)
    files = {f"{n}": encode(noise(20 + n % 3 * 10, 20, seed=n)) for n in range(60)}
    files["larger"] = encode(noise(60, 60))
    assert not read_squares(files.__getitem__, list(files), 16, "center").failures
    assert held == [0]
    assert 400 <= most[0] <= 1000
