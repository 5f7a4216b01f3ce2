"""`gapfill fill`: fill the hole of a picture with a saved model."""

from __future__ import annotations

import argparse
from pathlib import Path

from gapfill import console

NAME, HELP = "fill", "fill the hole of a picture with a saved model"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("model", help="a folder of a saved model, or a name that needs no training")
    parser.add_argument("photo", help="any picture")
    parser.add_argument("mask", help="a picture of the same size, white = missing")
    parser.add_argument("--invert-mask", action="store_true", help="black = missing")
    parser.add_argument(
        "--context",
        default="hole",
        metavar="WHAT",
        help="what the model sees: hole, as much around each hole as it was trained to see; whole, "
        "the largest square of the photo, for a face that fills it; a share of the window that is "
        "missing, such as 0.1; or a square, LEFT,TOP,SIDE (default: %(default)s)",
    )
    parser.add_argument(
        "--no-grain",
        action="store_true",
        help="leave a fill that had to be enlarged smooth, without the grain of what is around it",
    )
    parser.add_argument("--seed", type=int, default=0, help="names the noise of a stochastic model")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:INDEX or mps, untested"
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="the filled picture, .png")
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Fill the holes of one picture, each seen at the resolution that the model knows."""
    from gapfill.fill.photo import fill_file

    fill_file(
        options.model,
        Path(options.photo),
        Path(options.mask),
        Path(options.out),
        invert=options.invert_mask,
        device=options.device,
        seed=options.seed,
        context=options.context,
        grain=not options.no_grain,
    )
    console.say(f"wrote {options.out}", options.quiet)
