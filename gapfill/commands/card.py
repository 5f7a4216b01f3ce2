"""`gapfill card`: what stands with the weights that come with the package."""

from __future__ import annotations

import argparse

from gapfill import console

NAME, HELP = "card", "the card of weights that come with the package"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("model", help="a name, or NAME@TAG where there are several weights")
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Show the card as Markdown."""
    from gapfill import pretrained

    console.show(pretrained.card(*(pretrained.split(options.model) or (options.model,))))
