import os
import zipfile

import pytest

from gapfill.data.sources import hash_split, open_source
from gapfill.errors import GapfillError, UsageError
from gapfill.reading.formats import SUFFIXES


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
    for name in ("b.JPG", "a/x.jpeg", "a/deep/y.PNG", "z.webp", "a/notes.txt", "c.Tiff"):
        touch(tmp_path / name)
    source = open_source(tmp_path)
    assert source.names == ("a/deep/y.PNG", "a/x.jpeg", "b.JPG", "c.Tiff", "z.webp")
    assert source.notes == ()
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
        f"no pictures found in {tmp_path} (looked for {' '.join(SUFFIXES)}, in 2 sub-folders). "
        "Give a folder or img_align_celeba.zip."
    )


def test_a_folder_of_nothing_but_a_zip_names_the_zip(tmp_path):
    make_zip(tmp_path / "archive.zip", {"a.png": b"1"})
    with pytest.raises(GapfillError, match=r"Give .*archive\.zip\.$"):
        open_source(tmp_path)


def test_what_may_be_pictures_and_is_not_read_is_counted(tmp_path):
    for name in ("a.png", "b.heic", "c.HEIC", "d.tga", "notes.txt", "x.csv", "part.zip"):
        touch(tmp_path / "some" / name)
    said = "passed over, as no format that is read: 2 .heic, 1 .tga, 1 .zip"
    assert open_source(tmp_path / "some").notes == (said,)
    archive = make_zip(tmp_path / "a.zip", {"a.png": b"1", "b.heic": b"2"})
    assert open_source(archive).notes == ("passed over, as no format that is read: 1 .heic",)


def a_run(folder):
    touch(folder / "plan.json", b'{"wanted": {}, "decided": {}}')
    for name in ("samples/step-1.png", "grid.png", "losses.png", "models/cnn/samples/s.png"):
        touch(folder / name)


@pytest.mark.parametrize("where", ["", "runs/mine", "a/b/c"])
def test_what_runs_leave_among_the_pictures_is_no_picture(tmp_path, where):
    for name in ("a.png", "a/b.png", "samples.png"):
        touch(tmp_path / name)
    before = open_source(tmp_path)
    a_run(tmp_path / where)
    after = open_source(tmp_path)
    assert after.names == before.names
    assert after.fingerprint == before.fingerprint
    (note,) = after.notes
    assert note.startswith("left out, as made by gapfill: ")


def test_a_bank_among_the_pictures_is_left_out(tmp_path):
    touch(tmp_path / "a.png")
    for name in ("pictures/0.png", "masks/center/0.png", "holes/center/0.png"):
        touch(tmp_path / "bank" / name)
    touch(tmp_path / "bank" / "manifest.json", b'{"format": "gapfill bank 1"}')
    assert open_source(tmp_path).names == ("a.png",)
    assert open_source(tmp_path / "bank").names == ("pictures/0.png",)


def test_a_plan_of_something_else_hides_no_pictures(tmp_path):
    touch(tmp_path / "a" / "plan.json", b'{"rooms": 3}')
    touch(tmp_path / "a" / "grid.png")
    assert open_source(tmp_path).names == ("a/grid.png",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.png").symlink_to(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file but a pipe"):
        open_source(tmp_path / "p").read("a.png")
    with pytest.raises(GapfillError, match=r"cannot read .*pipe: not a regular file but a pipe\."):
        open_source(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-of-this-name/x", "null\0character"])
def test_a_path_that_cannot_be_is_refused_in_one_line(name):
    with pytest.raises(GapfillError) as caught:
        open_source(name)
    assert len(str(caught.value)) < 300


def patched_zip(path, old, new, members=None):
    make_zip(path, members or {"a.png": b"1" * 40, "b.png": b"2" * 40})
    data = path.read_bytes()
    for before, after in zip(old, new, strict=True):
        assert before in data
        data = data.replace(before, after)
    return touch(path, data)


def test_a_zip_whose_pictures_are_encrypted_says_so(tmp_path):
    old = (b"PK\x03\x04\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00")
    new = (b"PK\x03\x04\x14\x00\x01\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    path = patched_zip(tmp_path / "a.zip", old, new)
    with pytest.raises(GapfillError) as caught:
        open_source(path)
    assert str(caught.value) == (
        f"{path}: its pictures cannot be read (encrypted). Unpack it with the program that made "
        "it, and give the folder."
    )


def test_a_zip_of_an_unknown_method_or_version_says_so(tmp_path):
    old = (b"PK\x03\x04\x14\x00\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00")
    new = (b"PK\x03\x04\x14\x00\x00\x00\x62", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x62")
    path = patched_zip(tmp_path / "method.zip", old, new)
    with pytest.raises(GapfillError, match=r"\(packed by method 98; known are stored, deflated"):
        open_source(path)
    path = patched_zip(
        tmp_path / "v.zip", (b"PK\x01\x02\x14\x03\x14",), (b"PK\x01\x02\x14\x03\xff",)
    )
    with pytest.raises(GapfillError, match=r"v\.zip is a zip of a kind that Python does not read"):
        open_source(path)


def test_one_encrypted_member_costs_only_itself(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": b"1", "b.png": b"2"})
    source = open_source(path)
    source.files.members["b.png"].flag_bits |= 1
    assert source.read("a.png") == b"1"
    with pytest.raises(ValueError, match=r"^encrypted$"):
        source.read("b.png")


def test_names_in_a_zip_may_have_backslashes(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"train\\a.png": b"1", "test\\b.png": b"2"})
    source = open_source(archive)
    assert source.names == ("test/b.png", "train/a.png")
    assert source.read("test/b.png") == b"2"


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


def lay_out_torchvision(root):
    """torchvision's `root`: the zip was unpacked beside itself."""
    lay_out_zip_in_folder(root / "celeba")
    lay_out_folder(root / "celeba")
    touch(root / "celeba" / "list_attr_celeba.txt", b"3\n5_o_Clock_Shadow\n000001.jpg -1\n")
    touch(root / "celeba" / "identity_CelebA.txt", b"000001.jpg 2880\n")
    return root


def lay_out_authors(root):
    for name, data in NESTED.items():
        touch(root / "Img" / name, data)
    touch(root / "Eval" / "list_eval_partition.txt", PARTITION.encode())
    touch(root / "Anno" / "identity_CelebA.txt", b"000001.jpg 2880\n")
    return root


def lay_out_authors_zip(root):
    make_zip(root / "Img" / "img_align_celeba.zip", NESTED)
    touch(root / "Eval" / "list_eval_partition.txt", PARTITION.encode())
    return root


def lay_out_list_among_annotations(root):
    lay_out_folder(root)
    (root / "Anno").mkdir()
    (root / "list_eval_partition.txt").rename(root / "Anno" / "list_eval_partition.txt")
    return root


def lay_out_archive(root):
    """What archive sites hand out, unpacked: the folder twice, and a .csv."""
    for name, data in NESTED.items():
        touch(root / "img_align_celeba" / name, data)
    rows = "image_id,partition\n" + PARTITION.replace(" ", ",")
    touch(root / "list_eval_partition.csv", rows.encode())
    return root


def lay_out_both_lists(root):
    lay_out_archive(root)
    touch(root / "list_eval_partition.txt", PARTITION.encode())
    return root


def inside(lay_out, *names):
    """The same layout, given from further inside."""

    def lay_out_inside(root):
        return lay_out(root).joinpath(*names)

    lay_out_inside.__name__ = f"{lay_out.__name__}, from {'/'.join(names)}"
    return lay_out_inside


LAYOUTS = [
    lay_out_torchvision,
    inside(lay_out_torchvision, "celeba"),
    inside(lay_out_torchvision, "celeba", "img_align_celeba"),
    lay_out_authors,
    inside(lay_out_authors, "Img"),
    inside(lay_out_authors, "Img", "img_align_celeba"),
    lay_out_authors_zip,
    inside(lay_out_authors_zip, "Img"),
    inside(lay_out_authors_zip, "Img", "img_align_celeba.zip"),
    lay_out_list_among_annotations,
    inside(lay_out_list_among_annotations, "img_align_celeba"),
    lay_out_archive,
    inside(lay_out_archive, "img_align_celeba"),
    inside(lay_out_archive, "img_align_celeba", "img_align_celeba"),
    lay_out_both_lists,
    lay_out_folder,
    lay_out_folder_itself,
    lay_out_zip_in_folder,
    lay_out_zip,
    lay_out_flat_zip,
    lay_out_renamed_zip_with_all_inside,
]


@pytest.mark.parametrize("lay_out", LAYOUTS, ids=lambda lay_out: lay_out.__name__)
def test_every_layout_of_celeba_gives_the_same_names_and_splits(tmp_path, lay_out):
    source = open_source(lay_out(tmp_path / "celeba"))
    assert source.title == "CelebA"
    assert source.names == tuple(FACES)
    assert [source.split_of(name) for name in source.names] == [0, 1, 2]
    assert source.division.own
    assert "list_eval_partition." in source.division.rule
    assert source.notes == source.division.notes == ()
    assert source.read("000002.jpg") == b"2"


@pytest.mark.parametrize("folder", ["img_align_celeba", "img_align_celeba_png"])
def test_copies_in_another_format_are_found_in_the_list(tmp_path, folder):
    for name in FACES:
        touch(tmp_path / folder / name.replace(".jpg", ".png"))
    touch(tmp_path / "list_eval_partition.txt", PARTITION.encode())
    for path in (tmp_path, tmp_path / folder):
        source = open_source(path)
        assert (source.title, source.division.notes) == ("CelebA", ())
        assert [source.split_of(name) for name in source.names] == [0, 1, 2]


def test_a_picture_that_the_partition_list_lacks_is_split_by_its_name(tmp_path):
    root = lay_out_folder(tmp_path)
    touch(root / "img_align_celeba" / "34.jpg")
    source = open_source(root)
    assert source.split_of("34.jpg") == hash_split("34.jpg") == 2
    assert source.division.notes == (
        "1 of 4 pictures is not in the partition list and was split by the hash of the name "
        "(first: 34.jpg)",
    )


def test_a_list_that_knows_no_picture_is_refused(tmp_path):
    for name in ("a.png", "b.png"):
        touch(tmp_path / name)
    touch(tmp_path / "list_eval_partition.txt", PARTITION.encode())
    with pytest.raises(GapfillError) as caught:
        open_source(tmp_path)
    assert str(caught.value) == (
        "the partition list list_eval_partition.txt names none of the 2 pictures (it has "
        "'000001.jpg', they are called 'a.png'). Give the list that belongs to them, or remove it."
    )


def test_a_list_above_that_knows_no_picture_is_named(tmp_path):
    root = lay_out_folder(tmp_path)
    touch(root / "mine" / "a.png")
    division = open_source(root / "mine").division
    assert (division.rule, division.own) == ("the hash of each name", False)
    (note,) = division.notes
    assert note.startswith("not used, as the partition list ../list_eval_partition.txt names none")


def test_two_lists_that_disagree_are_refused(tmp_path):
    root = lay_out_both_lists(tmp_path)
    touch(root / "list_eval_partition.txt", PARTITION.replace("3.jpg 2", "3.jpg 0").encode())
    with pytest.raises(GapfillError, match=r"disagree, first on 000003\.jpg\. Keep one of them"):
        open_source(root)


def test_the_nearest_list_decides(tmp_path):
    root = lay_out_archive(tmp_path)
    touch(root / "img_align_celeba" / "list_eval_partition.txt", b"000001.jpg 2\n")
    source = open_source(root)
    assert [source.split_of(name) for name in source.names] == [2, 1, 2]


def test_pictures_beside_celebas_folder_are_counted(tmp_path):
    root = lay_out_folder(tmp_path)
    touch(root / "other" / "a.png")
    source = open_source(root)
    assert source.names == tuple(FACES)
    assert source.notes == ("passed over, as outside img_align_celeba: 1 picture",)


def test_a_list_may_speak_of_one_folder_of_several(tmp_path):
    lay_out_torchvision(tmp_path)
    touch(tmp_path / "lfw" / "someone.png")
    source = open_source(tmp_path)
    assert source.title == tmp_path.name
    assert source.split_of("celeba/img_align_celeba/000003.jpg") == 2
    assert source.division.notes[0].startswith("1 of 4 pictures is not in the part")


def lay_out(root, *names):
    for name in names:
        touch(root / name)
    return open_source(root)


@pytest.mark.parametrize("prefix", ["", "people/", "a/b/"])
def test_folders_called_as_splits_are_a_split(tmp_path, prefix):
    names = ["Train/a/1.png", "train/2.png", "valid/3.png", "test/b/4.png"]
    source = lay_out(tmp_path, *(prefix + name for name in names))
    assert [source.split_of(prefix + name) for name in names] == [0, 0, 1, 2]
    assert source.division.rule == "the folders Train/, train/, valid/, test/"
    assert (source.division.own, source.division.notes) == (True, ())


def test_a_lone_folder_called_as_a_split_is_none(tmp_path):
    division = lay_out(tmp_path, "train/25.jpg", "train/34.jpg").division
    assert division.rule == "the hash of each name"


def test_pictures_outside_the_folders_of_a_split_are_counted(tmp_path):
    source = lay_out(tmp_path, "train/1.png", "test/2.png", "25.jpg")
    assert source.division.notes == (
        "1 of 3 pictures is in none of the split's folders and was split by the hash of the name "
        "(first: 25.jpg)",
    )


def test_a_list_goes_before_folders(tmp_path):
    for name in ("train/1.png", "train/2.png", "test/3.png"):
        touch(tmp_path / name)
    touch(tmp_path / "split.csv", b"name;split\n2.png;val\n")
    source = open_source(tmp_path)
    assert [source.split_of(name) for name in source.names] == [2, 0, 1]
    assert source.division.rule == "split.csv and the folders train/, test/"


def test_a_file_called_as_lists_are_that_is_none_is_named(tmp_path):
    touch(tmp_path / "a.png")
    touch(tmp_path / "splits.txt", b"bananas\nand other fruit\n")
    (note,) = open_source(tmp_path).notes
    assert note.startswith("not used, though it is called as a list is: the partition list of ")


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
    monkeypatch.setattr("gapfill.data.containers.LARGEST_FILE", 1000)
    source = open_source(make_zip(tmp_path / "a.zip", {"a.png": bytes(1001), "b.png": b"1"}))
    with pytest.raises(ValueError, match="the file is larger than"):
        source.read("a.png")
    assert source.read("b.png") == b"1"


@pytest.mark.parametrize("folder", ["", "lists/", "people/"])
def test_a_list_for_each_split_is_a_split(tmp_path, folder):
    for name in ("people/a.png", "people/b.png", "people/c d.png"):
        touch(tmp_path / name)
    touch(tmp_path / f"{folder}train.txt", b"people/a.png 17\n")
    touch(tmp_path / f"{folder}val_list.txt", b"b\n")
    touch(tmp_path / f"{folder}test.txt", b"./c d.png\n")
    source = open_source(tmp_path)
    assert [source.split_of(name) for name in source.names] == [0, 1, 2]
    names = (f"{folder}{name}" for name in ("test.txt", "train.txt", "val_list.txt"))
    assert source.division.rule == ", ".join(names)


def test_other_texts_called_train_and_test_are_named(tmp_path):
    touch(tmp_path / "a.png")
    touch(tmp_path / "train.txt", b"a sentence\n")
    assert open_source(tmp_path).division.notes == ()
    touch(tmp_path / "test.txt", b"another sentence\n")
    division = open_source(tmp_path).division
    assert not division.own
    assert division.notes[0].startswith("not used, as the partition list test.txt, train.txt names")
