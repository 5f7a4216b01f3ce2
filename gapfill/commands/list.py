"""`gapfill list`: the registered models."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import asdict

from gapfill import console
from gapfill.about import GROUPS

NAME, HELP = "list", "the registered models"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("pattern", nargs="?", default="*", help="a wildcard, such as '*gan'")
    parser.add_argument(
        "--group", action="append", choices=list(GROUPS), help="of this group; may be repeated"
    )
    parser.add_argument(
        "--stochastic", action="store_true", help="that have another fill for each seed"
    )
    parser.add_argument(
        "--no-training", action="store_true", help="that need not see pictures first"
    )
    parser.add_argument(
        "--pretrained", action="store_true", help="the weights in the package, of such models"
    )
    parser.add_argument("--holes", choices=("any", "square"), help="that are built for such holes")
    parser.add_argument(
        "--macs", action="store_true", help="count the multiplications of a fill too (seconds)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the list there, - for stdout")
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Show the models that match, and name those that cannot be had."""
    from gapfill import pretrained, registry
    from gapfill.commands import listing

    macs = not options.pretrained and (options.macs or bool(options.json))
    found, broken = listing.gather(registry.list_models(options.pattern, options.pretrained), macs)
    found = [
        one
        for one in found
        if (not options.group or one.about.group in options.group)
        and (one.stochastic or not options.stochastic)
        and not (one.needs_training and options.no_training)
        and options.holes in (None, one.about.holes)
    ]
    if not (found or broken) and not options.json:
        console.say("no model is like this; gapfill list shows all of them")
    if options.pretrained:
        weights = [each for one in found for each in pretrained.weights_of(one.name)]
        if options.json:
            console.write_json(options.json, [asdict(each) for each in weights])
        elif weights:
            console.show(listing.weights_table(weights))
            console.say("gapfill card NAME@TAG: what they reach, where they fail, their terms")
        return
    if options.json:
        rows = [one.as_json() for one in found]
        console.write_json(
            options.json, [*rows, *({"name": n, "error": e} for n, e in broken.items())]
        )
        return
    if found:
        width = max(shutil.get_terminal_size((110, 24)).columns, 100)
        console.show(listing.table(found, width, macs))
    for one in found:
        if one.lacking:
            console.say(f"{one.name} cannot fill here: it lacks {one.lacking}")
    for reason in broken.values():
        console.say(f"left out: {reason}")
