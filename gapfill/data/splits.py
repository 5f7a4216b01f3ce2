"""Which pictures are for training, validation and test, and on whose word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from gapfill.data.lists import WORDS, PartitionList
from gapfill.errors import GapfillError, one_line


@dataclass(frozen=True)
class Division:
    """The split of every picture of a source.

    Attributes:
        split: 0 train, 1 validation, 2 test, by the picture's name.
        rule: who says so, in words: "list_eval_partition.txt", "the folders train/, test/" or
            "the hash of each name".
        own: whether the source has a split of its own.
        notes: what a user must know of it, a sentence each.
    """

    split: dict[str, int]
    rule: str
    own: bool
    notes: tuple[str, ...] = ()


HASH = "the hash of each name"


def hash_split(name: str) -> int:
    """Put about 5 % of names into validation (1) and 10 % into test (2), whatever others exist.

    >>> hash_split("25.jpg"), hash_split("26.jpg"), hash_split("34.jpg")
    (0, 1, 2)
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    return 1 if share < 0.05 else 2 if share < 0.15 else 0


def divide(names: Sequence[str], prefix: str, lists: Sequence[PartitionList]) -> Division:
    """Say which split each picture is in: by a list, else by its folder, else by its name's hash.

    The nearest list that knows a picture decides. Where there is a list or folders that are a
    split, the notes say how many pictures neither knows.

    Args:
        names: of the pictures, less `prefix`.
        prefix: the folder, with a slash, that they all lie in.
        lists: the partition lists, the nearest first.

    Raises:
        GapfillError: a list among the pictures that knows none of them, or two that disagree.
    """
    split: dict[str, int] = {}
    known = {each.where: 0 for each in lists}
    for name in names:
        by: PartitionList | None = None
        for each in lists:
            found = each.split_of(name) if (prefix + name).startswith(each.scope) else None
            if found is None:
                continue
            known[each.where] += 1
            if by is None:
                by, split[name] = each, found
            elif by.rank == each.rank and split[name] != found:
                raise GapfillError(
                    f"the partition lists {by.where} and {each.where} disagree, first on {name}. "
                    "Keep one of them."
                )
    notes = []
    for each in lists:
        if known[each.where]:
            continue
        what = (
            f"the partition list {each.where} names none of the {len(names):,} pictures (it has "
            f"{next(iter(each.splits))!r}, they are called {names[0]!r})"
        )
        if each.among:
            raise GapfillError(f"{what}. Give the list that belongs to them, or remove it.")
        notes.append(f"not used, as {what}")
    used = [where for where, count in known.items() if count]
    folders = _folders(names)
    if not (used or folders):
        split = {name: hash_split(name) for name in names}
        return Division(split, HASH, False, tuple(map(one_line, notes)))
    rules = used
    if folders:
        listed = len(split)
        for name in names:
            if name not in split and (found := _folder_split(name, folders)) is not None:
                split[name] = found
        if len(split) > listed:
            rules = [*used, "the folders " + ", ".join(f"{folder}/" for folder in folders.values())]
    left = [name for name in names if name not in split]
    if left:
        split |= {name: hash_split(name) for name in left}
        one = len(left) == 1
        where = "not in the partition list" if used else "in none of the split's folders"
        notes.append(
            f"{len(left):,} of {len(names):,} pictures {'is' if one else 'are'} {where} and "
            f"{'was' if one else 'were'} split by the hash of the name (first: {left[0]})"
        )
    return Division(split, one_line(" and ".join(rules)), True, tuple(map(one_line, notes)))


def _folders(names: Sequence[str]) -> dict[str, str]:
    """The folders below the pictures' common one that are a split: as they begin names, and bare.

    It takes two different ones: a lone `train` is as likely what is left of something.
    """
    common = _common(names)
    found: dict[str, str] = {}
    for name in names:
        top, slash, _ = name.removeprefix(common).partition("/")
        if slash and top.casefold() in WORDS:
            found[f"{common}{top}/"] = top
    different = {WORDS[top.casefold()] for top in found.values()}
    return dict(sorted(found.items(), key=_order)) if len(different) > 1 else {}


def _order(item: tuple[str, str]) -> tuple[int, str]:
    return WORDS[item[1].casefold()], item[1]


def _common(names: Sequence[str]) -> str:
    """The folder, with its slash, that all names begin with."""
    first, last = min(names), max(names)
    parts = []
    for one, other in zip(first.split("/")[:-1], last.split("/")[:-1], strict=False):
        if one != other:
            break
        parts.append(one)
    return "".join(f"{part}/" for part in parts)


def _folder_split(name: str, folders: dict[str, str]) -> int | None:
    for start, top in folders.items():
        if name.startswith(start):
            return WORDS[top.casefold()]
    return None
