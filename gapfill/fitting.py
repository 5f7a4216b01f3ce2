"""What surrounds a training of an inpainter: its pictures and masks, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from gapfill import checkpoint, metrics, ranks
from gapfill.card import read_card
from gapfill.data.feed import MaskedBatches
from gapfill.data.items import pictures_of
from gapfill.data.seen import Seen
from gapfill.data.stream import Replay, open_source
from gapfill.errors import UsageError
from gapfill.identity import mask_kind, of_run, of_study, settings_of
from gapfill.origin import Origin
from gapfill.randomness import mix, seeded
from gapfill.reading.regular import expand
from gapfill.train import Trainer, Training
from gapfill.train.folder import differing, is_begun
from gapfill.train.signals import Signals
from gapfill.types import Look
from gapfill.watcher import Watcher

if TYPE_CHECKING:
    from gapfill.inpainter import Inpainter


class Hooks(NamedTuple):
    """What is called with each line of the log and at each look, if anything."""

    log: Callable[[dict[str, Any]], object] | None = None
    look: Callable[[Look], object] | None = None

    def check(self) -> None:
        """Raise UsageError for what cannot be called."""
        for name, hook in self._asdict().items():
            if hook is not None and not callable(hook):
                raise UsageError(f"on_{name} must be a function; got {type(hook).__name__}.")


def fit(
    model: Inpainter,
    loader: Iterable[Any],
    mask: str | Tensor | None,
    val: Any,
    out: str | Path | None,
    quiet: bool,
    data: str,
    hooks: Hooks,
    training: Mapping[str, Any],
) -> None:
    """Train the model in place: `Inpainter.fit`, which says what the arguments are."""
    settings = settings_of(model, training)
    hooks.check()
    ranks.join(settings.device)
    folder = expand(out) if out is not None else None
    if folder is not None:
        checkpoint.check_folder(folder)
    if not model.optimised():
        _study(model, loader, settings, folder)
    else:
        if folder is not None and not is_begun(folder):
            _keep_what_is_there(folder, None)
        if model.dtype != torch.float32:
            kind = str(model.dtype).removeprefix("torch.")
            raise UsageError(
                f"the weights of this '{model.name}' are {kind}, and training needs float32. "
                "Call .float() first."
            )
        with Signals() as signals:  # before a loader's workers begin, which inherit what is done
            _optimise(model, loader, settings, mask, val, folder, quiet, data, hooks, signals)
    model.training_data = data
    if folder is not None and ranks.rank() == 0:
        model.save(folder / "model", data, overwrite=True)


def _keep_what_is_there(folder: Path, identity: Mapping[str, Any] | None) -> None:
    """Refuse to take the place of what something else left in the folder.

    Args:
        folder: where the model will be saved.
        identity: of a model that learns all at once, which may be made again; of others a plan
            says so.
    """
    if identity is not None and is_begun(folder):
        raise UsageError(f"{folder} holds a run of another model. Give another --out.")
    if (folder / "model" / "config.json").exists():
        card = read_card(folder / "model")
        if identity is None or differing(card.run or {}, identity):
            raise UsageError(
                f"{folder} holds a saved '{card.model}', whose place this one would take. "
                "Give another --out."
            )


def _study(
    model: Inpainter, loader: Iterable[Any], settings: Training, folder: Path | None
) -> None:
    """`fit`, for a model that has no updates."""
    source = open_source(loader, model.device) if model.needs_training else None
    if folder is not None:
        _keep_what_is_there(folder, of_study(model, source))
    if source is not None:
        with seeded(mix(settings.seed, "study")):
            model.study(source.epoch())
    model.training_run = of_study(model, source)
    model.training_pictures = None if source is None else Seen.after(None, source)
    model.trained = True


def _optimise(
    model: Inpainter,
    loader: Iterable[Any],
    settings: Training,
    mask: str | Tensor | None,
    val: Any,
    folder: Path | None,
    quiet: bool,
    data: str,
    hooks: Hooks,
    signals: Signals,
) -> None:
    """`fit`, for a model that has updates."""
    device = ranks.resolve(settings.device)
    if device.type == "cuda" and ranks.world() > 1:
        device = torch.device("cuda", torch.cuda.current_device())
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    source = open_source(loader, device, quiet)
    with (
        signals.reading(),
        seeded(mix(settings.seed, "batch", 0), device),
    ):  # as the trainer reads it
        size = source.block(0, 1).shape[-1]
        _check_size(model, *source.block(0, 1).shape[-2:])
    mask = mask_kind(mask, source)
    with signals.reading(), seeded(mix(settings.seed, "validation")):
        val = None if val is None else pictures_of(val, size)
    if val is not None:
        _check_size(model, *val.shape[-2:])
    identity, given = of_run(model, source, mask, val, settings, folder)
    lpips, missing = None, ""
    if identity["chosen_by"] == "lpips":
        lpips, missing = metrics.load_lpips(device)
    if missing:
        raise UsageError(f"LPIPS, by which a '{model.name}' is chosen: {missing}.")
    watcher = None
    if val is not None:
        watcher = Watcher(val[: model.watched], mask, settings.seed, folder, lpips)

    def on_look(step: int, scores: dict[str, float], best: bool) -> None:
        if hooks.look is not None and watcher is not None:
            hooks.look(Look(step, scores, best, watcher.samples))

    before, new, began = model.trained, model.new_critics, model.loaded_from
    earlier, initial = model.training_pictures, identity["initial_weights"]
    seen = Seen.after(earlier or (Seen.unknown() if before else None), source)
    if earlier and folder and (folder, initial) == (model.begun or ())[:2]:
        seen = replace(seen, trainings=earlier.trainings)  # that folder's run, which goes on
    trainer = Trainer(
        model,
        model.updates(),
        MaskedBatches(source, mask, settings.seed, device, given),
        settings,
        steps_per_epoch=len(source),
        folder=folder,
        identity=identity,
        skip=source.batch if isinstance(source, Replay) else None,
        watch=watcher,
        on_log=hooks.log,
        on_look=on_look,
        title=model.name,
        quiet=quiet,
        critics=model.critics,
        on_begin=partial(Origin(seen, data, began).save, run=initial),
    )
    _say_what_is_new(model, trainer, folder)
    try:
        steps = trainer.run(signals)
    except BaseException as error:
        model.trained = before  # resuming alone loads weights
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            raise UsageError(
                f"'{model.name}' cannot learn from a batch of one picture, whose statistics "
                "its BatchNorm needs: give batches of at least 2."
            ) from error
        raise
    finally:
        model.new_critics = () if trainer.begun else new
        model.loaded_from = began
        if trainer.begun:  # whatever ended it, these are that run's weights
            ends = checkpoint.digest(model.state_dict())
            model.training_run = identity
            model.began_with = began
            model.training_pictures = seen
            model.begun = folder, initial, ends
    model.trained = True
    model.history = trainer.history
    images = steps * trainer.batch_size
    model.training_cost = {
        "steps": steps,
        "images": images,
        "seconds": round(trainer.seconds, 3),
        "images_per_second": round(images / trainer.seconds, 2) if trainer.seconds else None,
        "precision": trainer.engine.precision,
        "mode": trainer.engine.mode,
        "batch_size": trainer.batch_size,
    }


def _say_what_is_new(model: Inpainter, trainer: Trainer, folder: Path | None) -> None:
    """That a run which is not resumed begins with critics that have learned nothing."""
    resumed = folder is not None and (folder / "plan.json").exists()
    if model.new_critics and not trainer.quiet and not resumed:
        names = " and ".join(f"'{name}'" for name in model.new_critics)
        trainer.note(
            f"{model.name}: the given weights have no {names}, which learns from the beginning"
        )


def _check_size(model: Inpainter, height: int, width: int) -> None:
    """Refuse what the model was not made for, or what no mask can be drawn for."""
    size = getattr(model.config, "size", None)
    if height != width:
        raise UsageError(f"training pictures must be square; got {width}×{height}.")
    if size not in (None, height):
        raise UsageError(
            f"this '{model.name}' was made for {size}×{size} pictures; got {width}×{height}. "
            f"Create it with size={height}, or resize them."
        )
    model.check_size(height, width)
