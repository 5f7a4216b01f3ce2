import os
import zipfile

import pytest

from gapfill.data.sources import hash_split, open_source
from gapfill.errors import GapfillError, UsageError


def touch(path, data=b"pixels"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def make_zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_pictures_are_found_in_nested_folders_whatever_their_case(tmp_path):
    for name in ("b.JPG", "a/x.jpeg", "a/deep/y.PNG", "z.webp", "a/notes.txt", "c.gif"):
        touch(tmp_path / name)
    source = open_source(tmp_path)
    assert source.names == ("a/deep/y.PNG", "a/x.jpeg", "b.JPG", "z.webp")
    assert source.title == tmp_path.name
    assert source.read("a/x.jpeg") == b"pixels"


def test_hidden_files_and_what_macs_leave_behind_are_ignored(tmp_path):
    for name in ("a.png", ".b.png", ".trash/c.png", "__MACOSX/._a.png", "._a.png"):
        touch(tmp_path / "pictures" / name)
    assert open_source(tmp_path / "pictures").names == ("a.png",)
    archive = make_zip(
        tmp_path / "p.zip", {"a.png": b"1", "__MACOSX/a.png": b"2", ".h/b.png": b"3"}
    )
    assert open_source(archive).names == ("a.png",)


def test_links_that_loop_end(tmp_path):
    touch(tmp_path / "a" / "x.png")
    try:
        (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "self").symlink_to(tmp_path / "self")
    except OSError:
        pytest.skip("this system makes no symbolic links")
    assert open_source(tmp_path).names == ("a/x.png",)


def test_a_link_to_nowhere_is_listed_so_that_it_is_counted(tmp_path):
    touch(tmp_path / "a.png")
    try:
        (tmp_path / "gone.png").symlink_to(tmp_path / "elsewhere.png")
    except OSError:
        pytest.skip("this system makes no symbolic links")
    source = open_source(tmp_path)
    assert source.names == ("a.png", "gone.png")
    with pytest.raises(OSError, match="No such file"):
        source.read("gone.png")


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(GapfillError, match=r"^no such folder or zip: .*nowhere\.$"):
        open_source(tmp_path / "nowhere")


def test_an_empty_folder_is_told_what_was_looked_for(tmp_path):
    touch(tmp_path / "a" / "notes.txt")
    touch(tmp_path / "b" / "notes.txt")
    with pytest.raises(GapfillError) as caught:
        open_source(tmp_path)
    assert str(caught.value) == (
        f"no pictures found in {tmp_path} (looked for .jpg .jpeg .png .webp, in 2 sub-folders). "
        "Give a folder or img_align_celeba.zip."
    )


def test_an_empty_zip_is_told_what_was_looked_for(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"notes.txt": b""})
    with pytest.raises(GapfillError, match=r"no pictures found in .*a\.zip \(looked for \.jpg"):
        open_source(archive)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html><head>", b"\n <!doctype HTML>\n<html>"])
def test_a_web_page_that_calls_itself_a_zip_is_recognised(tmp_path, page):
    path = touch(tmp_path / "img_align_celeba.zip", page)
    for given in (path, tmp_path):
        with pytest.raises(GapfillError) as caught:
            open_source(given)
        assert str(caught.value).lower() == (
            "img_align_celeba.zip is a web page, not a zip (begins '<!doctype html>': the host's "
            "quota page). download it again."
        )


def test_a_zip_that_is_cut_short_is_recognised(tmp_path):
    whole = make_zip(tmp_path / "a.zip", {"a.png": bytes(5000)}).read_bytes()
    with pytest.raises(GapfillError, match=r"cut short or damaged\. Download it again"):
        open_source(touch(tmp_path / "b.zip", whole[:3000]))


def test_another_file_is_neither_a_folder_nor_a_zip(tmp_path):
    with pytest.raises(GapfillError, match="neither a folder nor a zip"):
        open_source(touch(tmp_path / "data.tar", b"\x1f\x8b and more"))
    with pytest.raises(UsageError, match=r"face\.jpg is one picture"):
        open_source(touch(tmp_path / "face.jpg"))


PARTITION = "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n"
FACES = {f"00000{i}.jpg": b"%d" % i for i in (1, 2, 3)}
NESTED = {f"img_align_celeba/{name}": data for name, data in FACES.items()}


def lay_out_folder(root):
    for name, data in NESTED.items():
        touch(root / name, data)
    touch(root / "list_eval_partition.txt", PARTITION.encode())
    return root


def lay_out_folder_itself(root):
    return lay_out_folder(root) / "img_align_celeba"


def lay_out_zip_in_folder(root):
    make_zip(root / "img_align_celeba.zip", NESTED)
    touch(root / "list_eval_partition.txt", PARTITION.encode())
    return root


def lay_out_zip(root):
    return lay_out_zip_in_folder(root) / "img_align_celeba.zip"


def lay_out_flat_zip(root):
    make_zip(root / "img_align_celeba.zip", FACES)
    touch(root / "list_eval_partition.txt", PARTITION.encode())
    return root / "img_align_celeba.zip"


def lay_out_renamed_zip_with_all_inside(root):
    twice = {f"img_align_celeba/{name}": data for name, data in NESTED.items()}
    rows = "image_id,partition\n" + PARTITION.replace(" ", ",")
    return make_zip(root / "archive.zip", {**twice, "list_eval_partition.csv": rows.encode()})


LAYOUTS = [
    lay_out_folder,
    lay_out_folder_itself,
    lay_out_zip_in_folder,
    lay_out_zip,
    lay_out_flat_zip,
    lay_out_renamed_zip_with_all_inside,
]


@pytest.mark.parametrize("lay_out", LAYOUTS)
def test_every_layout_of_celeba_gives_the_same_names_and_splits(tmp_path, lay_out):
    source = open_source(lay_out(tmp_path / "celeba"))
    assert source.title == "CelebA"
    assert source.names == tuple(FACES)
    assert [source.split_of(name) for name in source.names] == [0, 1, 2]
    assert source.read("000002.jpg") == b"2"


def test_a_picture_that_the_partition_list_lacks_is_split_by_its_name(tmp_path):
    root = lay_out_folder(tmp_path)
    touch(root / "img_align_celeba" / "34.jpg")
    assert open_source(root).split_of("34.jpg") == hash_split("34.jpg") == 2


def test_a_damaged_partition_list_is_named_with_its_line(tmp_path):
    root = lay_out_folder(tmp_path)
    touch(root / "list_eval_partition.txt", b"000001.jpg 0\n000002.jpg train\n")
    with pytest.raises(GapfillError, match=r"line 2 is '000002\.jpg train'; expected a file name"):
        open_source(root)


def test_about_five_and_ten_percent_are_held_out_by_name():
    splits = [hash_split(f"people/{i}.png") for i in range(4000)]
    assert 150 < splits.count(1) < 250
    assert 340 < splits.count(2) < 460


def test_a_name_that_is_no_unicode_still_has_a_split():
    assert hash_split(os.fsdecode(b"caf\xe9.png")) in (0, 1, 2)


def test_the_fingerprint_follows_the_pictures_and_the_partition_list(tmp_path):
    root = lay_out_folder(tmp_path)
    seen = [open_source(root).fingerprint]
    assert open_source(root).fingerprint == seen[0]
    touch(root / "img_align_celeba" / "000001.jpg", b"longer than before")
    seen.append(open_source(root).fingerprint)
    touch(root / "img_align_celeba" / "000004.jpg")
    seen.append(open_source(root).fingerprint)
    touch(root / "list_eval_partition.txt", b"000001.jpg 2\n")
    seen.append(open_source(root).fingerprint)
    assert len(set(seen)) == 4


def test_a_forked_process_opens_the_zip_for_itself(tmp_path, monkeypatch):
    source = open_source(make_zip(tmp_path / "a.zip", {"a.png": b"1"}))
    before = source.files._zip
    assert source.read("a.png") == b"1"
    assert source.files._zip is before
    child = os.getpid() + 1
    monkeypatch.setattr("gapfill.data.sources.os.getpid", lambda: child)
    assert source.read("a.png") == b"1"
    assert source.files._zip is not before


def test_a_zip_member_that_claims_to_be_huge_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("gapfill.data.sources._LARGEST_FILE", 1000)
    source = open_source(make_zip(tmp_path / "a.zip", {"a.png": bytes(1001), "b.png": b"1"}))
    with pytest.raises(ValueError, match="the file is larger than"):
        source.read("a.png")
    assert source.read("b.png") == b"1"
