"""`gapfill export`: a model as one graph, for programs without gapfill."""

from __future__ import annotations

import argparse

from gapfill import console

NAME, HELP = "export", "write a model as one graph, ONNX or torch.export's"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("model", help="a saved model, a run, or NAME or NAME@TAG with weights")
    parser.add_argument("--format", choices=("onnx", "torch-export"), default="onnx")
    parser.add_argument("--out", metavar="FILE", required=True, help="where the graph is written")
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Export the model and say which pictures the graph takes."""
    from gapfill.exporting import export
    from gapfill.registry import open_model

    sizes = export(open_model(options.model), options.out, options.format)
    console.say(f"wrote {options.out}: any number of pictures, {sizes}", options.quiet)
