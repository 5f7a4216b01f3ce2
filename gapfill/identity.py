"""What makes a run of `fit` this run: the model, its settings, its pictures and masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gapfill import checkpoint, masks, metrics, ranks
from gapfill.config import build, plain
from gapfill.data import known
from gapfill.data.items import pictures_of
from gapfill.data.stream import Source, Stream, open_source
from gapfill.errors import UsageError
from gapfill.randomness import mix, seeded
from gapfill.train import Training

if TYPE_CHECKING:
    from gapfill.inpainter import Inpainter


def of_fit(
    model: Inpainter,
    loader: Any,
    mask: str | Tensor | None,
    val: Any,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """What makes the run of `fit` with these arguments this run: `Inpainter.identity`."""
    if not model.needs_training:
        return of_study(model, None)
    source = open_source(loader, model.device)
    if not model.optimised():
        return of_study(model, source)
    settings = settings_of(model, training)
    with seeded(mix(settings.seed, "batch", 0)):
        size = source.block(0, 1).shape[-1]
    with seeded(mix(settings.seed, "validation")):
        val = None if val is None else pictures_of(val, size)
    kind = mask_kind(mask, source)
    with seeded(mix(settings.seed, "batch", 0)):
        return of_run(model, source, kind, val, settings, None)[0]


def settings_of(model: Inpainter, training: Mapping[str, Any]) -> Training:
    """The settings of `fit`; of one of the model's it says where it belongs."""
    fields = getattr(model.Config, "__dataclass_fields__", {})
    for name in training:
        if name in fields and name not in Training.__dataclass_fields__:
            raise UsageError(
                f"fit: '{name}' is a setting of the model: "
                f"gapfill.create('{model.name}', {name}=…)."
            )
    return build(Training, training, where="fit")


def mask_kind(mask: str | Tensor | None, source: Source) -> str:
    """The kind of masks of a run whose source's first batch was read."""
    own = source.masks()
    if own is not None and mask is not None:
        raise UsageError(
            "the loader gives masks with its pictures, and mask= asks for others: "
            "leave out mask=, or give the pictures alone."
        )
    if own is not None:
        return masks.Handed(own, "given by the loader")
    if mask is None or isinstance(mask, str):
        return mask or "center"
    return masks.Handed(mask)


def of_run(
    model: Inpainter,
    source: Source,
    mask: str,
    val: Tensor | None,
    settings: Training,
    folder: Path | None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What makes a run this run, and the mask pictures that it will use."""
    given = masks.banks(mask, source.block(0, 1).shape[-1])
    watched = val[: model.watched] if val is not None and settings.watch else None
    initial = checkpoint.digest(model.state_dict())
    if model.begun is not None and model.begun[::2] == (folder, initial):
        initial = model.begun[1]  # the weights of that folder's run, which goes on
    found = settings.identity() | {
        "processes": ranks.world(),
        "model": model.name,
        "config": plain(model.config),
        "mask": str(mask),  # not the tensors of those that were handed over
        "mask_pictures": [masks.digest(bank[:, None].float()) for bank in given.values()],
        "validation": None if watched is None else known.digest(watched),
        "chosen_by": None if watched is None else _rule(model, watched),
        "initial_weights": initial,
    }
    return found | source.identity(mix(settings.seed, "batch", 0)), given


def _rule(model: Inpainter, pictures: Tensor) -> str:
    """What the best weights are chosen by on these pictures, in words."""
    sees = model.by_lpips and not metrics.lpips_missing(min(pictures.shape[-2:]))
    return "lpips" if sees else model.chosen_by


def of_study(model: Inpainter, source: Source | None) -> dict[str, Any]:
    """What makes a model without an optimiser what it is, as far as it is known beforehand."""
    found = {"model": model.name, "config": plain(model.config)}
    if isinstance(source, Stream):
        found["pictures"] = source.identity()["pictures"]
    return found
