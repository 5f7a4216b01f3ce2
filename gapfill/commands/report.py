"""`gapfill report`: the page and the tables of a finished comparison, without training."""

from __future__ import annotations

import argparse
from pathlib import Path

from gapfill import console

NAME, HELP = "report", "the page or a table of a finished comparison, without training"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("folder", metavar="RUN", help="the folder of a comparison (its --out)")
    parser.add_argument(
        "--format",
        choices=("html", "markdown", "latex", "csv"),
        default="html",
        help="html writes report.html, grid.png and losses.png again; the others are tables",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        metavar="KEY",
        help="of a table: metrics, as results.json calls them, or latency_ms, images_per_second, "
        "parameters, macs (default: hole_psnr hole_ssim lpips sharpness)",
    )
    parser.add_argument(
        "--masks", nargs="+", metavar="MASK", help="of a table: these kinds (default: all)"
    )
    parser.add_argument(
        "--spread",
        choices=("se", "sd", "ci"),
        help="of a table: beside a mean stands its standard error, the standard deviation over "
        "pictures, or the 95 %% interval (default: se)",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write there (default: html into RUN, a table to stdout)"
    )
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Write what is asked for from what the comparison left in its folder."""
    from gapfill import report
    from gapfill.errors import UsageError

    folder = Path(options.folder)
    if options.format != "html":
        chosen = console.given(options, "columns", "masks", "spread")
        text = report.paper(folder, options.format, **chosen)
    elif given := list(console.given(options, "columns", "masks", "spread")):
        raise UsageError(
            f"--{given[0]} is for --format markdown, latex and csv; the page has everything."
        )
    elif options.out is None:
        written = report.write(folder)
        names = "  ".join(path.name for path in written[1:])
        console.say(f"wrote {written[0]}  {names}", options.quiet)
        return
    else:
        text = report.html(folder)
    if options.out is None:
        console.show(text)
        return
    from gapfill import checkpoint

    checkpoint.write_named(Path(options.out), text.encode("utf-8", "backslashreplace"))
    console.say(f"wrote {options.out}", options.quiet)
