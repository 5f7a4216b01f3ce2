"""`gapfill fill`: fill the holes of a picture, or of a folder of them, with a saved model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gapfill import console
from gapfill.errors import GapfillError, UsageError, some

NAME, HELP = "fill", "fill the holes of a picture, or of a folder, with a saved model"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "model",
        help="a folder of a saved model, a name that needs no training, or NAME@TAG, weights that "
        "come with gapfill (see `gapfill list --pretrained`)",
    )
    parser.add_argument("photo", help="any picture, or a folder of them")
    parser.add_argument("mask", nargs="?", help="the same as --mask")
    parser.add_argument(
        "--mask",
        dest="mask_option",
        metavar="WHAT",
        help="a picture of the same size, white = missing; for a folder also a folder with a mask "
        "for each picture, by name; or alpha, the transparent parts of the photo",
    )
    parser.add_argument("--invert-mask", action="store_true", help="black = missing")
    parser.add_argument(
        "--grow", type=int, default=0, metavar="N", help="widen the holes by N pixels"
    )
    parser.add_argument(
        "--resize-mask", action="store_true", help="bring a mask of another size to the photo's"
    )
    parser.add_argument(
        "--context",
        default="auto",
        metavar="WHAT",
        help="what the model sees: hole, as much around each hole as it was trained to see; face, "
        "for holes in a face all of it; auto, face where scikit-image finds one, else hole; whole, "
        "the largest square of the photo; a share of the window that is missing, such as 0.1; or a "
        "square, LEFT,TOP,SIDE (default: %(default)s)",
    )
    parser.add_argument(
        "--no-grain",
        action="store_true",
        help="leave a fill that had to be enlarged smooth, without the grain of what is around it",
    )
    parser.add_argument("--seed", type=int, default=0, help="names the noise of a stochastic model")
    parser.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="so many fills of a stochastic model, each into a file with its seed in the name",
    )
    console.add_device(parser)
    parser.add_argument(
        "--out",
        metavar="PATH",
        required=True,
        help="the filled picture, .png, .jpg, .webp or .tif; or the folder for the filled pictures",
    )
    parser.add_argument(
        "--format",
        choices=("png", "jpg", "webp", "tif"),
        help="of the pictures of a folder (default: each its own)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        metavar="N",
        help="1 to 100, of JPEG (default: 95) and of WebP (default: every pixel is kept)",
    )
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Fill each hole at the resolution that the model knows, and keep everything else."""
    from gapfill.fill.photo import ALPHA, Marking
    from gapfill.reading.regular import expand

    if (options.mask is None) == (options.mask_option is None):
        raise UsageError("give one mask: MODEL PHOTO MASK, or --mask MASK.")
    if options.quality is not None and not 1 <= options.quality <= 100:
        raise UsageError(f"--quality must be 1 to 100; got {options.quality}.")
    photo, word = expand(options.photo), options.mask or options.mask_option
    how = {
        "mask": word if word == ALPHA else Path(word),
        "marking": Marking(options.invert_mask, options.grow, options.resize_mask),
        "grain": not options.no_grain,
        **console.given(options, "device", "seed", "context", "quality"),
    }
    if photo.is_dir():
        _fill_folder(options, photo, how)
    else:
        _fill_file(options, photo, how)


def _fill_file(options: argparse.Namespace, photo: Path, how: dict[str, Any]) -> None:
    from gapfill.fill.photo import files_of, fill_file

    if options.format:
        raise UsageError("--format is for folders: the ending of --out says the format of one.")
    out, samples = Path(options.out), options.samples
    _check_quality(options.quality, out.suffix)
    lost = fill_file(options.model, photo, out=out, samples=samples, **how)
    names = " ".join(map(str, files_of(out, options.seed, samples)))
    console.say(f"wrote {names}", options.quiet)
    if lost:
        console.say(f"not kept: {'; '.join(lost)}", options.quiet)


def _check_quality(quality: int | None, ending: str) -> None:
    if quality is not None and ending.lower() in (".png", ".tif", ".tiff"):
        raise UsageError(f"--quality is of .jpg and .webp; a {ending} keeps every pixel.")


def _fill_folder(options: argparse.Namespace, photos: Path, how: dict[str, Any]) -> None:
    from gapfill.fill.folder import fill_folder

    if options.samples != 1:
        raise UsageError("--samples is for one photo, not for a folder.")
    out, ending = Path(options.out), f".{options.format}" if options.format else None
    _check_quality(options.quality, ending or "")
    found = fill_folder(
        options.model, photos, out=out, ending=ending, quiet=options.quiet, say=console.say, **how
    )
    before = f", {found.there:,} were there already" if found.there else ""
    console.say(f"filled {found.filled:,} pictures into {out}{before}", options.quiet)
    for what, count in found.lost.items():
        console.say(f"not kept in {count:,}: {what}", options.quiet)
    if found.failed:
        count = found.filled + found.there + len(found.failed)
        raise GapfillError(
            f"{len(found.failed):,} of {count:,} pictures could not be filled: "
            f"{some(list(found.failed))}."
        )
