"""Saved models: what stands in a folder, and the inpainter that it makes. Nothing is executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gapfill import checkpoint
from gapfill.card import Card, leaving_out, newer_than_this, read_card, to_card
from gapfill.config import build, plain
from gapfill.data.seen import Seen
from gapfill.errors import GapfillError, UsageError
from gapfill.inpainter import Inpainter
from gapfill.origin import Origin
from gapfill.randomness import seeded
from gapfill.train.kept import Which, kept_weights


@dataclass(frozen=True)
class Found:
    """What was found in a folder.

    Attributes:
        card: what it says of the model.
        tensors: its weights.
        seen: the pictures that they have learned from, if anything is known of them.
        where: the place to name in an error.
        title: what the weights are called, in the card of a model that begins with them.
        digest: of the weights.
    """

    card: Card
    tensors: Mapping[str, Tensor]
    seen: Seen | None
    where: str
    title: str
    digest: str


def read(folder: Path, title: str) -> Found:
    """What `Inpainter.save` wrote.

    Raises:
        UsageError: the folder holds no saved model.
        GapfillError: its files are damaged, or do not fit each other.
    """
    card = read_card(folder)
    file = folder / "model.safetensors"
    tensors, about = checkpoint.load_weights(file)
    if card != to_card(about, str(file)):
        raise GapfillError(
            f"{folder}: config.json and model.safetensors speak of different models."
        )
    digest = checkpoint.digest_of(file) or ""
    seen = Seen.load(folder, digest)
    return Found(card, tensors, seen, str(folder / "config.json"), title, digest)


def read_run(folder: Path, which: Which) -> Found:
    """What a run has kept so far, finished or not.

    Raises:
        UsageError: no run, or it has no such weights.
        GapfillError: its files are damaged, do not fit each other, or are no inpainter's.
    """
    kept = kept_weights(folder, which)
    wanted, step = dict(kept.plan.wanted), kept.state.step
    run = wanted | {"weights": f"{which}, at step {step}"}
    origin = Origin.load(folder, wanted.get("initial_weights", ""))
    about = {"model": wanted.get("model"), "config": wanted.get("config"), "run": run}
    about |= {"training": kept.cost, "data": origin.data, "began": origin.began}
    card = to_card(about, str(folder / "plan.json"))
    title = f"{folder.resolve().name}, {which} at step {step:,}"
    digest = checkpoint.digest(kept.weights)
    return Found(card, kept.weights, origin.seen, str(folder / "plan.json"), title, digest)


def made(found: Found, cls: type[Inpainter]) -> Inpainter:
    """The model that a card speaks of, with its weights, ready to fill.

    It is made without memory first, so that no card asks for more than its weights fill.

    Raises:
        UsageError: settings that the model does not have.
        GapfillError: weights that are not its own.
    """
    card = found.card
    newer = newer_than_this(card.gapfill)
    try:
        config = build(cls.Config, card.config, where=card.model)
    except UsageError as error:
        raise UsageError(f"{found.where}: {error}{newer}") from error
    try:
        model = _weighted(cls, config, found.tensors, card.without)
    except (RuntimeError, UsageError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise GapfillError(
            f"the weights in {Path(found.where).parent} do not fit '{card.model}': {reason}{newer}"
        ) from error
    return _known(model, found)


def taken_over(
    found: Found, source: type[Inpainter], cls: type[Inpainter], settings: Mapping[str, Any]
) -> Inpainter:
    """A model of another class with the same network, which begins with these weights.

    Settings that both models have are the source's where its network depends on them, else the
    model's own. Its critics are new.

    Raises:
        UsageError: the network is another one, or settings that the model does not have.
        GapfillError: weights that are not those of `source`.
    """
    given = made(found, source)
    network, theirs = _network(given), plain(given.config)
    own = plain(build(cls.Config, settings, where=cls.name))
    kept = {
        name: theirs[name]
        for name in theirs.keys() & own.keys() - settings.keys()
        if name == "size" or not _fits(source, theirs | {name: own[name]}, network)
    }
    config = build(cls.Config, kept | dict(settings), where=cls.name)
    if not _fits(cls, plain(config), network):
        raise UsageError(
            f"the weights of {found.title} are a '{source.name}'s, whose network is not that of "
            f"this '{cls.name}'."
        )
    with seeded(0):  # whose weights are replaced, but for the critics
        model = cls(config)
    with torch.no_grad():
        for name, weight in _network(model).items():
            weight.copy_(network[name])
    model.new_critics = tuple(model.critics)
    return _known(model, found)


def renew_critics(model: Inpainter) -> None:
    """Draw the critics that the weights came without, by torch's random numbers as they are."""
    if model.new_critics:
        fresh = type(model)(model.config)
        for name in model.new_critics:
            model.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())


def _network(model: Inpainter) -> dict[str, Tensor]:
    """The weights that fill; those of the model's first part begin with 0, and so on."""
    parts = [name for name, _ in model.named_children() if name not in model.critics]
    numbers = {name: str(number) for number, name in enumerate(parts)}
    split = {name.partition("."): each for name, each in model.state_dict().items()}
    return {
        numbers.get(part, part) + dot + rest: each
        for (part, dot, rest), each in split.items()
        if part not in model.critics
    }


def _fits(cls: type[Inpainter], config: Mapping[str, Any], network: Mapping[str, Tensor]) -> bool:
    """Whether a model with these settings has such weights."""
    try:
        built = build(cls.Config, config)
        own = _network(_outline(cls, built) or cls(built))
    except GapfillError:
        return False
    return {name: each.shape for name, each in own.items()} == {
        name: each.shape for name, each in network.items()
    }


def _known(model: Inpainter, found: Found) -> Inpainter:
    """The model with what is known of its weights, ready to fill."""
    card = found.card
    model.training_cost = None if card.training is None else dict(card.training)
    model.training_run = None if card.run is None else dict(card.run)
    model.training_pictures = found.seen
    model.began_with = None if card.began is None else dict(card.began)
    model.training_data = card.data
    model.loaded_from = {"name": found.title, "digest": found.digest, "data": card.data}
    model.trained = True
    # The layout that training used: another one rounds otherwise, and is slower.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval()


def changed(found: Found, cls: type[Inpainter], settings: Mapping[str, Any]) -> Inpainter:
    """The model with other settings, which must be about learning alone: its fills stay the same.

    Raises:
        UsageError: a setting that the model does not have, or on which its fills depend.
        GapfillError: as for `made`.
    """
    model = made(found, cls)
    before = plain(model.config)
    after = plain(build(cls.Config, before | dict(settings), where=cls.name))
    others = {name: after[name] for name in settings if after[name] != before[name]}
    if not others:
        return model
    new = _alike(model, found, before | others)
    if new is not None:
        return new
    for name, value in others.items():
        if _alike(model, found, before | {name: value}) is None:
            break
    else:
        name = " and ".join(others)
    raise UsageError(
        f"{cls.name}: the weights of {found.title} were made with {name}={before.get(name)}, not "
        f"{others.get(name)}; only settings that say how a model learns may be others."
    )


def _alike(model: Inpainter, found: Found, config: Mapping[str, Any]) -> Inpainter | None:
    """The model with this configuration, or None where it has other weights or fills otherwise."""
    try:
        new = made(replace(found, card=replace(found.card, config=config)), type(model))
        return new if torch.equal(_trial(new, model), _trial(model, model)) else None
    except GapfillError:
        return None


def _trial(model: Inpainter, sized: Inpainter) -> Tensor:
    """How a model fills a picture of noise of another one's size."""
    size = getattr(sized.config, "size", 64)
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 4 : -size // 4, size // 4 : -size // 4] = 1
    return model.inpaint(picture, mask)


def _weighted(
    cls: type[Inpainter], config: Any, tensors: Mapping[str, Tensor], without: Sequence[str]
) -> Inpainter:
    """A model with these weights."""
    outline = _outline(cls, config)
    if outline is not None:
        no_memory = {name: each.to("meta") for name, each in tensors.items()}
        _fill(outline, no_memory, without, assign=True)
    with seeded(0):  # whose weights are replaced, but for new critics
        model = cls(config)
    _fill(model, tensors, without)
    return model


def _outline(cls: type[Inpainter], config: Any) -> Inpainter | None:
    """A model without memory for its weights, or None where its making needs their numbers."""
    try:
        with torch.device("meta"):
            return cls(config)
    except GapfillError:
        raise
    except Exception:
        return None


def _fill(
    model: Inpainter, tensors: Mapping[str, Tensor], without: Sequence[str], assign: bool = False
) -> None:
    """Give a model its weights; their types count, which torch would convert without a word.

    Critics that they are `without` stay as they were made.
    """
    for name in without:
        if name not in model.critics:
            raise UsageError(f"they are without '{name}', which is none of its critics.")
    own = model.state_dict()
    kept = leaving_out(own, without)
    for name, weight in kept.items():
        found = tensors.get(name)
        if found is not None and found.is_floating_point() != weight.is_floating_point():
            raise UsageError(f"'{name}' is {found.dtype}, not {weight.dtype}.")
    new = {name: weight for name, weight in own.items() if name not in kept}
    model.load_state_dict(new | dict(tensors), assign=assign)
    model.new_critics = tuple(without)
