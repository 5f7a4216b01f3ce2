"""Names to inpainters: the built-in ones, found by walking `gapfill.models`, and plug-ins.

A plug-in is any package with an entry point in the group `gapfill.models`, whose name is the
model's and whose value is its class. It is imported when it is asked for, not before.
"""

from __future__ import annotations

import fnmatch
import importlib
import os
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar, get_args

from gapfill import pretrained as weights
from gapfill import saved
from gapfill.card import newer_than_this
from gapfill.config import build, nearest
from gapfill.errors import GapfillError, UsageError
from gapfill.inpainter import Inpainter
from gapfill.reading.regular import expand, is_there, shortened
from gapfill.train.kept import Which

GROUP = "gapfill.models"

T = TypeVar("T", bound=type[Inpainter])

_classes: dict[str, type[Inpainter]] = {}


def register(name: str) -> Callable[[T], T]:
    """Make the class below it known under `name`.

    Raises:
        UsageError: the name is taken.
    """

    def decorate(cls: T) -> T:
        if not cls.__module__.startswith("gapfill.models."):
            built_in()  # a built-in name is taken even before anyone has asked for it
        known = _classes.get(name)
        if known is not None and _origin(known) != _origin(cls):
            raise UsageError(
                f"the name '{name}' is taken by {_origin(known)}; {_origin(cls)} wants it."
            )
        cls.name = name
        _classes[name] = cls
        return cls

    return decorate


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """The registered names that match a wildcard pattern, sorted.

    Args:
        pattern: a wildcard pattern.
        pretrained: only those that have weights in the package.

    >>> "dcgan" in list_models("*gan")
    True
    """
    known = set(weights.names()) if pretrained else {*built_in(), *_classes, *_plug_ins()}
    return sorted(fnmatch.filter(known, pattern))


def model_class(name: str) -> type[Inpainter]:
    """The class registered under `name`.

    Raises:
        UsageError: nobody has that name, or two have.
        GapfillError: it is a plug-in's, and the plug-in cannot be imported.
    """
    found = _plug_ins().get(name, [])
    if len(found) + (name in built_in()) > 1:
        owners = [*(["gapfill"] if name in built_in() else []), *map(_owner, found)]
        raise UsageError(f"the name '{name}' is taken twice: by {' and by '.join(owners)}.")
    if found:
        return _import(found[0])
    if name not in _classes:
        raise unknown(name)
    return _classes[name]


def unknown(word: str, more: Iterable[str] = ()) -> UsageError:
    """What is wrong with a word that names no model; `more` are words that could be meant too."""
    names, shown = list_models(), shortened(word)
    name, at, tag = word.partition("@")
    if at and name in names:
        return UsageError(
            f"'{shown}' names weights and no model: gapfill.create('{name}', pretrained='{tag}'), "
            f"or gapfill fit {name} --from {shown}."
        )
    name, colon, said = word.partition(":")
    if colon and name in names:
        return UsageError(
            f"'{shown}': settings behind a colon are for comparisons; elsewhere the model is "
            f"'{name}', and gapfill fit takes --set {said}."
        )
    if "/" in word or os.sep in word:
        return UsageError(f"there is nothing at {shown}, and no model has this name.")
    return UsageError(f"unknown model '{shown}'. {nearest(word, [*names, *more])}")


def everywhere(name: str) -> bool:
    """Whether another process knows the name too: a built-in one's or an installed plug-in's."""
    return name in built_in() or name in _plug_ins()


def create(name: str, /, *, pretrained: bool | str = False, **settings: Any) -> Inpainter:
    """Make a new, untrained inpainter, or one with the weights that come with the package.

        gapfill.create("unet", pretrained=True).fit(loader, out="runs/mine")

    trains the latter further.

    Args:
        name: one of `list_models()`.
        pretrained: True for the most general weights of this model, or what they are called, such
            as "any" or "center" after the masks that they were trained under.
        settings: fields of the model's `Config`, such as `size=32` or `width=16`; with weights,
            as for `load`.

    Raises:
        UsageError: an unknown name, a setting that the model does not have, one that needs for
            training what is not on this machine, or weights that there are not.
        GapfillError: a plug-in that cannot be imported.
    """
    cls = model_class(name)
    if pretrained:
        folder = weights.folder_of(name, pretrained)
        return _made(saved.read(folder, f"{name}@{folder.name}"), settings)
    model = cls(build(cls.Config, settings, where=name))
    model.require_parts()
    return model


def load(path: str | Path, which: Which | None = None, **settings: Any) -> Inpainter:
    """Read a saved model: a folder that `save` wrote, or a run's. Nothing in it is executed.

    Args:
        path: the folder, or one of the two files in it.
        which: with "best" or "last", the weights that a run's folder has kept so far, though it has
            not finished: the averaged ones that did best on the validation pictures, or the last.
        settings: fields of the model's `Config` that shall be others than those it was saved with:
            those that say how it learns, such as `lr`, for training it further.

    Raises:
        UsageError: there is no saved model, the run has kept no such weights, or a setting on which
            the fills depend.
        GapfillError: its files are damaged, do not fit each other, or are of a newer gapfill.
    """
    path = expand(path)
    if which is not None:
        if which not in get_args(Which):
            raise UsageError(f"which must be 'best' or 'last'; got '{shortened(which)}'.")
        return _made(saved.read_run(path, which), settings)
    folder = _folder_of(path)
    return _made(saved.read(folder, title_of(folder)), settings)


def open_weights(
    word: str, name: str, which: Which | None = None, settings: Mapping[str, Any] | None = None
) -> Inpainter:
    """The model `name` with the weights that a word on a command line means, to train it further.

    They may be another model's with the same network: its critics are then new.

    Args:
        word: `NAME` or `NAME@TAG` that come with the package, or the folder of a saved model or of
            a run; a folder of this name goes before.
        name: the model that is asked for.
        which: as for `load`.
        settings: as for `load`; of another model's weights, the new model's settings.

    Raises:
        UsageError: there are none, they are of another network, it does not learn by steps, or
            what `load` refuses.
        GapfillError: as for `load`.
    """
    path, settings = expand(word), settings or {}
    if which is not None:
        found = saved.read_run(path, which)
    elif is_there(path):
        folder = _folder_of(path)
        found = saved.read(folder, title_of(folder))
    else:
        tagged, tag = weights.split(word) or (word, True)
        if tagged not in weights.names() and tagged not in list_models():
            raise UsageError(
                f"there are no weights at {shortened(word)}: give the folder of a saved model, or "
                f"a name that comes with weights: {', '.join(weights.names()) or 'none'}."
            )
        folder = weights.folder_of(tagged, tag)
        found = saved.read(folder, f"{tagged}@{folder.name}")
    cls = model_class(name)
    if not cls.optimised():
        raise UsageError(f"'{name}' learns all at once, and begins with no weights.")
    if found.card.model != name:
        return saved.taken_over(found, _class_of(found), cls, settings)
    return _made(found, settings)


def _made(found: saved.Found, settings: Mapping[str, Any]) -> Inpainter:
    """The model of what was found in a folder, with its settings or with others of learning."""
    cls = _class_of(found)
    return saved.changed(found, cls, settings) if settings else saved.made(found, cls)


def _class_of(found: saved.Found) -> type[Inpainter]:
    """The class of the model that was found in a folder."""
    try:
        return model_class(found.card.model)
    except UsageError as error:
        newer = newer_than_this(found.card.gapfill)
        raise UsageError(f"{found.where}: {error}{newer}") from error


def title_of(folder: Path) -> str:
    """What a saved model is called: by its folder, or by its run's, which says more."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name


def open_model(word: str) -> Inpainter:
    """The model that a word on a command line means: a saved one, or one that can fill at once.

    The name of a model that needs no training is that model, whatever folders there are. A name
    that has weights for any hole in the package means these, if there is no folder of this name;
    `NAME@TAG` means the weights of this tag.

    Raises:
        UsageError: neither, or a model that has to be trained first.
        GapfillError: as for `load`.
    """
    names = list_models()
    if word in names and not (model := create(word)).needs_training:
        return model
    if (tagged := weights.split(word)) is not None and not is_there(expand(word)):
        return create(tagged[0], pretrained=tagged[1])
    if is_saved(word) or (is_there(expand(word)) and word not in names):
        return load(word)
    if weights.GENERAL in weights.tags(word):
        return create(word, pretrained=weights.GENERAL)
    if word not in names:
        raise unknown(word)
    tags = [f"{word}@{tag}" for tag in weights.tags(word)]
    ready = f" Or give weights that come with gapfill: {', '.join(tags)}." if tags else ""
    raise UsageError(
        f"'{word}' has to be trained first: gapfill fit {word} --out runs/{word}, "
        f"then give runs/{word} instead.{ready}"
    )


def _folder_of(path: Path) -> Path:
    """The folder of a saved model that a path means, or why it means none."""
    if is_there(path) and path.name in ("model.safetensors", "config.json") and path.is_file():
        return path.parent
    if is_there(path) and is_there(saved_in(path) / "config.json"):
        return saved_in(path)
    shown = shortened(path)
    if is_there(path / "plan.json"):
        raise UsageError(
            f"{shown} holds a run that has not finished: there is no {path.name}/model in it yet. "
            "The command that began it goes on with it; gapfill.load(…, which='last') takes the "
            "weights that it has so far."
        )
    if is_there(path):
        what = "is no folder of a saved model" if path.is_file() else "holds no saved model"
        raise UsageError(f"{shown} {what}: there is no config.json.")
    names = list_models()
    if str(path) in names:
        raise UsageError(
            f"there is no folder {shown}; a new model of this name is gapfill.create('{shown}')."
        )
    raise UsageError(
        f"there is no saved model at {shown}, and no model has this name. "
        f"{nearest(path.name, names)}"
    )


def is_saved(path: str | Path) -> bool:
    """Whether `path` is a folder that `load` takes."""
    return is_there(saved_in(expand(path)) / "config.json")


def saved_in(folder: Path) -> Path:
    """Where the saved model is: in the folder itself, or, where that is a run's, in its `model`."""
    inner = folder / "model"
    outer_has_it = is_there(folder / "config.json")
    return inner if not outer_has_it and is_there(inner / "config.json") else folder


@cache
def built_in() -> frozenset[str]:
    """The names that gapfill's own modules register, whatever plug-ins there are."""
    package = importlib.import_module("gapfill.models")
    for module in pkgutil.iter_modules(package.__path__, "gapfill.models."):
        importlib.import_module(module.name)
    return frozenset(
        name for name, cls in _classes.items() if cls.__module__.startswith("gapfill.models.")
    )


def _plug_ins() -> dict[str, list[EntryPoint]]:
    """What others offer, by name, unimported; what was registered by hand is known already."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _import(point: EntryPoint) -> type[Inpainter]:
    try:
        cls = point.load()
    except Exception as error:
        raise GapfillError(
            f"the plug-in {_owner(point)} for '{point.name}' cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Inpainter)):
        raise GapfillError(f"the plug-in {_owner(point)} for '{point.name}' is no Inpainter class.")
    return register(point.name)(cls)


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _origin(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
