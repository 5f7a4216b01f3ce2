"""What a photo's file has stays as it was while its hole is filled."""

import io

import cv2
import numpy as np
import pytest
import torch
from common import message
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from gapfill.fill.encoding import FORMATS, encode
from gapfill.fill.kept import read_photo
from gapfill.fill.photo import Marking, fill_file, grow

HEIGHT, WIDTH = 60, 50
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[20:30, 15:30] = True
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def levels(channels, dtype=np.uint8):
    """Noise over a slope, which a fill can neither hit by chance nor miss by far."""
    most = np.iinfo(dtype).max
    slope = np.linspace(0.2, 0.7, WIDTH)[None, :, None] * np.ones((HEIGHT, 1, channels))
    noise = np.random.default_rng(0).uniform(0, 0.1, slope.shape)
    found = ((slope + noise) * most).astype(dtype)
    if channels in (2, 4):
        found[..., -1] = most
        found[:5, :, -1] = 0
        found[5:9, :, -1] = most // 3
    return found


def exif(orientation=None):
    found = Image.Exif()
    found[0x010F] = "Maker"
    found.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    found.get_ifd(0x8825)[0x0001] = "N"
    if orientation:
        found[0x0112] = orientation
    return found


def save(path, array, **options):
    """A picture file; of 16 bits in colour with OpenCV."""
    if array.ndim == 3 and array.dtype == np.uint16:
        order = [2, 1, 0, 3][: array.shape[2]]
        cv2.imwrite(str(path), array[..., order])
    else:
        Image.fromarray(array.squeeze()).save(path, **options)
    return path


def fill(photo, out, mask=None, **keywords):
    """What was lost, and the file as Pillow opens it."""
    if mask is None:
        mask = save(photo.parent / "mask.png", HOLE.astype(np.uint8) * 255)
    lost = fill_file("telea", photo, mask, out, device="cpu", **keywords)
    with Image.open(out) as opened:
        opened.load()
        return lost, opened


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_known_pixels_and_alpha_stay_in_every_lossless_format(tmp_path, channels, suffix):
    array = levels(channels)
    photo = save(tmp_path / "photo.png", array)
    lost, filled = fill(photo, tmp_path / f"filled{suffix}")
    assert not lost
    grey = channels < 3
    wanted = ("RGBA" if channels == 2 else "RGB") if suffix == ".webp" and grey else None
    assert filled.mode == (wanted or MODES[channels])
    if wanted:
        array = np.concatenate([array[..., :1].repeat(3, 2), array[..., 1:]], 2)
    found = np.array(filled).reshape(array.shape)
    assert (found[~HOLE] == array[~HOLE]).all()
    if channels in (2, 4):
        assert (found[..., -1] == array[..., -1]).all()
    colours = array.shape[2] - (channels in (2, 4))
    changed = (found != array)[HOLE][:, :colours]
    assert changed.mean() > 0.5
    off = np.abs(found.astype(int) - array)[HOLE][:, :colours]
    assert off.mean() < 15  # black or white would be 70 and more


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path, channels, suffix):
    array = levels(channels, np.uint16)
    photo = save(tmp_path / f"photo{suffix}", array if channels > 1 else array[..., 0])
    out = tmp_path / f"filled{suffix}"
    lost, _ = fill(photo, out)
    assert not lost
    found = cv2.imread(str(out), cv2.IMREAD_UNCHANGED).reshape(array.shape)
    found = found[..., [2, 1, 0, 3][:channels]] if channels > 1 else found
    assert found.dtype == np.uint16
    assert (found[~HOLE] == array[~HOLE]).all()
    off = np.abs(found.astype(int) - array)[HOLE] / 65535
    assert 0.005 < off.mean() < 0.06


def test_a_fill_between_two_levels_of_eight_bits_is_kept_in_sixteen(tmp_path):
    photo = read_photo(save(tmp_path / "photo.png", levels(3, np.uint16)))
    seen = photo.picture()
    assert seen.dtype == torch.float32
    photo.put(torch.full_like(seen, 0.50001), HOLE)
    assert (photo.levels[HOLE] == 32768).all()
    assert (photo.levels[~HOLE] == levels(3, np.uint16)[~HOLE]).all()


def test_a_deep_photo_in_a_format_of_eight_bits_says_so(tmp_path):
    photo = save(tmp_path / "photo.png", levels(3, np.uint16))
    lost, filled = fill(photo, tmp_path / "filled.webp")
    assert lost == ["16 bits, which are 8 now"]
    assert np.abs(np.array(filled)[~HOLE] * 257.0 - levels(3, np.uint16)[~HOLE]).max() <= 129


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("source", [".png", ".jpg", ".webp", ".tif"])
def test_profile_exif_and_resolution_go_from_any_format_to_any(tmp_path, source, suffix):
    photo = tmp_path / f"photo{source}"
    options = {"exif": exif()}
    if source == ".tif":  # whose EXIF are tags of its own
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x010F] = "Maker"
        tags[0x8769], tags[0x8825] = {0x9003: "2001:02:03 04:05:06"}, {0x0001: "N"}
        options = {"tiffinfo": tags}
    save(photo, levels(3), icc_profile=SRGB, dpi=(300, 300), **options)
    lost, filled = fill(photo, tmp_path / f"filled{suffix}")
    gone = {".jpg": ["known pixels bit for bit"]}
    if source != ".webp":  # which has none
        gone[".webp"] = ["resolution"]
    assert lost == gone.get(suffix, [])
    assert filled.info["icc_profile"] == SRGB
    found = filled.getexif()
    assert found[0x010F] == "Maker"
    assert found.get_ifd(0x8769)[0x9003] == "2001:02:03 04:05:06"
    assert found.get_ifd(0x8825)[0x0001] == "N"
    if ".webp" not in (source, suffix):
        assert filled.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_deep_png_keeps_profile_exif_and_text_too(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "A slope")
    small = io.BytesIO()
    options = {"pnginfo": text, "icc_profile": SRGB, "exif": exif(6), "dpi": (300, 300)}
    Image.new("RGB", (1, 1)).save(small, "PNG", **options)
    array = levels(3, np.uint16)
    turned = np.rot90(array)  # to be turned a quarter clockwise to stand upright
    plain = cv2.imencode(".png", turned[..., ::-1])[1].tobytes()
    extra = small.getvalue()[33 : small.getvalue().index(b"IDAT") - 4]
    (tmp_path / "photo.png").write_bytes(plain[:33] + extra + plain[33:])
    lost, filled = fill(tmp_path / "photo.png", tmp_path / "filled.png")
    assert not lost
    assert filled.size == (WIDTH, HEIGHT)
    assert (filled.info["icc_profile"], filled.text) == (SRGB, {"Title": "A slope"})
    assert dict(filled.getexif())[0x0112] == 1
    found = cv2.imread(str(tmp_path / "filled.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert (found[~HOLE] == array[~HOLE]).all()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_deep_photo_stands_as_upright_as_one_of_eight_bits(tmp_path, turn):
    eight = save(tmp_path / "eight.png", levels(3), exif=exif(turn))
    small = io.BytesIO()
    Image.new("RGB", (1, 1)).save(small, "PNG", exif=exif(turn))
    plain = cv2.imencode(".png", levels(3)[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    extra = small.getvalue()[33 : small.getvalue().index(b"IDAT") - 4]
    (tmp_path / "deep.png").write_bytes(plain[:33] + extra + plain[33:])
    deep = read_photo(tmp_path / "deep.png")
    assert deep.deep
    assert (deep.levels == read_photo(eight).levels.astype(np.uint16) * 257).all()


def test_text_stays_and_where_it_cannot_the_words_say_so(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "A slope")
    text.add_itxt("Author", "Zoë", "nl", "Auteur")
    photo = save(tmp_path / "photo.png", levels(3), pnginfo=text)
    lost, filled = fill(photo, tmp_path / "filled.png")
    assert (lost, filled.text) == ([], {"Title": "A slope", "Author": "Zoë"})
    assert filled.text["Author"].lang == "nl"
    lost, _ = fill(photo, tmp_path / "filled.tif")
    assert lost == ["text"]
    commented = save(tmp_path / "photo.jpg", levels(3), comment=b"by hand")
    assert fill(commented, tmp_path / "filled.jpg")[1].info["comment"] == b"by hand"


def test_the_exif_of_a_turned_photo_says_that_it_stands_now(tmp_path):
    photo = save(tmp_path / "photo.jpg", np.rot90(levels(3)), exif=exif(6), quality=100)
    mask = save(tmp_path / "upright.png", HOLE.astype(np.uint8) * 255)
    _, filled = fill(photo, tmp_path / "filled.png", mask)
    assert filled.size == (WIDTH, HEIGHT)
    assert filled.getexif()[0x0112] == 1
    with Image.open(photo) as opened:
        known = np.rot90(np.array(opened), -1)
    assert (np.array(filled)[~HOLE] == known[~HOLE]).all()


def test_no_thumbnail_shows_what_was_in_the_hole(tmp_path):
    found = exif()
    found.get_ifd(ifd := 0x0001)  # IFD1, where cameras put it
    found._ifds[ifd] = {0x0103: 6, 0x0201: 0, 0x0202: 4}
    photo = save(tmp_path / "photo.jpg", levels(3), exif=found)
    _, filled = fill(photo, tmp_path / "filled.jpg")
    assert filled.getexif()[0x010F] == "Maker"
    assert not filled.getexif().get_ifd(0x0001)


def test_a_jpeg_is_near_and_has_no_transparency(tmp_path):
    photo = save(tmp_path / "photo.png", levels(4))
    lost, filled = fill(photo, tmp_path / "filled.jpg", quality=98)
    assert lost == ["transparency, which is white now", "known pixels bit for bit"]
    assert (np.array(filled)[:3] > 240).all()
    opaque = ~HOLE & (np.arange(HEIGHT) > 10)[:, None]
    off = np.abs(np.array(filled).astype(int) - levels(4)[..., :3])[opaque]
    assert 0 < off.mean() < 4
    coarse, _ = encode(read_photo(photo), ".jpg", 30)
    assert len(coarse) < (tmp_path / "filled.jpg").stat().st_size


def test_webp_keeps_every_pixel_unless_a_quality_is_asked(tmp_path):
    photo = save(tmp_path / "photo.png", levels(3))
    assert fill(photo, tmp_path / "filled.webp")[0] == []
    lost, filled = fill(photo, tmp_path / "small.webp", quality=50)
    assert lost == ["known pixels bit for bit"]
    assert (np.array(filled)[~HOLE] != levels(3)[~HOLE]).any()


def test_of_an_opaque_photo_a_jpeg_loses_no_transparency(tmp_path):
    array = levels(4)
    array[..., -1] = 255
    photo = save(tmp_path / "photo.png", array)
    assert fill(photo, tmp_path / "filled.jpg")[0] == ["known pixels bit for bit"]
    array[HOLE, -1] = 0
    photo = save(tmp_path / "photo.png", array)
    assert fill(photo, tmp_path / "filled.jpg", "alpha")[0] == ["known pixels bit for bit"]


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_becomes_the_colours_that_it_stands_for(tmp_path, transparent):
    indexed = Image.fromarray(levels(3)).quantize(16)
    options = {"transparency": 3} if transparent else {}
    indexed.save(tmp_path / "photo.png", **options)
    lost, filled = fill(tmp_path / "photo.png", tmp_path / "filled.png")
    assert not lost
    with Image.open(tmp_path / "photo.png") as opened:
        array = np.array(opened.convert("RGBA" if transparent else "RGB"))
    assert (np.array(filled)[~HOLE] == array[~HOLE]).all()


def test_what_is_lost_when_it_is_read_is_said(tmp_path):
    Image.fromarray(levels(3)).convert("CMYK").save(tmp_path / "photo.jpg", icc_profile=SRGB)
    lost, filled = fill(tmp_path / "photo.jpg", tmp_path / "filled.png")
    assert lost == ["CMYK levels, written as 8-bit RGB or grey"]
    assert "icc_profile" not in filled.info
    first, second = (Image.fromarray(levels(3)[::way]) for way in (1, -1))
    first.save(tmp_path / "photo.tif", save_all=True, append_images=[second])
    assert fill(tmp_path / "photo.tif", tmp_path / "filled.tif")[0] == ["1 more frame"]
    Image.fromarray(levels(1)[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    lost, filled = fill(tmp_path / "float.tif", tmp_path / "filled.tif")
    assert lost == ["F levels, written as 8-bit RGB or grey"]
    assert filled.mode == "L"


def test_every_format_is_one_that_is_read_again(tmp_path):
    photo = read_photo(save(tmp_path / "photo.png", levels(3)))
    for suffix, form in FORMATS.items():
        content, _ = encode(photo, suffix.upper())
        with Image.open(io.BytesIO(content)) as opened:
            assert opened.format == form


def test_the_transparent_parts_can_be_the_mask(tmp_path):
    array = levels(4)
    array[HOLE, -1] = 0
    array[:9, :, -1] = 255
    photo = save(tmp_path / "photo.png", array)
    _, filled = fill(photo, tmp_path / "filled.png", "alpha")
    found = np.array(filled)
    assert (found[~HOLE] == array[~HOLE]).all()
    assert (found[..., -1] == 255).all()
    assert np.abs(found[..., :3].astype(int) - array[..., :3])[HOLE].mean() < 15
    opaque = save(tmp_path / "opaque.png", levels(3))
    text = message(fill_file, "telea", opaque, "alpha", tmp_path / "x.png", device="cpu")
    assert text == f"{opaque} has no transparent parts, so 'alpha' marks nothing."


def test_a_half_transparent_photo_is_filled_with_its_own_colours(tmp_path):
    array = np.full((HEIGHT, WIDTH, 4), (200, 100, 40, 128), np.uint8)
    _, filled = fill(save(tmp_path / "photo.png", array), tmp_path / "filled.png")
    # Telea misses a plain colour by some levels, and half transparency doubles them. Colours as
    # they are seen over white, 28 to 107 levels lighter, would be wrong.
    assert np.abs(np.array(filled).astype(int) - array).max() < 10


def test_a_grown_hole_reaches_that_far_in_every_direction(tmp_path):
    hole = np.zeros((20, 30), bool)
    hole[8, 10] = True
    wide = grow(hole, 3)
    assert wide.sum() == 49
    assert wide[5:12, 7:14].all()
    assert grow(hole, 0) is hole
    photo = save(tmp_path / "photo.png", levels(3))
    _, filled = fill(photo, tmp_path / "filled.png", marking=Marking(grow=2))
    changed = (np.array(filled) != levels(3)).any(-1)
    assert not changed[~grow(HOLE, 2)].any()
    assert changed[grow(HOLE, 2) & ~HOLE].mean() > 0.5
    assert message(Marking, grow=-1) == "--grow must be 0 or more pixels; got -1."
    keywords = {"marking": Marking(grow=60), "device": "cpu"}
    text = message(fill_file, "telea", photo, tmp_path / "mask.png", tmp_path / "x.png", **keywords)
    assert text == "--grow 60: nothing is left to see. Give less."


def test_a_mask_of_another_size_is_resized_when_asked_and_covers_all_that_it_did(tmp_path):
    photo = save(tmp_path / "photo.png", levels(3))
    large = np.kron(HOLE, np.ones((3, 3), bool))
    large[0, 0] = True  # a ninth of a pixel
    mask = save(tmp_path / "large.png", large.astype(np.uint8) * 255)
    text = message(fill_file, "telea", photo, mask, tmp_path / "x.png", device="cpu")
    assert text.startswith("mask is 150×180 but the photo is 50×60")
    _, filled = fill(photo, tmp_path / "filled.png", mask, marking=Marking(resize=True))
    changed = (np.array(filled) != levels(3)).any(-1)
    wanted = HOLE.copy()
    wanted[0, 0] = True
    assert not changed[~wanted].any()
    small = save(tmp_path / "small.png", HOLE[::5, ::5].astype(np.uint8) * 255)
    _, filled = fill(photo, tmp_path / "filled.png", small, marking=Marking(resize=True))
    changed = (np.array(filled) != levels(3)).any(-1)
    assert not changed[~np.kron(HOLE[::5, ::5], np.ones((5, 5), bool))].any()
    other = save(tmp_path / "turned.png", large.T.astype(np.uint8) * 255)
    keywords = {"marking": Marking(resize=True), "device": "cpu"}
    assert message(fill_file, "telea", photo, other, tmp_path / "x.png", **keywords) == (
        "mask is 180×150 but the photo is 50×60 (after EXIF rotation): another shape. "
        "--resize-mask is for masks of the same shape."
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("source", [".png", ".jpg", ".webp", ".tif"])
def test_xmp_goes_from_any_format_to_any(tmp_path, source, suffix):
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    options = {"xmp": packet}
    if source == ".png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
        options = {"pnginfo": chunks}
    if source == ".tif":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700] = packet
        options = {"tiffinfo": tags}
    photo = save(tmp_path / f"photo{source}", levels(3), **options)
    _, filled = fill(photo, tmp_path / f"filled{suffix}")
    assert filled.info["xmp"] == packet
