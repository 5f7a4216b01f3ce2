"""From the words after `--models` to contestants: names, groups, wildcards, recipes, folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from gapfill import masks, pretrained
from gapfill.about import GROUPS
from gapfill.compare import elsewhere
from gapfill.compare.plan import Contestant
from gapfill.compare.settings import file_name, read, split
from gapfill.console import say
from gapfill.errors import GapfillError, UsageError
from gapfill.reading.regular import expand, is_there
from gapfill.recipe import Recipe, read_recipe
from gapfill.registry import built_in, list_models, load, model_class, title_of, unknown

_LONGEST = 100  # characters of a label


def baselines() -> list[str]:
    """The models that stand in every comparison, the floor first."""
    role = {name: model_class(name).about.baseline for name in sorted(built_in())}
    return sorted(filter(role.get, role), key=lambda name: role[name] != "floor")


def contestants(words: Sequence[str], size: int) -> tuple[tuple[Contestant, ...], dict[str, str]]:
    """What the words stand for, each model made sure of, once each.

    A word is a registered name, a group, a recipe, a folder of a saved model, `pictures:` and a
    folder of pictures that another program filled, or a wildcard. What a group or a wildcard chose
    and cannot be made is left out; what was named must work.

    Behind a colon stand settings for this model alone (`gapfill.compare.settings`).

    Returns:
        The contestants, and the names of those left out with the reason.

    Raises:
        UsageError: a name that nobody has, a group or wildcard that chooses nothing, a recipe or
            folder that cannot be read.
        GapfillError: a named model that cannot be made here.
    """
    named: dict[tuple[str, str], bool] = {}
    for word in words:
        whole = word.startswith(elsewhere.WORD) or is_there(expand(word))
        short, said = (word, "") if whole else split(word)
        for name, by_name in _expanded(short):
            named[name, said] = named.get((name, said), False) or by_name
    found: dict[str, Contestant] = {}
    left_out: dict[str, str] = {}
    taken: set[str] = set()
    for (word, said), by_name in named.items():
        try:
            entry = replace(_entry(word, said), named=by_name)
            _check(entry, size)
        except Exception as error:
            if by_name:
                raise
            left_out[word] = leave_out(f"{word}:{said}" if said else word, error)
            continue
        entry = numbered(entry, taken)
        found[entry.label] = entry
    return tuple(found.values()), left_out


def numbered(entry: Contestant, taken: set[str]) -> Contestant:
    """The entry under a label whose file's name is free; it is taken then."""
    label, number = entry.label, 2
    while file_name(label) in taken:
        label, number = f"{entry.label}-{number}", number + 1
    taken.add(file_name(label))
    return replace(entry, label=label)


def leave_out(label: str, error: Exception) -> str:
    """Tell the user that a model takes no part, and return the reason."""
    reason = str(error) if isinstance(error, GapfillError) else f"{type(error).__name__}: {error}"
    reason = " ".join(reason.split())
    say(f"{label} is left out: {reason}")
    return reason


def _expanded(word: str) -> Iterator[tuple[str, bool]]:
    """The names that a word stands for, each with whether the word is the name."""
    path, known = expand(word), list_models()
    if word in known or path.suffix in (".yaml", ".yml") or word.startswith(elsewhere.WORD):
        yield word, True
    elif word in GROUPS:
        members = [name for name in known if _group(name) == word]
        if not members:
            raise UsageError(f"there is no model of the group '{word}' here.")
        yield from ((name, False) for name in members)
    elif (is_there(path) and path.is_dir()) or pretrained.split(word) is not None:
        yield word, True
    elif chosen := list_models(word):
        order = [*GROUPS, None]
        chosen.sort(key=lambda name: order.index(_group(name)))
        yield from ((name, False) for name in chosen)
    elif set(word) & set("*?["):
        raise UsageError(f"no model is called anything like '{word}'. Known: {', '.join(known)}")
    else:
        name, colon, rest = word.partition(":")
        if colon and (name in known or name in GROUPS):
            raise UsageError(f"{name}: settings are said as {name}:NAME=VALUE; got '{rest[:60]}'.")
        raise unknown(word, GROUPS)


def _group(name: str) -> str | None:
    """The group of a model; a plug-in that cannot be imported is in none."""
    try:
        return model_class(name).about.group
    except GapfillError:
        return None


def _entry(word: str, said: str) -> Contestant:
    """The contestant that a word stands for, with the settings behind its colon."""
    entry = _plain_entry(word)
    if not said:
        return entry
    if entry.recipe is None:
        raise UsageError(f"{word} is trained already: it takes no settings ({said[:60]}).")
    own = read(said, entry.recipe, word)
    label = _readable(f"{entry.label}:{said}"[:_LONGEST])
    return replace(entry, label=label, said=own, recipe=own.over(entry.recipe, word))


def _plain_entry(word: str) -> Contestant:
    path = expand(word)
    if word.startswith(elsewhere.WORD):
        path = expand(word.removeprefix(elsewhere.WORD))
        elsewhere.check(path)
        full = path.resolve()
        # The folder of one kind of masks lies in one that says more.
        label = full.parent.name if full.name in masks.KINDS else full.name
        return Contestant(_readable(label), pictures=path)
    if path.suffix in (".yaml", ".yml"):
        return Contestant(_readable(path.stem), recipe=read_recipe(path))
    if path.is_dir() and word not in list_models():
        return Contestant(_readable(title_of(path)), folder=path)
    if (tagged := pretrained.split(word)) is not None:
        return Contestant(word, folder=pretrained.folder_of(*tagged))
    return Contestant(word, recipe=Recipe(model=word))


def _readable(name: str) -> str:
    """A file's name as a label: what is no character that one sees becomes `\ufffd`."""
    return "".join(each if each.isprintable() else "\ufffd" for each in name)


def _check(entry: Contestant, size: int) -> None:
    """Make the model; have one that needs no training fill a hole, which may need a library."""
    if entry.pictures is not None:
        return  # held against the test pictures once these are read
    if entry.recipe is None:
        assert entry.folder is not None
        load(entry.folder)
        return
    model = entry.recipe.sized(size).create()
    own = getattr(model.config, "size", size)
    if own != size:
        raise UsageError(f"{entry.label} is for {own}×{own} pictures, the comparison for {size}.")
    if not model.needs_training:
        grey = torch.full((1, 3, size, size), 127, dtype=torch.uint8)
        model.inpaint(grey, masks.draw("center", 0, size))
