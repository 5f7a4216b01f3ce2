import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gapfill.cache import cache_folder
from gapfill.data import table as table_module
from gapfill.data.sources import hash_split
from gapfill.data.table import Table, generated_table, open_table
from gapfill.errors import GapfillError, UsageError
from gapfill.reading import formats


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Keep the cache, and what the user's machine may have set, out of the tests."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GAPFILL_HOME", str(folder))
    monkeypatch.delenv("GAPFILL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def encode(width=20, height=16, seed=0, form="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """60 pictures in two sub-folders."""
    root = tmp_path / "people"
    for i in range(60):
        path = root / ("ab"[i % 2]) / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(seed=i))
    return root


@pytest.fixture
def builds(monkeypatch):
    """Count how often a table is built rather than taken from the cache."""
    count = []
    build = table_module._build
    monkeypatch.setattr(table_module, "_build", lambda *a: count.append(1) or build(*a))
    return count


def same(one, other):
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.split, other.split)
        and one.names == other.names
        and (one.title, one.crop, one.unreadable) == (other.title, other.crop, other.unreadable)
    )


def test_a_folder_becomes_a_table(folder):
    table = open_table(folder, 16)
    assert table.images.shape == (60, 3, 16, 16)
    assert table.images.dtype == torch.uint8
    assert table.split.dtype == torch.int8
    assert (len(table), table.size, table.title, table.crop) == (60, 16, "people", "center")
    assert table.names == tuple(sorted(table.names))
    assert not table.generated
    with Image.open(folder / "a" / "000.png") as picture:
        pixels = torch.from_numpy(np.asarray(picture)[:, 2:18].copy()).permute(2, 0, 1)
    assert torch.equal(table.images[table.names.index("a/000.png")], pixels)


def test_a_zip_gives_the_same_pictures_as_its_folder(folder, tmp_path):
    archive = tmp_path / "people.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*.png"), reverse=True):
            file.write(path, path.relative_to(folder).as_posix())
    assert same(open_table(folder, 16), open_table(archive, 16))


def test_celeba_is_cut_to_its_box_and_split_by_its_list(tmp_path):
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    for i in (1, 2, 3):
        path = root / "img_align_celeba" / f"00000{i}.jpg"
        path.write_bytes(encode(178, 218, seed=i, form="JPEG"))
    (root / "list_eval_partition.txt").write_text("000001.jpg 2\n000002.jpg 0\n000003.jpg 1\n")
    table = open_table(root, 128)
    assert table.describe() == "CelebA (1 train, 1 val, 1 test), 128×128"
    assert (table.crop, table.split.tolist()) == ("celeba", [2, 0, 1])
    with Image.open(root / "img_align_celeba" / "000001.jpg") as picture:
        box = np.asarray(picture)[57:185, 25:153].transpose(2, 0, 1)
    assert np.array_equal(table.part("test").images[0].numpy(), box)
    assert open_table(root, 108, "108").crop == "108"


def test_adding_a_picture_moves_no_other_to_another_split(folder):
    before = open_table(folder, 16)
    (folder / "a" / "0000.png").write_bytes(encode(seed=99))
    after = open_table(folder, 16)
    assert len(after) == 61
    splits = dict(zip(after.names, after.split.tolist(), strict=True))
    assert [splits[name] for name in before.names] == before.split.tolist()
    assert before.split.tolist() == [hash_split(name) for name in before.names]
    assert len(set(before.split.tolist())) == 3


def test_parts_hold_their_split_and_nothing_else(folder):
    table = open_table(folder, 16)
    parts = [table.part(name) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == 60
    assert sorted(name for part in parts for name in part.names) == list(table.names)
    for number, part in enumerate(parts):
        assert set(part.split.tolist()) == {number}
        for name, image in zip(part.names, part.images, strict=True):
            assert torch.equal(image, table.images[table.names.index(name)])


def test_a_part_in_one_piece_shares_the_tables_memory():
    table = Table(
        images=torch.zeros(5, 3, 8, 8, dtype=torch.uint8),
        names=tuple("abcde"),
        split=torch.tensor([0, 0, 0, 1, 2], dtype=torch.int8),
        title="t",
    )
    assert table.part("train").images.data_ptr() == table.images.data_ptr()


def test_an_empty_part_says_how_many_pictures_there_are(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "25.png").write_bytes(encode())
    table = open_table(tmp_path / "few", 16)
    with pytest.raises(UsageError) as caught:
        table.part("test")
    assert str(caught.value) == (
        "few (1 train), 16×16 has no pictures to test on: of its 1 none is in the test split. "
        "Give more pictures."
    )
    with pytest.raises(UsageError, match="no split is called 'valid'; there are 'train', 'val'"):
        table.part("valid")


def test_the_digest_follows_the_pixels(folder):
    table = open_table(folder, 16)
    assert table.digest() == open_table(folder, 16, cache=False).digest()
    assert len(table.digest()) == 64
    table.images[3, 1, 2, 2] ^= 1
    assert table.digest() != open_table(folder, 16).digest()


def test_a_table_is_built_once_and_then_read_from_the_cache(folder, builds):
    first = open_table(folder, 16)
    assert same(first, open_table(folder, 16))
    assert len(builds) == 1
    open_table(folder, 8)
    open_table(folder, 16, "12")
    assert len(builds) == 3


def test_without_the_cache_nothing_is_written(folder, builds, home):
    for _ in range(2):
        open_table(folder, 16, cache=False)
    assert len(builds) == 2
    assert not home.exists()


def test_a_changed_source_is_read_again_in_place(folder, builds, home):
    open_table(folder, 16)
    (folder / "a" / "000.png").write_bytes(encode(40, 40))
    changed = open_table(folder, 16)
    assert len(builds) == 2
    assert changed.digest() == open_table(folder, 16, cache=False).digest()
    assert len(list((home / "tables").iterdir())) == 1


@pytest.mark.parametrize("where", [0.001, 0.1, 0.5, 0.999])
def test_a_flipped_bit_in_the_cache_is_found(folder, builds, home, capsys, where):
    whole = open_table(folder, 16)
    (file,) = (home / "tables").iterdir()
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= 4
    file.write_bytes(data)
    assert same(whole, open_table(folder, 16))
    assert len(builds) == 2
    assert "is damaged" in capsys.readouterr().err
    open_table(folder, 16)
    assert len(builds) == 2


@pytest.mark.parametrize("length", [0, 10, 60, 200, -1])
def test_a_cache_file_that_is_cut_short_is_built_again(folder, builds, home, capsys, length):
    whole = open_table(folder, 16)
    (file,) = (home / "tables").iterdir()
    file.write_bytes(file.read_bytes()[:length])
    assert same(whole, open_table(folder, 16))
    note = capsys.readouterr().err
    assert note.count("\n") == 1
    assert "building it again" in note


def test_a_cache_that_cannot_be_written_is_only_noted(folder, home, capsys):
    home.write_text("a file where the folder should be")
    assert len(open_table(folder, 16)) == 60
    assert "the table is not cached: cannot write" in capsys.readouterr().err


def spoil(folder, count, of):
    for i in range(of):
        data = encode(seed=i)
        (folder / f"{i:03d}.png").write_bytes(data[:300] if i < count else data)


def test_unreadable_pictures_are_left_out_and_listed(tmp_path, home, capsys):
    folder = tmp_path / "some"
    folder.mkdir()
    spoil(folder, 1, 120)
    for _ in range(2):  # from the folder, then from the cache
        table = open_table(folder, 16)
        assert len(table) == len(table.images) == len(table.split) == 119
        assert table.unreadable == (("000.png", "image file is truncated"),)
        (file,) = home.glob("unreadable-*.txt")
        assert file.read_text() == "000.png\timage file is truncated\n"
        assert capsys.readouterr().err == (
            f"1 of 120 pictures could not be read and were left out (list: {file}; "
            "first: 000.png, image file is truncated).\n"
        )


def test_more_than_one_percent_unreadable_is_an_error(tmp_path, home):
    folder = tmp_path / "bad"
    folder.mkdir()
    spoil(folder, 3, 120)
    with pytest.raises(GapfillError, match="3 of 120 pictures could not be read, more than 1%"):
        open_table(folder, 16)
    (file,) = home.glob("unreadable-*.txt")
    assert len(file.read_text().splitlines()) == 3
    assert not (home / "tables").exists()


def test_extra_pictures_are_for_training_only(folder, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for i in range(40):
        (more / f"{i:03d}.png").write_bytes(encode(30, 30, seed=i))
    alone = open_table(folder, 16)
    table = open_table(folder, 16, extra=[more])
    assert table.title == "people + more"
    assert len(table.part("train")) == len(alone.part("train")) + 40
    assert table.names[-1] == "more/039.png"
    for name in ("val", "test"):
        assert table.part(name).digest() == alone.part(name).digest()


def test_a_size_or_crop_that_makes_no_sense_is_refused_before_reading(tmp_path):
    with pytest.raises(UsageError, match="size is 0; it must be a whole number from 8"):
        open_table(tmp_path / "nowhere", 0)
    with pytest.raises(UsageError, match="crop is 'face'; allowed are"):
        open_table(tmp_path / "nowhere", 64, "face")


def test_without_a_path_the_environment_then_the_folder_then_generated_faces(
    folder, tmp_path, monkeypatch
):
    drawn = Table(torch.zeros(1, 3, 16, 16), ("face",), torch.zeros(1), "drawn", generated=True)
    monkeypatch.setattr(table_module, "generated_table", lambda size, seed: drawn)
    assert open_table(size=16) is drawn
    (tmp_path / "data").mkdir()
    folder.rename(tmp_path / "data" / "celeba")
    assert open_table(size=16).title == "celeba"
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes(encode())
    monkeypatch.setenv("GAPFILL_DATA", str(other))
    assert open_table(size=16).title == "other"
    monkeypatch.setenv("GAPFILL_DATA", str(tmp_path / "gone"))
    with pytest.raises(GapfillError, match=r"gone \(from \$GAPFILL_DATA\)"):
        open_table(size=16)


def test_generated_faces_say_so(monkeypatch):
    monkeypatch.setattr(table_module, "GENERATED_COUNTS", (5, 2, 3))
    table = generated_table(32, seed=1)
    assert table.describe() == "generated faces, not CelebA (5 train, 2 val, 3 test), 32×32"
    assert table.generated
    assert table.names[3] == "face-000003"
    assert table.part("test").generated
    assert table.digest() != generated_table(32, seed=2).digest()


def test_the_cache_lies_where_the_system_keeps_caches(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "home"
    monkeypatch.delenv("GAPFILL_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "gapfill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "gapfill"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "gapfill"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "gapfill"


def test_weights_trained_on_celeba_say_so():
    one = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    split = torch.zeros(1, dtype=torch.int8)
    celeba = Table(one, ("a",), split, "CelebA + lfw")
    assert "non-commercial research" in celeba.provenance
    faces = Table(one, ("a",), split, "generated faces, not CelebA", generated=True)
    assert faces.provenance == "generated faces, not CelebA"


def test_a_table_shows_itself_in_one_line(folder):
    table = open_table(folder, 16)
    assert repr(table) == f"<Table {table.describe()}>"


FORMS = ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF"]


@pytest.mark.parametrize("form", FORMS)
def test_every_format_in_a_mixed_folder_is_read(tmp_path, form):
    suffixes = formats.FORMATS[form]
    if form not in formats.allowed():
        pytest.skip(f"this Pillow reads no {form}")
    (tmp_path / "some").mkdir()
    for i, suffix in enumerate(suffixes):
        data = encode(16, 16, seed=i, form=form)
        (tmp_path / "some" / f"{i}{suffix.upper()}").write_bytes(data)
    (tmp_path / "some" / "a.png").write_bytes(encode())
    assert len(open_table(tmp_path / "some", 16)) == len(suffixes) + 1


def test_the_first_line_says_who_split_the_pictures_and_what_was_passed_over(tmp_path):
    root = tmp_path / "people"
    for name in ("train/a.png", "test/b.png", "test/c.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode())
    (root / "d.heic").write_bytes(b"")
    for _ in range(2):  # from the folder, then from the cache
        table = open_table(root, 16)
        assert table.own_split
        assert table.introduce() == (
            "people (1 train, 2 test), 16×16, split by the folders train/, test/; "
            "passed over, as no format that is read: 1 .heic"
        )
        assert table.part("test").introduce().startswith("people (2 test), 16×16, split by the f")
    with pytest.raises(UsageError) as caught:
        table.part("val")
    assert str(caught.value).endswith(
        "It is split by the folders train/, test/: mend that, or give other pictures."
    )


def test_extra_pictures_bring_their_notes_and_not_their_split(folder, tmp_path):
    more = tmp_path / "more"
    (more / "train").mkdir(parents=True)
    (more / "train" / "a.png").write_bytes(encode())
    (more / "b.heic").write_bytes(b"")
    table = open_table(folder, 16, extra=[more])
    assert (table.own_split, table.rule) == (False, "the hash of each name")
    assert table.notes == ("more: passed over, as no format that is read: 1 .heic",)


def test_a_cache_of_another_version_is_built_again_without_a_word(folder, builds, home, capsys):
    open_table(folder, 16)
    (file,) = (home / "tables").iterdir()
    file.write_bytes(file.read_bytes().replace(b"gapfill table ", b"gapfill table 9", 1))
    open_table(folder, 16)
    assert len(builds) == 2
    assert capsys.readouterr().err == ""


def test_what_decoders_say_is_listed_and_not_printed(tmp_path, home, capfd):
    (tmp_path / "some").mkdir()
    whole = encode(64, 64, form="JPEG")
    (tmp_path / "some" / "a.jpg").write_bytes(whole[:-2] + b"abcdefgh" * 5 + whole[-2:])
    for i in range(3):
        (tmp_path / "some" / f"{i}.png").write_bytes(encode(seed=i))
    assert len(open_table(tmp_path / "some", 16)) == 4
    (file,) = home.glob("remarks-*.txt")
    assert file.read_text().startswith("a.jpg\tCorrupt JPEG data: ")
    said = capfd.readouterr().err
    assert said.startswith(f"1 picture was read, though the decoder complained (list: {file}; ")
    assert said.count("\n") == 1
