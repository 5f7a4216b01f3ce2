"""`gapfill bank`: the test pictures, masks and holes of a comparison as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from gapfill import console

NAME, HELP = "bank", "write test pictures, masks and holes for other programs to fill"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    console.add_data(parser, learning=False)
    console.add_test(parser, "write")
    console.add_masks(parser, "write holes of")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder to write")
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Write the pictures that a comparison with these options would be scored on."""
    from gapfill import masks
    from gapfill.compare import bank
    from gapfill.compare.plan import test_pictures
    from gapfill.data import open_table

    kinds = tuple(dict.fromkeys(options.masks or ["center"]))
    if options.invert_mask:
        kinds = masks.inverted_files(kinds)
    for kind in kinds:
        masks.check(kind)
    if options.test:
        test = test_pictures(open_table(options.test, options.size, options.crop))
    else:
        test = open_table(options.data, options.size, options.crop).part("test")
    rule = [f"split by {test.rule}"] if test.rule else []
    said = "".join(f"; {note}" for note in (*rule, *test.notes))
    holes = ", ".join(map(masks.describe, kinds))
    out = Path(options.out)
    written = bank.write(out, test, kinds)
    console.say(
        f"{len(test):,} pictures of {test.title}, {test.size}×{test.size}{said}, "
        f"masks: {holes} · {'wrote' if written else 'nothing to do for'} "
        f"{out / bank.MANIFEST}  {'  '.join(bank.FOLDERS)}",
        options.quiet,
    )
