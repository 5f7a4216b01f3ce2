"""Masks from files: a picture, or a folder of them."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from gapfill.errors import UsageError
from gapfill.masks import area, check, describe, draw, inverted_files, parse
from gapfill.masks.files import look
from gapfill.pictures import PictureError


def save_mask(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return f"file:{path}"


def corner(size=16, dtype=np.uint8, white=255):
    array = np.zeros((size, size), dtype)
    array[: size // 4, : size // 2] = white
    return array


def test_a_mask_picture_is_read_with_white_missing(tmp_path):
    kind = save_mask(tmp_path / "one.png", corner())
    drawn = draw(kind, range(3), 16)
    assert torch.equal(drawn, torch.from_numpy(corner() / 255).float().expand(3, 1, 16, 16))


@pytest.mark.parametrize(("size", "was"), [(32, 16), (16, 48), (64, 16)])
def test_a_mask_picture_of_another_size_is_resized_to_the_nearest_pixel(tmp_path, size, was):
    kind = save_mask(tmp_path / "one.png", corner(was))
    assert torch.equal(draw(kind, 0, size)[0, 0], torch.from_numpy(corner(size) / 255).float())


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(corner(dtype=np.uint16, white=65000) + np.uint16(300)),
        Image.fromarray(corner()).convert("1"),
        Image.fromarray(corner()).convert("RGB").convert("P"),
        Image.merge("LA", [Image.new("L", (16, 16), "white"), Image.fromarray(corner())]),
        Image.merge("LA", [Image.new("L", (16, 16), "black"), Image.fromarray(corner())]),
    ],
    ids=["16 bits", "1 bit", "palette", "white on transparent", "black on transparent"],
)
def test_mask_pictures_of_every_mode_mean_the_same(tmp_path, picture):
    picture.save(tmp_path / "one.png")
    drawn = draw(f"file:{tmp_path / 'one.png'}", 0, 16)
    assert torch.equal(drawn[0, 0], torch.from_numpy(corner() / 255).float())


def test_a_mask_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn a quarter clockwise
    kind = save_mask(tmp_path / "one.png", np.rot90(corner()).copy(), exif=exif)
    assert torch.equal(draw(kind, 0, 16)[0, 0], torch.from_numpy(corner() / 255).float())


def test_a_folder_of_masks_is_walked_by_name_and_round_again(tmp_path):
    save_mask(tmp_path / "b.png", corner().T.copy())
    save_mask(tmp_path / "a.png", corner())
    (tmp_path / "notes.txt").write_text("not a mask")
    drawn = draw(f"file:{tmp_path}", [0, 1, 2, 7], 16)[:, 0]
    first, second = (torch.from_numpy(one / 255).float() for one in (corner(), corner().T))
    assert torch.equal(drawn, torch.stack([first, second, first, second]))


def test_an_edited_mask_picture_is_read_again(tmp_path):
    kind = save_mask(tmp_path / "one.png", corner())
    before = draw(kind, 0, 16)
    save_mask(tmp_path / "one.png", 255 - corner())
    os.utime(tmp_path / "one.png", ns=(0, 0))
    assert torch.equal(draw(kind, 0, 16), 1 - before)


def test_an_edited_mask_picture_in_a_folder_is_read_again(tmp_path):
    save_mask(tmp_path / "a.png", corner())
    kind = save_mask(tmp_path / "b.png", corner()).removesuffix("/b.png")
    before = draw(kind, 1, 16)
    save_mask(tmp_path / "b.png", 255 - corner())
    assert torch.equal(draw(kind, 1, 16), 1 - before)


def test_masks_in_folders_of_folders_are_found_and_hidden_ones_are_not(tmp_path):
    for number, name in enumerate(["b/x/2.png", "a/1.png", "b/1.PNG", "0.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save_mask(tmp_path / name, np.roll(corner(), number, 0))
    for name in ("._0.png", "b/._1.png", "__MACOSX/0.png", ".thumbnails/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"resource fork")
    drawn = draw(f"file:{tmp_path}", range(4), 16)[:, 0]
    wanted = [np.roll(corner(), number, 0) / 255 for number in (3, 1, 2, 0)]
    assert torch.equal(drawn, torch.from_numpy(np.stack(wanted)).float())


def test_links_that_loop_end(tmp_path):
    kind = save_mask(tmp_path / "a.png", corner()).removesuffix("/a.png")
    try:
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links")
    assert torch.equal(draw(kind, 0, 16), draw(f"{kind}/a.png", 0, 16))
    assert look(kind, 16)[0] == 1  # seen once, not once a turn


def test_masks_may_be_the_other_way_round(tmp_path):
    kind = save_mask(tmp_path / "one.png", 255 - corner())
    (other,) = inverted_files([kind])
    assert other == f"inverted-{kind}"
    assert torch.equal(draw(other, 0, 16)[0, 0], torch.from_numpy(corner() / 255).float())
    assert inverted_files([other, "center"]) == (kind, "center")
    assert inverted_files([f"rect+{kind}"]) == (f"rect+{other}",)
    with pytest.raises(UsageError, match="is for masks in files"):
        inverted_files(["center", "rect+brush"])


def test_masks_the_wrong_way_round_are_refused_before_anything_is_drawn(tmp_path):
    few = np.zeros((64, 64), np.uint8)
    few[:8, :8] = 255
    kind = save_mask(tmp_path / "few.png", 255 - few)
    with pytest.raises(UsageError) as caught:
        check(kind)
    assert str(caught.value) == (
        f"mask picture {tmp_path / 'few.png'}: 98% of it is white, which means missing; if yours "
        "is the other way round, use --invert-mask (in Python and recipes, inverted-file:PATH is "
        "the inverse of file:PATH)"
    )
    check(f"inverted-{kind}")
    with pytest.raises(UsageError, match=r"98% of it is black, .* leave it out"):
        check(f"inverted-{save_mask(tmp_path / 'right.png', few)}")


def test_masks_are_described_by_their_number_and_share(tmp_path):
    for name in "abc":
        kind = save_mask(tmp_path / f"{name}.png", corner()).removesuffix(f"/{name}.png")
    assert describe(f"{kind}+center") == f"{kind} (3 pictures, 12% missing)+center"
    assert describe(f"inverted-{kind}") == (
        f"inverted-{kind} (3 pictures, 88% missing: or the other way round? --invert-mask)"
    )


def test_a_path_may_hold_plus_signs_and_a_home(tmp_path, monkeypatch):
    (tmp_path / "a+b").mkdir()
    save_mask(tmp_path / "a+b" / "c+.png", corner())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for path in (f"{tmp_path}/a+b", f"{tmp_path}/a+b/c+.png", "~/a+b"):
        assert parse(f"rect+file:{path}+brush") == ("rect", f"file:{path}", "brush")
        assert area(draw(f"file:{path}", 0, 16)).item() == 0.125
    with pytest.raises(UsageError, match="no such file or folder"):
        parse("file:~/a+c")


@pytest.mark.parametrize("name", ["a" * 5000, "null\0character", "~nobody-of-this-name/x"])
def test_a_path_that_cannot_be_is_refused_in_one_line(name):
    with pytest.raises(UsageError) as caught:
        check(f"file:{name}")
    assert len(str(caught.value)) < 300


def test_a_photo_is_no_mask(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    with pytest.raises(UsageError, match=r"one\.png is no mask: it has many colours, as a photo"):
        check(save_mask(tmp_path / "one.png", photo))


def test_a_mask_picture_can_be_one_of_a_mixture(tmp_path):
    kind = save_mask(tmp_path / "one.png", corner())
    assert parse(f"rect+{kind}") == ("rect", kind)
    shares = area(draw(f"{kind}+half", range(50), 16))
    assert set(shares.tolist()) == {0.125, 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((16, 16), np.uint8), "all black"),
        (np.full((16, 16), 255, np.uint8), "all white"),
        (np.zeros((16, 20), np.uint8), "20×16 pixels; a mask must be square"),
    ],
)
def test_a_mask_picture_that_does_not_serve_is_refused_by_name(tmp_path, content, message):
    kind = save_mask(tmp_path / "odd.png", content)
    with pytest.raises(UsageError, match=message) as caught:
        draw(kind, 0, 16)
    assert "odd.png" in str(caught.value)


def test_a_broken_mask_picture_is_refused_by_name(tmp_path):
    path = tmp_path / "half.png"
    save_mask(path, np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(PictureError, match=r"^cannot read .*half\.png: image file is truncated"):
        draw(f"file:{path}", 0, 16)


def test_an_empty_folder_of_masks_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no picture in it"):
        draw(f"file:{tmp_path}", 0, 16)


def test_a_mask_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        check(f"file:{tmp_path / 'none.png'}")
