"""`gapfill doctor`: what this machine has and what is missing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from gapfill import console

_PARTS = {"export --format onnx": ("onnx", "onnxscript", "onnxruntime"), "demo": ("gradio",)}
"""What commands need that is not installed with gapfill."""

NAME, HELP = "doctor", "what this machine has and what is missing"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("--json", metavar="FILE", help="write it there, - for stdout")
    parser.add_argument(
        "--fetch-lpips",
        action="store_true",
        help="download the networks of LPIPS that are missing (AlexNet 244 MB, VGG16 553 MB)",
    )
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Say what is here: versions, devices, precision, data, LPIPS weights, plug-ins."""
    import torch

    from gapfill import metrics, ranks, registry, trunks
    from gapfill.cache import cache_folder
    from gapfill.compare import evaluate
    from gapfill.compute import resolve_precision
    from gapfill.metrics.features import find_inception

    if options.fetch_lpips:
        for name in trunks.TRUNKS:
            _fetch(name, options.quiet)
    device = ranks.resolve("auto")
    facts = evaluate.environment(device, resolve_precision("auto", device))
    facts["cuda"] = torch.version.cuda or "none"
    facts["models"] = ", ".join(registry.list_models())
    lacking = {name: registry.model_class(name).lacking() for name in sorted(registry.built_in())}
    lacking |= {f"gapfill {command}": _not_there(parts) for command, parts in _PARTS.items()}
    facts["lacking"] = "; ".join(f"{name}: {lacking[name]}" for name in lacking if lacking[name])
    facts["lacking"] = facts["lacking"] or "nothing"
    facts["cache"] = str(cache_folder())
    facts["lpips"] = metrics.load_lpips("cpu")[1] or "ready"
    facts |= {name: _where(partial(trunks.find, name)) for name in trunks.TRUNKS}
    facts["inception"] = _where(find_inception)
    if options.json:
        console.write_json(options.json, facts)
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        console.show(f"{key:<{width}}  {value}")


def _not_there(parts: tuple[str, ...]) -> str:
    return ", ".join(part for part in parts if find_spec(part) is None)


def _where(find: Callable[[], tuple[object, object]]) -> str:
    """Where a frozen network was found, or why it was not."""
    from gapfill import trunks

    try:
        return f"from {find()[1]}"
    except trunks.NoTrunkError as error:
        return str(error)


def _fetch(trunk: str, quiet: bool) -> None:
    """Download a trunk that is not on this machine."""
    from gapfill import trunks

    try:
        trunks.find(trunk)
    except trunks.NoTrunkError:
        kept = trunks.fetch(trunk, progress=not quiet and sys.stderr.isatty())
        console.say(f"wrote {kept}", quiet)
