"""`gapfill.compare(…)`: a comparison from Python, by the same stages as the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from gapfill.compare.comparison import Comparison
    from gapfill.compare.lineup import Models

    Masks = str | Tensor | Sequence[str | Tensor] | Mapping[str, str | Tensor]


def compare(
    models: Models = "paper",
    data: Any = None,
    *,
    val: Any = None,
    test: Any = None,
    masks: Masks | None = None,
    mask: str | Tensor | None = None,
    size: int | None = None,
    crop: str = "auto",
    extra: Sequence[str | Path] = (),
    steps: int | None = None,
    epochs: float | None = None,
    budget: str | None = None,
    seed: int = 0,
    seeds: int = 1,
    batch_size: int | None = None,
    flip: bool = True,
    device: str | None = None,
    precision: str | None = None,
    mode: str | None = None,
    jobs: int = 1,
    executor: str | None = None,
    out: str | Path | None = None,
    logger: str | None = None,
    quiet: bool = False,
) -> Comparison:
    """Train what is not trained yet, score all alike, write the report, and return the results.

    It is `python -m gapfill.compare` with the same options, and takes live models and pictures
    beside what the command takes. The same call goes on where it was interrupted, and scores only
    what changed.

        results = gapfill.compare(["cnn", my_model], images, test=others, steps=500)
        results["cnn"].hole_psnr

    Args:
        models: names, wildcards, groups, recipes, folders, `NAME@TAG`, live models, or a dictionary
            of them by the labels that they shall have. A live model that was trained is scored as
            it is; one that was not stands for its name and settings, and is trained here from
            weights of each run's seed. The object itself is left as it is. The mean picture and
            Telea are always there.
        data: what to learn from: a folder or zip, a `gapfill.data.Table`, a tensor [N, 3, S, S], a
            `Stream`, or a loader with a length, which is read once. Without it the command's.
        val: pictures to validate on, where `data` is a tensor, a stream or a loader; without it a
            twentieth of those is held back by chance, and the first line says so.
        test: pictures to score on, as `data`; without it those of its split, or a tenth of a
            tensor, a stream or a loader, held back by chance.
        masks: what to score under: kinds, tensors [M, 1, S, S] of which each picture gets one in
            turn, or a dictionary of them by name.
        mask: what to train under (default: the first of `masks`).
        size: side of the pictures that are read from files (default: 64).
        crop: how these are cut.
        extra: more folders to learn from.
        steps: how long to train, as are `epochs` and `budget`.
        epochs: passes over the training pictures.
        budget: time for each model, such as "10m".
        seed: of the first run.
        seeds: runs of each model.
        batch_size: pictures in a step (default: the stream's, or 64).
        flip: mirror every second training picture, at random.
        device: where to compute.
        precision: of training.
        mode: of training.
        jobs: runs trained at a time, in processes of their own; a model that is registered in this
            one alone is trained here, after the others.
        executor: "dask://HOST:PORT", a cluster that trains them instead.
        out: the folder (default: runs/compare-…, by the settings).
        logger: "tensorboard".
        quiet: no bars, no notes.

    Raises:
        UsageError: models, pictures, masks or settings that make no sense.
        InterruptedRun: SIGINT or SIGTERM came; the same call goes on.
    """
    from gapfill.compare import command, given, lineup, stages
    from gapfill.compare.comparison import Comparison
    from gapfill.compare.estimate import forecast
    from gapfill.console import say
    from gapfill.data import Stream
    from gapfill.reading.regular import expand

    table, other = given.tables(data, val, test, size, crop, [str(path) for path in extra])
    mirrored, batch = flip, batch_size
    if isinstance(data, Stream):
        batch, mirrored = batch_size or data.batch_size, flip and data.flip
    options = command.parser().parse_args([])
    kinds = None if masks is None else given.kinds(masks)
    vars(options).update(
        models=lineup.words(models),
        size=table.size,
        test=None if other is None else other.digest(),
        masks=kinds,
        mask=None if mask is None else given.kinds(mask)[0],
        steps=steps,
        epochs=epochs,
        budget=budget,
        seed=seed,
        seeds=seeds,
        batch_size=batch,
        no_flip=not mirrored,
        device=device,
        precision=precision,
        mode=mode,
        jobs=jobs,
        executor=executor,
        out=None if out is None else str(expand(out)),
        logger=logger,
        quiet=quiet,
    )
    plan = command.make_plan(
        options,
        lineup=lineup.line_up(models, table.size),
        opened=(table, other),
        command=_call(
            models, data=data, val=val, test=test, masks=masks, mask=mask, steps=steps,
            epochs=epochs, budget=budget, seed=seed or None, seeds=seeds if seeds > 1 else None,
            batch_size=batch_size, size=size,
            crop=None if crop == "auto" else crop, extra=list(extra) or None,
            flip=None if flip else False, precision=precision, mode=mode,
        ),
    )  # fmt: skip
    say(stages.headline(plan), quiet)
    if not quiet and (expected := forecast(plan)):
        say(expected)
    stages.complete(plan)
    found = Comparison(plan.out)
    say(f"wrote {plan.out / 'report.html'}", quiet)
    return found


def _call(models: Any, **arguments: Any) -> str:
    """The call in a line, for the report."""
    words = [_short(models)]
    words += [f"{name}={_short(value)}" for name, value in arguments.items() if value is not None]
    return f"gapfill.compare({', '.join(words)})"


def _short(value: Any) -> str:
    """A value as it was written, or what it is where that is long."""
    from gapfill.inpainter import Inpainter

    if isinstance(value, str | int | float):
        return repr(value)
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple) and len(value) < 30:
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, Inpainter):
        return f"<{value.name}>"
    shape = getattr(value, "shape", None)
    of = f" {list(shape)}" if shape is not None else ""
    return f"<{type(value).__name__}{of}>"
