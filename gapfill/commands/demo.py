"""`gapfill demo`: a page in the browser on which models fill what is painted over."""

from __future__ import annotations

import argparse

from gapfill import console

NAME, HELP = "demo", "a page in the browser: paint a hole, compare the fills of several models"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        default=[],
        help="names that need no training, NAME@TAG for weights that come with gapfill, folders of "
        "saved models (default: all weights for holes of any kind, and OpenCV's methods)",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="where to listen (default: the first free from 7860)"
    )
    parser.add_argument(
        "--share",
        action="store_true",
        help="give the page a public address through gradio's servers, for which gradio downloads "
        "a program; whoever knows the address can use the page",
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    console.add_device(parser)
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Serve the page on this machine until Ctrl-C."""
    from gapfill.fill.page.serving import serve

    serve(
        options.models,
        port=options.port,
        share=options.share,
        browser=not options.no_browser,
        device=options.device,
        say=lambda text: console.say(text, options.quiet),
    )
