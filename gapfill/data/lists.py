"""Partition lists: which picture is for training, validation or test, in whoever's spelling."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gapfill.errors import GapfillError
from gapfill.reading.regular import composed

WORDS = {
    **dict.fromkeys(("train", "training", "trn"), 0),
    **dict.fromkeys(("val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("test", "testing", "tst"), 2),
}
_NUMBERS = {"0": 0, "1": 1, "2": 2, "0.0": 0, "1.0": 1, "2.0": 2}
_VOCABULARIES = (
    (_NUMBERS, "0 (train), 1 (validation) or 2 (test)"),
    (WORDS, "train, val or test"),
)
_DELIMITERS = (";", "\t", ",", "|", None)  # None: the last blank of a line
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPLIT_HEADINGS = {"partition", "split", "set", "subset", "fold", "usage"}
_NAME_HEADINGS = {"image_id", "image", "filename", "file_name", "file", "name", "path", "img"}
_NAME = re.compile(r"(list_eval_partition.*|(list_)?partitions?|splits?)\.(txt|csv|tsv)", re.I)
_PART = re.compile(
    r"(train|val|test)(ing|id|idation)?(_?(list|files|names))?\.(txt|lst|flist)", re.I
)
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_PLAIN = re.compile(r"""^([^\s,;|/\\"'#]+)[ \t,]+([012])[ \t]*\r?$""", re.M)

Row = tuple[int, str, list[str]]  # number, line, fields


def is_celebas_list(name: str) -> bool:
    """Whether a path ends as CelebA's own list does, in whichever of its forms."""
    return name.replace("\\", "/").rpartition("/")[2].lower().startswith("list_eval_partition")


def is_list(name: str) -> bool:
    """Whether a file of this name is looked at as a partition list.

    >>> is_list("list_eval_partition.csv"), is_list("list_attr_celeba.txt")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def part_of(name: str) -> int | None:
    """The split whose pictures a file of this name lists: `train.txt` with `test.txt` and others.

    >>> part_of("train.txt"), part_of("val_list.txt"), part_of("captions.txt")
    (0, 1, None)
    """
    match = _PART.fullmatch(name)
    return WORDS.get(f"{match[1]}{match[2] or ''}".lower()) if match else None


def joined(parts: Sequence[tuple[int, bytes]], where: str) -> bytes:
    """One list of lists that name the pictures of one split each, a line a picture.

    What stands behind a picture's name on its line, such as a label, is left out.
    """
    lines = []
    for split, data in parts:
        for line in _decode(data, where).splitlines():
            name = re.split(r"[\t,;]", line.strip().strip("\"'"))[0]
            if not _has_suffix(name) and _has_suffix(name.split(" ")[0]):
                name = name.split(" ")[0]
            if name:
                lines.append(f"{name}\t{split}")
    return "\n".join(lines).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class PartitionList:
    """A list that somebody wrote, for the pictures below the folder `scope`.

    Attributes:
        where: what the user knows the list by.
        scope: the prefix of the names that it speaks of; "" for all.
        splits: 0 train, 1 validation, 2 test, by the names as they are listed.
        rank: a list of a lower rank is nearer to the pictures, and is asked first.
        among: whether it lies among the pictures, and so must know some.
    """

    where: str
    scope: str
    splits: dict[str, int]
    rank: int = 0
    among: bool = True
    _ends: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        # A list may know pictures by longer paths than we do, or by shorter ones.
        for name, split in self.splits.items():
            for end in _ends(name) if name.isascii() else _spelt(name):
                for key in (end, bare(end)):
                    if self._ends.setdefault(key, split) != split:
                        self._ends[key] = -1  # two pictures of this name, in two splits
        for name, split in self.splits.items():
            self._ends[name] = split

    def split_of(self, name: str) -> int | None:
        """What the list says of a picture: by its path, by its end, or by these less the suffix."""
        for end in _ends(composed(name)):
            for key in (end, bare(end)):
                found = self._ends.get(key)
                if found is not None:
                    return None if found < 0 else found
        return None


def _ends(name: str) -> Iterable[str]:
    """A path and its ends, the longest first: a/b/c, b/c, c."""
    yield name
    while "/" in name:
        name = name.partition("/")[2]
        yield name


def _spelt(name: str) -> Iterable[str]:
    """A path and its ends; where it is no UTF-8, also as Windows would have written them."""
    yield from _ends(name)
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        yield from _ends(name.encode("utf-8", "surrogateescape").decode("cp1252", "replace"))


def bare(name: str) -> str:
    """A name without the suffix of its kind of file.

    >>> bare("a.b/000001.jpg"), bare("000001")
    ('a.b/000001', '000001')
    """
    return _SUFFIX.sub("", name)


def read_list(data: bytes, where: str) -> dict[str, int]:
    """Return the splits in a list by name: 0 train, 1 validation, 2 test.

    A line has a name and a split, `0 1 2` or words, with blanks, tabs, commas, semicolons or bars
    between. Byte order marks, a count, a heading, quotes, an index and other columns may be there.

    Raises:
        GapfillError: a line that says something else, or two that contradict each other.
    """
    text = _decode(data, where)
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    if lines and lines[0][1].isdecimal():  # CelebA's other lists begin with a count
        lines = lines[1:]
    if not lines:
        raise GapfillError(f"the partition list of {where} is empty. Get it again, or remove it.")
    plain = _PLAIN.findall(text)  # how most lists are, read much faster
    if len(plain) == len(lines) and len(splits := dict(plain)) == len(lines):
        return {composed(name): int(split) for name, split in splits.items()}
    for delimiter in _DELIMITERS:
        if delimiter is None or delimiter in text:
            rows = [(n, line, _fields(line, delimiter)) for n, line in lines]
            if (found := _columns(rows)) is not None:
                return _collect(*found, where)
    number, line = lines[min(1, len(lines) - 1)]  # the first may be a heading
    raise _damaged(where, number, line, _VOCABULARIES[0][1])


def _decode(data: bytes, where: str) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            text = data.decode(encoding, "replace")
            break
    else:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise GapfillError(f"the partition list of {where} is no text. Get it again, or remove it.")
    return text


def _fields(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        fields = line.rsplit(None, 1)
    else:
        try:
            fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
        except (csv.Error, StopIteration):
            return [line]
        while len(fields) > 2 and not fields[-1].strip():  # a delimiter at the line's end
            fields = fields[:-1]
    return [text.strip().strip("\"'").strip() for text in fields]


def _columns(rows: Sequence[Row]) -> tuple[list[Row], int, int, dict[str, int], str] | None:
    """The rows less their heading, which columns hold name and split, and the split's words."""
    heading = [text.casefold() for text in rows[0][2]]
    body = rows[1:] if _is_heading(rows[0]) and len(rows) > 1 else rows
    width = max(len(fields) for _, _, fields in body)
    if width < 2:
        return None
    named = [heading.index(text) for text in heading if text in _SPLIT_HEADINGS]
    for vocabulary, allowed in _VOCABULARIES:
        shares = [_share(body, column, vocabulary.__contains__) for column in range(width)]
        chosen = [n for n in named if n < width and shares[n] >= 0.5] if body is not rows else []
        if not chosen:
            chosen = [column for column, share in enumerate(shares) if share >= 0.5]
        if not chosen:
            continue
        split = chosen[-1]
        name = _name_column(body, split, width, heading if body is not rows else [])
        return list(body), name, split, vocabulary, allowed
    return None


def _is_heading(row: Row) -> bool:
    """Whether a list's first row names its columns rather than a picture."""
    return not any(
        text.casefold() in _NUMBERS or text.casefold() in WORDS or _has_suffix(text)
        for text in row[2]
    )


def _name_column(rows: Sequence[Row], split: int, width: int, heading: Sequence[str]) -> int:
    others = [column for column in range(width) if column != split]
    likely = [column for column in others if _share(rows, column, _has_suffix) >= 0.5]
    named = [c for c in others if c < len(heading) and heading[c] in _NAME_HEADINGS]
    plain = [column for column in others if not _is_index([row[2] for row in rows], column)]
    return (likely or named or plain or others)[0]


def _share(rows: Sequence[Row], column: int, test: Callable[[str], bool]) -> float:
    """The share of rows whose field in this column passes the test."""
    return sum(column < len(row) and test(row[column].casefold()) for *_, row in rows) / len(rows)


def _has_suffix(text: str) -> bool:
    return _SUFFIX.search(text) is not None


def _is_index(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column counts the rows, without leading zeros, as data frames are written."""
    first = rows[0][column] if column < len(rows[0]) else ""
    if not first.isdecimal() or str(int(first)) != first:
        return False
    start = int(first)
    return all(
        column < len(row) and row[column] == str(start + number) for number, row in enumerate(rows)
    )


def _collect(
    rows: list[Row], name: int, split: int, words: dict[str, int], allowed: str, where: str
) -> dict[str, int]:
    splits: dict[str, int] = {}
    names = [row[2][name] if name < len(row[2]) else "" for row in rows]
    counted = [text.partition(" ") for text in names]
    numbers = [[number] for number, _, rest in counted if rest.strip()]
    if len(numbers) == len(rows) > 1 and _is_index(numbers, 0):  # "0 a.jpg 1": an index by blanks
        names = [rest.strip() for _, _, rest in counted]
    for row, text in zip(rows, names, strict=True):
        value = words.get(row[2][split].casefold()) if split < len(row[2]) else None
        text = composed(text.replace("\\", "/")).removeprefix("./").lstrip("/")
        if value is None or not text:
            raise _damaged(where, row[0], row[1], allowed)
        if splits.setdefault(text, value) != value:
            raise GapfillError(
                f"the partition list of {where} is damaged: line {row[0]} puts {text!r} into "
                "another split than a line before it does."
            )
    return splits


def _damaged(where: str, number: int, line: str, allowed: str) -> GapfillError:
    return GapfillError(
        f"the partition list of {where} is damaged: line {number} is {line[:60]!r}; "
        f"expected a file name and {allowed}."
    )
