"""The console command `gapfill`: list, fit, compare, fill, doctor."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gapfill import console
from gapfill._version import __version__
from gapfill.about import GROUPS
from gapfill.compare import command as compare


def parser() -> console.Parser:
    """The command and its sub-commands."""
    made = console.Parser(prog="gapfill", description="A pluggable zoo of image inpainters.")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    made.add_argument("--version", action="version", version=f"gapfill {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the registered models")
    listing.add_argument("pattern", nargs="?", default="*", help="a wildcard, such as '*gan'")
    listing.add_argument(
        "--group", action="append", choices=list(GROUPS), help="of this group; may be repeated"
    )
    listing.add_argument(
        "--stochastic", action="store_true", help="that have another fill for each seed"
    )
    listing.add_argument(
        "--no-training", action="store_true", help="that need not see pictures first"
    )
    listing.add_argument("--holes", choices=("any", "square"), help="that are built for such holes")
    listing.add_argument("--json", metavar="FILE", help="write the list there, - for stdout")
    listing.set_defaults(run=run_list)

    fit = commands.add_parser("fit", help="train one model and save it")
    fit.add_argument("model", help="a registered name or a recipe (.yaml)")
    console.add_data(fit)
    fit.add_argument("--mask", help="which masks to train with (default: center)")
    console.add_length(fit)
    console.add_training(fit)
    console.add_set(fit)
    fit.add_argument("--out", metavar="DIR", required=True, help="where run and model are kept")
    fit.set_defaults(run=run_fit)

    comparing = commands.add_parser("compare", help="train, score and report several models")
    compare.add_options(comparing)
    comparing.set_defaults(run=compare.run)

    fill = commands.add_parser("fill", help="fill the hole of a picture with a saved model")
    fill.add_argument("model", help="a folder of a saved model, or a name that needs no training")
    fill.add_argument("photo", help="any picture")
    fill.add_argument("mask", help="a picture of the same size, white = missing")
    fill.add_argument("--invert-mask", action="store_true", help="black = missing")
    fill.add_argument("--seed", type=int, default=0, help="names the noise of a stochastic model")
    fill.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:INDEX")
    fill.add_argument("--out", metavar="FILE", required=True, help="the filled picture, .png")
    fill.set_defaults(run=run_fill)

    doctor = commands.add_parser("doctor", help="what this machine has and what is missing")
    doctor.add_argument("--json", metavar="FILE", help="write it there, - for stdout")
    doctor.set_defaults(run=run_doctor)

    for name, command in commands.choices.items():
        if name != "compare":
            console.add_common(command)
    return made


def run_list(options: argparse.Namespace) -> None:
    """Show the models that match, and name those that cannot be had."""
    from gapfill import registry
    from gapfill.commands import listing

    found, broken = listing.gather(registry.list_models(options.pattern))
    found = [
        one
        for one in found
        if (not options.group or one.about.group in options.group)
        and (one.stochastic or not options.stochastic)
        and not (one.needs_training and options.no_training)
        and options.holes in (None, one.about.holes)
    ]
    if options.json:
        rows = [one.as_json() for one in found]
        _write_json(options.json, [*rows, *({"name": n, "error": e} for n, e in broken.items())])
        return
    if found:
        console.show(listing.table(found, max(shutil.get_terminal_size((110, 24)).columns, 100)))
    for reason in broken.values():
        console.say(f"left out: {reason}")


def run_fit(options: argparse.Namespace) -> None:
    """Train one model as a recipe says, with the command line's changes."""
    from gapfill import masks, ranks
    from gapfill.compute import resolve_precision
    from gapfill.config import build, plain
    from gapfill.data import Stream, open_table
    from gapfill.randomness import mix, seeded
    from gapfill.recipe import Recipe, read_recipe
    from gapfill.train import Training, resolve_mode

    is_file = options.model.endswith((".yaml", ".yml"))
    recipe = read_recipe(options.model) if is_file else Recipe(model=options.model)
    changes = console.given(options, "mask", "batch_size")
    settings = {**recipe.settings, **console.parse_set(options.set)}
    recipe = build(Recipe, vars(recipe) | changes | {"settings": settings}).sized(options.size)
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
    out = Path(options.out)
    if ranks.rank() == 0:
        console.say(
            f"data: {table.describe()} · masks: {recipe.mask} · {device.type}, {how}", options.quiet
        )
    model.fit(
        Stream(table.part("train").images, recipe.batch_size, train.seed, flip=recipe.flip),
        mask=recipe.mask,
        val=table.validation,
        out=out,
        quiet=options.quiet,
        **plain(train),
    )
    if ranks.rank() == 0:
        model.save(out / "model", data=table.provenance)
        console.say(f"wrote {out / 'model'}", options.quiet)
    ranks.stop()


def run_fill(options: argparse.Namespace) -> None:
    """Fill one picture, at the resolution that the model knows, and paste into the photo."""
    from gapfill.fill.photo import fill_file

    fill_file(
        options.model,
        Path(options.photo),
        Path(options.mask),
        Path(options.out),
        invert=options.invert_mask,
        device=options.device,
        seed=options.seed,
    )
    console.say(f"wrote {options.out}", options.quiet)


def run_doctor(options: argparse.Namespace) -> None:
    """Say what is here: versions, devices, precision, data, LPIPS weights, plug-ins."""
    import torch

    from gapfill import metrics, ranks, registry
    from gapfill.compare import evaluate
    from gapfill.compute import resolve_precision
    from gapfill.data.table import cache_folder

    device = ranks.resolve("auto")
    facts = evaluate.environment(device, resolve_precision("auto", device))
    facts["cuda"] = torch.version.cuda or "none"
    facts["models"] = ", ".join(registry.list_models())
    facts["cache"] = str(cache_folder())
    facts["lpips"] = metrics.load_lpips("cpu")[1] or "ready"
    if options.json:
        _write_json(options.json, facts)
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        console.show(f"{key:<{width}}  {value}")


def _write_json(path: str, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    if path == "-":
        console.show(text)
    else:
        from gapfill.checkpoint import write_text

        write_text(Path(path), text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return console.launch(lambda options: options.run(options), parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())
