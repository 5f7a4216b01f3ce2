"""What stands beside a photo's pixels may be damaged, too long or wrong: the fill goes on."""

import io
import struct

import numpy as np
import pytest
from common import message
from PIL import Image, PngImagePlugin, TiffImagePlugin

from gapfill.commands import main as cli
from gapfill.fill.encoding import encode
from gapfill.fill.kept import read_photo
from gapfill.pictures import read_picture

WIDTH, HEIGHT = 60, 40
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def saved(path, pixels=PIXELS, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def tiff_ifd(*entries):
    """A little-endian EXIF block with these entries as they are: tag, type, count, value."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return b"Exif\0\0" + head + body + b"\0" * 64


DAMAGED = {
    "a resolution in words": tiff_ifd((282, 2, 4, b"abc\0"), (271, 2, 4, b"Cam\0")),
    "a unit in words": tiff_ifd((271, 2, 4, b"Cam\0"), (296, 2, 4, b"abc\0")),
    "a place before the file": tiff_ifd((271, 2, 4, b"Cam\0"), (34853, 9, 1, b"\xf0\xff\xff\xff")),
}


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_of_damaged_exif_the_rest_is_kept(tmp_path, what, suffix):
    photo = read_photo(saved(tmp_path / "photo.jpg", exif=DAMAGED[what]))
    assert photo.lost == ("damaged EXIF",)
    content, lost = encode(photo, suffix)
    assert "damaged EXIF" in lost
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.getexif()[271] == "Cam"


def test_a_resolution_that_is_no_number_is_left_out(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (282, 283):
        tags[tag] = TiffImagePlugin.IFDRational(300, 0)
        tags.tagtype[tag] = 5
    photo = read_photo(saved(tmp_path / "photo.tif", tiffinfo=tags))
    assert "dpi" not in photo.said
    for suffix in (".tif", ".png", ".jpg"):
        assert encode(photo, suffix)[0]


def test_xmp_that_a_jpeg_has_no_room_for_is_said(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta>" + " " * 70_000 + "</x:xmpmeta>")
    photo = read_photo(saved(tmp_path / "photo.png", pnginfo=text))
    assert "XMP, which is too long" in encode(photo, ".jpg")[1]
    assert encode(photo, ".png")[1] == []


@pytest.mark.parametrize(
    ("size", "suffix", "most"), [(16_384, ".webp", "16,383"), (65_501, ".jpg", "65,500")]
)
def test_a_photo_that_a_format_has_no_room_for_gets_one_line(tmp_path, size, suffix, most):
    photo = read_photo(saved(tmp_path / "photo.png", np.zeros((2, size, 3), np.uint8)))
    assert f"has at most {most} pixels a side; this photo is {size}×2." in message(
        encode, photo, suffix
    )


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/">{}</x:xmpmeta>'


@pytest.mark.parametrize(
    "turned", ['<r tiff:Orientation="6"/>', "<r><tiff:Orientation>6</tiff:Orientation></r>"]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("with_exif", [True, False])
def test_a_photo_that_its_xmp_turns_is_written_upright(tmp_path, turned, suffix, with_exif):
    exif = Image.Exif()
    if with_exif:
        exif[274] = 6
    path = saved(tmp_path / "photo.jpg", xmp=XMP.format(turned).encode(), exif=exif)
    assert read_picture(path).size == (HEIGHT, WIDTH)
    (tmp_path / f"filled{suffix}").write_bytes(encode(read_photo(path), suffix)[0])
    assert read_picture(tmp_path / f"filled{suffix}").size == (HEIGHT, WIDTH)


def test_thumbnails_in_xmp_and_in_raw_profiles_go_too(tmp_path):
    xmp = XMP.format("<a/><xmp:Thumbnails>\n<b>before</b>\n</xmp:Thumbnails><c/>")
    photo = read_photo(saved(tmp_path / "photo.jpg", xmp=xmp.encode()))
    assert photo.said["xmp"] == XMP.format("<a/><c/>").encode()
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n       6\n457869660000\n")
    text.add_text("Title", "kept")
    photo = read_photo(saved(tmp_path / "photo.png", pnginfo=text))
    assert photo.said["text"] == {"Title": "kept"}


def test_a_profile_for_grey_stands_in_grey_files_alone(tmp_path):
    profile = bytes(16) + b"GRAY" + bytes(108)
    grey = np.stack([PIXELS[..., 0], np.full_like(PIXELS[..., 0], 255)], 2)
    photo = read_photo(saved(tmp_path / "photo.png", grey, icc_profile=profile))
    for suffix, lost in ((".png", False), (".tif", False), (".jpg", True), (".webp", True)):
        content, words = encode(photo, suffix)
        assert ("the profile for grey" in words) is lost
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.info.get("icc_profile") is None) is lost


def test_what_a_format_has_no_place_for_is_said(tmp_path):
    photo = read_photo(saved(tmp_path / "photo.jpg", dpi=(300, 300), comment=b"mine"))
    assert encode(photo, ".webp")[1] == ["the comment", "resolution"]
    assert encode(photo, ".png")[1] == ["the comment"]
    assert encode(photo, ".jpg")[1] == ["known pixels bit for bit"]


def test_sixteen_bits_of_a_ppm_stay_sixteen_bits(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    (tmp_path / "photo.ppm").write_bytes(b"P6 5 4 65535\n" + deep.astype(">u2").tobytes())
    photo = read_photo(tmp_path / "photo.ppm")
    assert (photo.levels == deep).all()
    twelve = (deep >> 4).astype(">u2")
    (tmp_path / "twelve.ppm").write_bytes(b"P6 5 4 4095\n" + twelve.tobytes())
    found = read_photo(tmp_path / "twelve.ppm").levels  # which Pillow brings to 8 bits
    assert np.abs(found.astype(int) - (deep >> 8)).max() <= 1
    (tmp_path / "plain.ppm").write_bytes(b"P6 5 4 255\n" + (deep >> 8).astype("u1").tobytes())
    assert (read_photo(tmp_path / "plain.ppm").levels == deep >> 8).all()


def test_one_photo_with_damaged_exif_costs_a_folder_nothing(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    saved(tmp_path / "photos" / "a.jpg", exif=DAMAGED["a unit in words"])
    saved(tmp_path / "photos" / "b.png")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:20, 10:20] = 255
    saved(tmp_path / "mask.png", mask)
    words = ("fill", "telea", tmp_path / "photos", tmp_path / "mask.png", "--device", "cpu")
    assert cli.main([*map(str, words), "--out", str(tmp_path / "out")]) == 0
    assert "not kept in 1: damaged EXIF" in capsys.readouterr().err
