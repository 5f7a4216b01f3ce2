"""Functions that no compiler looks into, without importing the compiler for it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def untraced(function: Callable[P, R], recursive: bool = True) -> Callable[P, R]:
    """`torch.compiler.disable`, which imports torch's compiler at once; this does when one is used.

    The import takes as long as that of torch itself, and most commands compile nothing.

    Args:
        function: what is to run as it is written.
        recursive: whether what it calls is left uncompiled too.
    """
    disabled: list[Callable[P, R]] = []

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not disabled:
            if "torch._dynamo" not in sys.modules:
                return function(*args, **kwargs)
            made: Any = torch.compiler.disable(function, recursive=recursive)
            disabled.append(made)
        return disabled[0](*args, **kwargs)

    return call
