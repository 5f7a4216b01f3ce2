"""The whole comparison: its command, its stages, its scores.

`gapfill.compare(…)` makes one from Python, with the arguments of `gapfill.compare.calling.compare`,
and returns a `gapfill.compare.Comparison`; `gapfill.compare.Comparison(folder)` opens it again.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gapfill.compare.calling import compare
from gapfill.compare.command import main

if TYPE_CHECKING:
    from gapfill.compare.comparison import Comparison

__all__ = ["Comparison", "compare", "main"]


class _Callable(ModuleType):
    """This package, which is a function too."""

    __call__ = staticmethod(compare)


sys.modules[__name__].__class__ = _Callable
__wrapped__ = compare  # whose signature and source are this package's as a function


def __getattr__(name: str) -> Any:
    if name == "Comparison":  # whose pictures and tables the command's help can do without
        from gapfill.compare.comparison import Comparison

        return Comparison
    raise AttributeError(f"module 'gapfill.compare' has no attribute '{name}'")
