"""A folder of pictures, filled in one go."""

import json
import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from common import message
from PIL import Image

import gapfill
from gapfill import registry
from gapfill.commands import main as cli
from gapfill.errors import UsageError
from gapfill.fill import folder
from gapfill.fill.folder import fill_folder
from gapfill.fill.painting import fill_any_size, paint, paint_many
from gapfill.inpainter import Inpainter

SIZES = {"a": (40, 50), "b": (40, 50), "c": (70, 90), "d": (33, 47), "e": (64, 64)}


class Mean(Inpainter):
    """Fills with the mean of what is known, and keeps count of its batches."""

    multiple = 1
    batches: list[int]

    @dataclass(frozen=True)
    class Config:
        """Settings."""

        size: int = 32

    def __init__(self, config=None):
        super().__init__(config or self.Config())
        self.batches = []

    def fill(self, known, mask):
        self.batches.append(len(known))
        total, count = known.sum((2, 3), keepdim=True), (1 - mask).sum((2, 3), keepdim=True)
        return (total / count).expand_as(known)


def pixels(name):
    generator = np.random.default_rng(ord(name))
    return generator.integers(0, 256, (*SIZES[name], 3), dtype=np.uint8)


def hole(name):
    """One of its own for each picture."""
    found = np.zeros(SIZES[name], np.uint8)
    found[5 + ord(name) % 7 : 17, 8:20] = 255
    return found


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for name in SIZES:
        Image.fromarray(pixels(name)).save(tmp_path / "photos" / f"{name}.png")
        Image.fromarray(hole(name)).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path / "photos"


@pytest.fixture
def model(monkeypatch):
    registry.list_models()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    gapfill.register("known_mean")(Mean)
    return Mean()


def fill(photos, *words):
    command = ["fill", "telea", photos, "--mask", photos.parent / "masks", "--device", "cpu"]
    return cli.main([*map(str, command), "--out", str(photos.parent / "out"), *map(str, words)])


def read(path):
    with Image.open(path) as picture:
        return np.array(picture)


def names(photos):
    return sorted(path.name for path in (photos.parent / "out").glob("*.*g"))


def test_every_picture_is_filled_as_it_would_be_alone(photos, capsys):
    assert fill(photos) == 0
    assert capsys.readouterr().err == f"filled 5 pictures into {photos.parent / 'out'}\n"
    for name in SIZES:
        alone = photos.parent / "alone.png"
        words = ["telea", photos / f"{name}.png", photos.parent / "masks" / f"{name}.png"]
        assert cli.main(["fill", *map(str, words), "--out", str(alone), "--quiet"]) == 0
        assert (read(photos.parent / "out" / f"{name}.png") == read(alone)).all()
        known = hole(name) == 0
        assert (read(alone)[known] == pixels(name)[known]).all()


def test_windows_of_many_pictures_are_shown_together(model):
    images = [torch.from_numpy(pixels(name)).movedim(-1, 0).clone() for name in SIZES]
    holes = [hole(name) > 0 for name in SIZES]
    wanted = [
        fill_any_size(model, image[None], torch.from_numpy(mask)[None, None].float())[0]
        for image, mask in zip(images, holes, strict=True)
    ]
    alone = model.batches[:]
    model.batches.clear()
    paint_many(model, images, holes)
    assert sum(model.batches) == sum(alone)
    assert len(model.batches) == 1
    for image, one in zip(images, wanted, strict=True):
        assert (image.int() - one.int()).abs().max() <= 1


def test_noise_does_not_depend_on_the_pictures_beside(model, monkeypatch):
    monkeypatch.setattr(Mean, "stochastic", True)
    images = [torch.from_numpy(pixels(name)).movedim(-1, 0).clone() for name in SIZES]
    paint_many(model, images, [hole(name) > 0 for name in SIZES])
    assert set(model.batches) == {1}


def test_a_stochastic_model_fills_each_picture_of_a_folder_by_the_seed():
    model = gapfill.create("rcgan", size=32, width=4)
    model.trained = True
    images = [torch.from_numpy(pixels(name)).movedim(-1, 0) for name in "ab"]
    holes = [hole(name) > 0 for name in "ab"]

    def filled(seed):
        made = [image.clone() for image in images]
        paint_many(model, made, holes, seed)
        return made

    for image, missing, one, other in zip(images, holes, filled(3), filled(4), strict=True):
        alone = image.clone()
        paint(model, alone, missing, 3)
        assert torch.equal(one, alone)
        assert not torch.equal(one, other)


def test_one_mask_serves_for_all_pictures_of_its_size(photos, capsys):
    mask = photos.parent / "masks" / "a.png"
    assert fill(photos, "--mask", mask) == 1
    said = capsys.readouterr().err
    assert names(photos) == ["a.png", "b.png"]
    assert "c.png is left out: mask is 50×40 but the photo is 90×70" in said
    assert said.endswith("3 of 5 pictures could not be filled: c.png, d.png, e.png.\n")
    known = hole("a") == 0
    assert (read(photos.parent / "out" / "b.png")[known] == pixels("b")[known]).all()


def test_bad_pictures_are_named_and_the_others_go_on(photos, capsys):
    (photos / "a.png").write_bytes((photos / "a.png").read_bytes()[:300])
    (photos.parent / "masks" / "c.png").unlink()
    Image.new("L", SIZES["d"][::-1]).save(photos.parent / "masks" / "d.png")
    assert fill(photos, "--quiet") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"a.png is left out: cannot read {photos / 'a.png'}: ")
    masks = photos.parent / "masks"
    assert lines[1] == f"c.png is left out: there is no mask of its name in {masks}."
    assert lines[2] == "d.png is left out: the mask is empty: nothing to fill."
    assert lines[3] == "gapfill: 3 of 5 pictures could not be filled: a.png, c.png, d.png."
    assert names(photos) == ["b.png", "e.png"]


def test_a_picture_that_the_model_cannot_fill_costs_only_itself(photos, capsys):
    assert fill(photos, "--context", "0,0,40") == 1  # 33 rows have no square of 40
    said = capsys.readouterr().err
    assert "d.png is left out: --context 0,0,40: the square leaves the picture of 47×33." in said
    assert names(photos) == ["a.png", "b.png", "c.png", "e.png"]


def test_the_same_command_again_fills_what_is_missing_or_newer(photos, capsys, monkeypatch):
    assert fill(photos) == 0
    out = photos.parent / "out"
    (out / "b.png").unlink()
    before = {name: (out / f"{name}.png").stat().st_mtime_ns for name in "acde"}
    later = (out / "c.png").stat().st_mtime + 10
    os.utime(photos / "c.png", (later, later))
    capsys.readouterr()
    assert fill(photos) == 0
    assert capsys.readouterr().err == f"filled 2 pictures into {out}, 3 were there already\n"
    now = {name: (out / f"{name}.png").stat().st_mtime_ns for name in "acde"}
    assert [name for name in now if now[name] != before[name]] == ["c"]


def test_a_picture_that_was_moved_here_with_its_old_time_is_filled_again(photos, capsys):
    assert fill(photos) == 0
    other = photos.parent / "other.png"
    Image.fromarray(255 - pixels("a")).save(other)
    os.utime(other, (1, 1))
    other.replace(photos / "a.png")
    capsys.readouterr()
    assert fill(photos) == 0
    assert "filled 1 pictures" in capsys.readouterr().err
    known = hole("a") == 0
    filled = read(photos.parent / "out" / "a.png")
    assert (filled[known] == 255 - pixels("a")[known]).all()


def test_another_folder_or_format_is_not_taken_for_the_same(photos, tmp_path, capsys):
    assert fill(photos) == 0
    assert fill(photos, "--format", "jpg") == 2
    assert "were filled otherwise (format: None there, .jpg now)" in capsys.readouterr().err
    photos.rename(tmp_path / "others")
    assert fill(tmp_path / "others") == 2
    assert "were filled otherwise (pictures: " in capsys.readouterr().err


def test_pictures_in_formats_that_are_not_read_are_named(photos, capsys):
    (photos / "z.heic").write_bytes(b"")
    (photos / "notes.txt").write_bytes(b"")
    (photos / "clip.mp4").write_bytes(b"")
    assert fill(photos) == 1
    said = capsys.readouterr().err
    assert "z.heic is left out: .heic is no format that is read; allowed are JPEG, " in said
    assert "1 of 6 pictures could not be filled: z.heic." in said
    assert "clip" not in said


def test_a_picture_beside_another_of_its_name_that_is_not_read_is_enough(photos, capsys):
    (photos / "a.cr2").write_bytes(b"")
    (photos / "albums.raw").mkdir()
    assert fill(photos) == 0
    assert "left out" not in capsys.readouterr().err


def test_what_a_format_has_no_room_for_costs_only_itself(photos, capsys):
    wide = np.zeros((2, 16_384, 3), np.uint8)
    Image.fromarray(wide).save(photos / "b.png")
    mask = np.zeros((2, 16_384), np.uint8)
    mask[:, 8:12] = 255
    Image.fromarray(mask).save(photos.parent / "masks" / "b.png")
    assert fill(photos, "--format", "webp") == 1
    said = capsys.readouterr().err
    assert "b.png is left out: a WEBP has at most 16,383 pixels a side" in said
    assert "filled 4 pictures" in said
    assert "1 of 5 pictures could not be filled: b.png." in said


def test_rights_and_copies_of_the_same_pictures_fill_nothing_again(photos, capsys):
    assert fill(photos) == 0
    (photos / "a.png").chmod(0o600)
    record = photos.parent / "out" / "filled.jsonl"
    record.write_text(record.read_text() + '["a.p')  # of a run that was killed
    capsys.readouterr()
    assert fill(photos) == 0
    assert "filled 0 pictures" in capsys.readouterr().err


def test_a_picture_that_changes_while_it_is_filled_is_filled_again(photos, monkeypatch, capsys):
    paint = folder.paint_many

    def meanwhile(*arguments):
        paint(*arguments)
        Image.fromarray(255 - pixels("a")).save(photos / "a.png")
        os.utime(photos / "a.png", ns=(0, 0))

    monkeypatch.setattr(folder, "paint_many", meanwhile)
    assert fill(photos) == 0
    monkeypatch.setattr(folder, "paint_many", paint)
    capsys.readouterr()
    assert fill(photos) == 0
    assert "filled 1 picture" in capsys.readouterr().err
    filled = np.asarray(Image.open(photos.parent / "out" / "a.png"))
    assert np.array_equal(filled[0], 255 - pixels("a")[0])


def test_a_link_to_nowhere_costs_only_itself(photos, capsys):
    assert fill(photos) == 0
    (photos / "a.png").unlink()
    (photos / "a.png").symlink_to(photos / "gone.png")
    capsys.readouterr()
    assert fill(photos) == 1
    said = capsys.readouterr().err
    assert "a.png is left out" in said
    assert "1 of 5 pictures could not be filled: a.png." in said


def test_names_are_paired_however_their_accents_are_spelt(photos, capsys):
    for name in "bcde":
        (photos / f"{name}.png").unlink()
    (photos / "a.png").rename(photos / "\u00e9.png")
    (photos.parent / "masks" / "a.png").rename(photos.parent / "masks" / "e\u0301.png")
    assert fill(photos) == 0
    assert names(photos) == ["\u00e9.png"]


def test_an_interrupted_folder_goes_on(photos, monkeypatch):
    monkeypatch.setattr(folder, "_BATCH", 1)
    paint, count = folder.paint_many, []

    def interrupted(*arguments):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        paint(*arguments)

    monkeypatch.setattr(folder, "paint_many", interrupted)
    assert fill(photos) == 130
    assert names(photos) == ["a.png", "b.png"]
    assert fill(photos) == 0
    assert len(count) == 6
    assert names(photos) == [f"{name}.png" for name in SIZES]


def test_what_a_kill_left_before_the_first_picture_is_in_nobodys_way(photos):
    out = photos.parent / "out"
    out.mkdir()
    (out / ".partial-abc").write_text("", encoding="utf-8")
    assert fill(photos, "--quiet") == 0
    assert not (out / ".partial-abc").exists()


def test_a_folder_filled_otherwise_or_with_other_things_is_refused(photos, capsys):
    assert fill(photos, "--quiet") == 0
    assert fill(photos, "--grow", 2) == 2
    out = photos.parent / "out"
    assert capsys.readouterr().err == (
        f"gapfill: {out} holds pictures that were filled otherwise (grow: 0 there, 2 now). "
        "Give another --out.\n"
    )
    (out / "fill.json").unlink()
    assert fill(photos) == 2
    assert "is not empty and holds no fill.json. Give another --out." in capsys.readouterr().err
    assert fill(photos, "--out", photos) == 2
    assert capsys.readouterr().err.endswith("itself. Give a folder of its own.\n")
    assert len(list(photos.iterdir())) == len(SIZES)


def test_pictures_keep_their_formats_or_get_the_one_that_is_asked(photos, capsys):
    Image.fromarray(pixels("a")).save(photos / "a.JPG", quality=95)
    (photos / "a.png").unlink()
    Image.fromarray(pixels("b")).save(photos / "b.bmp")
    (photos / "b.png").unlink()
    assert fill(photos) == 0
    assert "not kept in 1: known pixels bit for bit" in capsys.readouterr().err
    out = photos.parent / "out"
    written = sorted(path.name for path in out.iterdir() if not path.name.startswith("fill"))
    assert written == ["a.JPG", "b.png", "c.png", "d.png", "e.png"]
    assert fill(photos, "--format", "webp", "--out", photos.parent / "webp") == 0
    assert {path.suffix for path in (photos.parent / "webp").iterdir()} == {
        ".webp",
        ".json",
        ".jsonl",
    }
    known = hole("b") == 0
    for path in (out / "b.png", photos.parent / "webp" / "b.webp"):
        assert (read(path)[known] == pixels("b")[known]).all()


def test_the_transparent_parts_of_each_picture_can_be_its_mask(photos, tmp_path):
    for name in SIZES:
        both = np.concatenate([pixels(name), 255 - hole(name)[..., None]], 2)
        Image.fromarray(both).save(photos / f"{name}.png")
    assert fill(photos, "--mask", "alpha", "--quiet") == 0
    for name in SIZES:
        filled = read(tmp_path / "out" / f"{name}.png")
        assert (filled[..., 3] == 255).all()
        known = hole(name) == 0
        assert (filled[known, :3] == pixels(name)[known]).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x"], "give one mask: MODEL PHOTO MASK, or --mask MASK."),
        (["m.png", "--mask", "m.png", "--out", "x"], "give one mask: MODEL PHOTO MASK, or"),
        (["--mask", "gone", "--out", "x"], "there is no mask at gone."),
        (
            ["m.png", "--format", "png", "--quality", "80", "--out", "x"],
            "--quality is of .jpg and .webp; a .png keeps every pixel.",
        ),
        (["--mask", "alpha", "--quality", "0", "--out", "x"], "--quality must be 1 to 100; got 0."),
        (["--mask", "alpha", "--grow", "-1", "--out", "x"], "--grow must be 0 or more pixels"),
    ],
)
def test_options_that_make_no_sense_get_one_line(photos, capsys, words, said):
    assert cli.main(["fill", "telea", str(photos), *words]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"gapfill: {said}")
    assert line.count("\n") == 1


def test_a_folder_without_pictures_and_a_model_without_training_are_refused(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    masks, out = tmp_path / "masks", tmp_path / "out"
    text = message(fill_folder, "telea", tmp_path / "empty", masks, out)
    assert text.startswith(f"{tmp_path / 'empty'} holds no pictures (looked for .jpg ")
    with pytest.raises(UsageError, match="has to be trained first"):
        fill_folder("cnn", photos, masks, out, device="cpu")
    assert not out.exists()


def test_the_record_says_how_pictures_were_filled(photos, tmp_path):
    assert fill(photos, "--quiet", "--grow", 1, "--seed", 3) == 0
    record = json.loads((tmp_path / "out" / "fill.json").read_text())
    assert (record["model"], record["grow"], record["seed"]) == ("telea", 1, 3)
