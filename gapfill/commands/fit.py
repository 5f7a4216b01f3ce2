"""`gapfill fit`: train one model and save it."""

from __future__ import annotations

import argparse
from pathlib import Path

from gapfill import console

NAME, HELP = "fit", "train one model and save it"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("model", help="a registered name or a recipe (.yaml)")
    console.add_data(parser)
    parser.add_argument("--mask", help="which masks to train with (default: center)")
    console.add_invert_mask(parser)
    console.add_length(parser)
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
    from gapfill.randomness import mix, seeded
    from gapfill.recipe import Recipe, read_recipe
    from gapfill.train import Training, resolve_mode

    out = Path(options.out)
    checkpoint.check_folder(out)
    if options.logger is not None:
        loggers.require(options.logger)
    is_file = options.model.endswith((".yaml", ".yml"))
    recipe = read_recipe(options.model) if is_file else Recipe(model=options.model)
    changes = console.given(options, "mask", "batch_size")
    if options.no_flip:
        changes["flip"] = False
    settings = {**recipe.settings, **console.parse_set(options.set)}
    recipe = build(Recipe, vars(recipe) | changes | {"settings": settings}).sized(options.size)
    if options.invert_mask:
        recipe = replace(recipe, mask=masks.inverted_files([recipe.mask])[0])
    masks.check(recipe.mask)
    length = console.given(options, "epochs", "steps", "budget")
    training = plain(recipe.train) | console.given(options, "device", "precision", "mode", "seed")
    if length:
        training |= dict.fromkeys(("epochs", "steps", "budget")) | length
    train = build(Training, training, where="fit")
    device = ranks.start(train.device)
    how = f"{resolve_precision(train.precision, device)}, {resolve_mode(train.mode, device)}"
    with seeded(mix(train.seed, "weights")):
        model = recipe.create()
    table = open_table(options.data, options.size, options.crop, extra=options.extra)
    if ranks.rank() == 0:
        holes = masks.describe(recipe.mask)
        console.say(
            f"data: {table.introduce()} · masks: {holes} · {device.type}, {how}", options.quiet
        )
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
