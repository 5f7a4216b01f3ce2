"""A pluggable zoo of image inpainters: one interface, one trainer, one honest comparison.

    model = gapfill.create("dcgan").fit(loader)
    filled = model.inpaint(images, masks)      # masks: 1 = missing

The public names are loaded when they are used, so that `import gapfill` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gapfill._version import __version__
from gapfill.errors import GapfillError, UsageError

if TYPE_CHECKING:
    from gapfill.compare.calling import compare
    from gapfill.data import Stream, open_table
    from gapfill.fill.many import fill_all
    from gapfill.fill.painting import fill_any_size
    from gapfill.fill.prepared import Filler
    from gapfill.inpainter import Inpainter
    from gapfill.registry import create, list_models, load, register
    from gapfill.report.showing import show
    from gapfill.types import Batch, Terms, Update

_HOMES = {
    "Batch": "types",
    "Filler": "fill.prepared",
    "Inpainter": "inpainter",
    "Stream": "data.stream",
    "Terms": "types",
    "Update": "types",
    "create": "registry",
    "fill_all": "fill.many",
    "fill_any_size": "fill.painting",
    "list_models": "registry",
    "load": "registry",
    "open_table": "data.table",
    "register": "registry",
    "show": "report.showing",
}

__all__ = [
    "Batch",
    "Filler",
    "GapfillError",
    "Inpainter",
    "Stream",
    "Terms",
    "Update",
    "UsageError",
    "__version__",
    "compare",
    "create",
    "fill_all",
    "fill_any_size",
    "list_models",
    "load",
    "open_table",
    "register",
    "show",
]


# Folders and files that people reach for without importing them first.
_MODULES = (
    "compare",
    "data",
    "exporting",
    "loggers",
    "losses",
    "masks",
    "metrics",
    "nets",
    "pictures",
    "report",
    "testing",
    "train",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"gapfill.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'gapfill' has no attribute '{name}'")
    return getattr(importlib.import_module(f"gapfill.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list({*__all__, *_MODULES})
