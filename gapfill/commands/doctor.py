"""`gapfill doctor`: what this machine has and what is missing."""

from __future__ import annotations

import argparse

from gapfill import console

NAME, HELP = "doctor", "what this machine has and what is missing"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("--json", metavar="FILE", help="write it there, - for stdout")
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
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
        console.write_json(options.json, facts)
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        console.show(f"{key:<{width}}  {value}")
