"""`gapfill fit`: train one model and save it."""

from __future__ import annotations

import argparse
from pathlib import Path

from gapfill import console

NAME, HELP = "fit", "train one model and save it"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("model", help="a registered name or a recipe (.yaml)")
    parser.add_argument(
        "--from",
        dest="begin",
        metavar="WEIGHTS",
        help="begin with these: NAME or NAME@TAG that come with the package, or the folder of a "
        "saved model or a run",
    )
    parser.add_argument(
        "--which",
        choices=("best", "last"),
        help="of --from RUN, finished or not: what its newest checkpoint has",
    )
    console.add_data(parser, size="64, or that of --from")
    parser.add_argument("--mask", help="which masks to train with (default: center)")
    console.add_invert_mask(parser)
    console.add_length(parser)
    parser.add_argument(
        "--schedule",
        choices=("cosine", "linear", "constant"),
        help="of the learning rate after the warm-up: down to zero, or level (default: cosine)",
    )
    console.add_training(parser)
    console.add_set(parser)
    parser.add_argument("--out", metavar="DIR", required=True, help="where run and model are kept")
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Train one model as a recipe says, with the command line's changes."""
    from dataclasses import replace

    from gapfill import checkpoint, loggers, masks, ranks
    from gapfill.compute import resolve_precision
    from gapfill.config import build, plain
    from gapfill.data import Stream, open_table
    from gapfill.errors import UsageError
    from gapfill.randomness import mix, seeded
    from gapfill.recipe import Recipe, read_recipe
    from gapfill.registry import model_class, open_weights
    from gapfill.saved import renew_critics
    from gapfill.train import resolve_mode
    from gapfill.train.settings import LENGTHS

    out = Path(options.out)
    checkpoint.check_folder(out)
    if options.logger is not None:
        loggers.require(options.logger)
    is_file = options.model.endswith((".yaml", ".yml"))
    recipe = read_recipe(options.model) if is_file else Recipe(model=options.model)
    changes = console.given(options, "mask", "batch_size")
    if options.no_flip:
        changes["flip"] = False
    said = console.parse_set(options.set)
    known = model_class(recipe.model).Config.__dataclass_fields__
    for name in said:
        if name not in known and hasattr(options, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--set {name}: it is no setting of the model, but {option} says it.")
    if options.size is not None and said.get("size", options.size) != options.size:
        raise UsageError(f"--size {options.size} and --set size={said['size']} are two sizes.")
    settings = {**recipe.settings, **said}
    if options.size is not None and "size" in settings:
        settings["size"] = options.size
    recipe = build(Recipe, vars(recipe) | changes | {"settings": settings})
    given = None
    if options.begin is not None:
        wanted = settings | console.given(options, "size")
        given = open_weights(options.begin, recipe.model, options.which, wanted)
    elif options.which is not None:
        raise UsageError("--which is for --from RUN.")
    size = getattr(given and given.config, "size", 64)
    size = options.size or settings.get("size", size)
    recipe = recipe.sized(size)
    if options.invert_mask:
        recipe = replace(recipe, mask=masks.inverted_files([recipe.mask])[0])
    masks.check(recipe.mask)
    asked = console.given(options, *LENGTHS, "schedule", "device", "precision", "mode", "seed")
    learns = model_class(recipe.model).optimised()
    for name in () if learns else (*LENGTHS, "schedule", "precision", "mode", "mask", "logger"):
        if getattr(options, name) is not None:
            raise UsageError(f"'{recipe.model}' does not learn by steps: --{name} is not for it.")
    train = recipe.train.changed(asked, where="fit")
    device = ranks.start(train.device)
    how = f"{resolve_precision(train.precision, device)}, {resolve_mode(train.mode, device)}"
    with seeded(mix(train.seed, "weights")):
        model = given or recipe.create()
        renew_critics(model)
    table = open_table(options.data, size, options.crop, extra=options.extra)
    if ranks.rank() == 0:
        holes = f" · masks: {masks.describe(recipe.mask)} · {device.type}, {how}" if learns else ""
        console.say(f"data: {table.introduce()}{holes}", options.quiet)
        before = ((given and given.training_run) or {}).get("mask")
        if options.mask is None and before not in (None, recipe.mask):
            console.say(f"the weights learned under {before}: --mask goes on so", options.quiet)
    with loggers.opened(options.logger, out / "tensorboard") as board:
        model.fit(
            Stream(table.part("train").images, recipe.batch_size, train.seed, flip=recipe.flip),
            mask=recipe.mask,
            val=table.validation,
            out=out,
            quiet=options.quiet,
            data=table.provenance,
            on_log=board and board.log,
            on_look=board and board.look,
            **plain(train),
        )
    if ranks.rank() == 0:
        console.say(f"wrote {out / 'model'}", options.quiet)
    ranks.stop()
