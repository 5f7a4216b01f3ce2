"""Partition lists, as people and their tools write them."""

import pytest
from common import message

from gapfill.data.lists import PartitionList, read_list
from gapfill.errors import GapfillError

ROWS = [("000001.jpg", 0), ("000002.jpg", 1), ("000003.jpg", 2)]
WANTED = dict(ROWS)
WORDS = ("train", "val", "test")


def rows(form):
    return "".join(
        form.format(n=n, name=name, split=s, word=WORDS[s]) for n, (name, s) in enumerate(ROWS)
    )


SPELLINGS = {
    "CelebA's own": rows("{name} {split}\n"),
    "no end of line": rows("{name} {split}\n").rstrip(),
    "Windows' ends": rows("{name} {split}\r\n"),
    "a byte order mark": "\ufeff" + rows("{name} {split}\n"),
    "tabs": rows("{name}\t{split}\n"),
    "many blanks": rows("  {name}     {split}  \n"),
    "a count": "3\n" + rows("{name} {split}\n"),
    "a count and a heading": "3\nimage partition\n" + rows("{name} {split}\n"),
    "commas": "image_id,partition\n" + rows("{name},{split}\n"),
    "blanks behind commas": rows("{name}, {split}\n"),
    "semicolons": "name;split\n" + rows("{name};{split}\n"),
    "semicolons at the end": rows("{name};{split};\n"),
    "quotes": '"image_id","partition"\n' + rows('"{name}","{split}"\n'),
    "single quotes": rows("'{name}' {split}\n"),
    "an index": ",image_id,partition\n" + rows("{n},{name},{split}\n"),
    "an index by blanks": rows("{n} {name} {split}\n"),
    "more columns": "image_id,partition,Male\n" + rows("{name},{split},1\n"),
    "the split first": "split,name\n" + rows("{split},{name}\n"),
    "words": rows("{name} {word}\n"),
    "words with capitals": "File\tSet\n" + rows("{name}\t{word}\n").replace("t\n", "T\n"),
    "decimals": rows("{name},{split}.0\n"),
    "a comment": "# made by hand\n\n" + rows("{name} {split}\n"),
    "a path": rows("./{name} {split}\n"),
    "bars": rows("{name}|{word}\n"),
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_a_list_is_read_in_every_spelling(text):
    assert read_list(text.encode(), "x") == WANTED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_list_is_read_in_the_encoding_that_its_mark_names(encoding):
    assert read_list(SPELLINGS["CelebA's own"].encode(encoding), "x") == WANTED


def test_names_may_hold_blanks_and_commas():
    assert read_list(b"my face.jpg 0\nyour face 2.jpg 2\n", "x") == {
        "my face.jpg": 0,
        "your face 2.jpg": 2,
    }
    assert read_list(b"Doe, Jane.jpg 1\nDoe, John.jpg 2\n", "x") == {
        "Doe, Jane.jpg": 1,
        "Doe, John.jpg": 2,
    }


@pytest.mark.parametrize(
    ("text", "line", "allowed"),
    [
        ("000001.jpg 0\n000002.jpg train\n", "line 2 is '000002.jpg train'", "0 (train), 1"),
        ("a.jpg train\nb.jpg test\nc.jpg holdout\n", "line 3 is 'c.jpg holdout'", "train, val"),
        ("1.jpg 1\n2.jpg 2\n3.jpg 3\n", "line 3 is '3.jpg 3'", "0 (train), 1"),
        ("a.jpg\nb.jpg\n", "line 2 is 'b.jpg'", "expected a file name and 0"),
        ("a.jpg,0\nb.jpg\n", "line 2 is 'b.jpg'", "expected a file name and 0"),
    ],
)
def test_a_damaged_line_is_named_with_what_is_allowed(text, line, allowed):
    said = message(read_list, text.encode(), "some.txt", error=GapfillError)
    assert said.startswith("the partition list of some.txt is damaged: ")
    assert line in said
    assert allowed in said


@pytest.mark.parametrize("data", [b"", b"\n\n", b"3\n", b"\xff\xfe", b"a\0b 0\n"])
def test_a_list_of_nothing_or_of_no_text_is_refused(data):
    assert "Get it again, or remove it." in message(read_list, data, "x", error=GapfillError)


def test_a_list_that_contradicts_itself_is_refused():
    said = message(read_list, b"a.jpg 0\nb.jpg 1\na.jpg 2\n", "x", error=GapfillError)
    assert "line 3 puts 'a.jpg' into another split" in said


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ("000001.jpg", "000001.png"),
        ("000001.jpg", "000001.JPG"),
        ("000001.jpg", "a/b/000001.jpg"),
        ("000001", "000001.jpg"),
        ("img/a/000001.jpg", "000001.webp"),
        ("img/a/000001.jpg", "a/000001.jpg"),
        ("/home/me/celeba/000001.jpg", "000001.jpg"),
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("caf\udce9.png", "caf\u00e9.png"),
        ("caf\udce9.png", "caf\udce9.png"),
        ("a.b.jpg", "a.b.png"),
    ],
)
def test_a_picture_is_found_whatever_path_suffix_or_accent_the_list_has(listed, name):
    assert PartitionList("x", "", {listed: 2}).split_of(name) == 2


def test_a_name_that_two_pictures_share_is_known_by_its_folder_alone():
    known = PartitionList("x", "", {"a/1.jpg": 0, "b/1.jpg": 2, "c/2.jpg": 1})
    assert [known.split_of(n) for n in ("a/1.jpg", "x/b/1.png", "1.jpg", "2.jpg")] == [
        0,
        2,
        None,
        1,
    ]


def test_an_exact_name_goes_before_one_of_another_kind():
    known = PartitionList("x", "", {"1.jpg": 0, "1.png": 2})
    assert [known.split_of(n) for n in ("1.jpg", "1.png", "1.webp")] == [0, 2, None]
