"""What a model is, in a few lines: what `print(model)` and a notebook show."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from gapfill.config import plain

if TYPE_CHECKING:
    from gapfill.inpainter import Inpainter

_WIDTH = 96


def text(model: Inpainter) -> str:
    """The lines for a terminal."""
    lines = [f"{model.name}: {line(type(model))}"]
    for name, value in facts(model):
        rest = textwrap.wrap(value, _WIDTH - 13, break_on_hyphens=False) or [""]
        lines += [f"  {name:11}{rest[0]}", *(" " * 13 + more for more in rest[1:])]
    return "\n".join(lines)


def html(model: Inpainter) -> str:
    """The same as a small table."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in facts(model)
    )
    return f"<p><b>{escape(model.name)}</b>: {escape(line(type(model)))}</p><table>{rows}</table>"


def facts(model: Inpainter) -> Iterator[tuple[str, str]]:
    """What there is to say, each with its heading."""
    yield "settings", ", ".join(f"{key}={value!r}" for key, value in plain(model.config).items())
    count = sum(weights.numel() for weights in model.parameters())
    dtype = str(model.dtype).removeprefix("torch.")
    yield "parameters", f"{count:,}, {dtype}, on {model.device}" if count else "none"
    yield "pictures", _size(model) + (", several fills for each" if model.stochastic else "")
    yield "training", _training(model)
    if scores := _scores(model):
        yield "scores", scores


def line(cls: type[Inpainter]) -> str:
    """What a model is, in the first line of its class's own docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _size(model: Inpainter) -> str:
    if model.multiple is None:
        return f"{model.config.size}×{model.config.size}"
    return "of any size" if model.multiple == 1 else f"sides multiples of {model.multiple}"


def _training(model: Inpainter) -> str:
    if not model.needs_training:
        return "needs none"
    if not model.trained:
        return "none yet: .fit(loader)"
    run, cost, seen = model.training_run or {}, model.training_cost or {}, model.training_pictures
    words = []
    if "steps" in cost:
        words.append(f"{cost['steps']:,} steps of {cost['batch_size']} pictures")
    if "diverged" in cost:
        words.append(f"diverged ({cost['diverged']})")
    if run.get("mask"):
        words.append(f"under {run['mask']} masks")
    if seen is not None and len(seen.pictures):
        words.append(f"from {len(seen.pictures):,} pictures" + " and others" * seen.others)
    if seen is not None and seen.trainings > 1:
        words.append(f"in {seen.trainings} trainings")
    if run.get("seed") is not None:
        words.append(f"seed {run['seed']}")
    return ", ".join(words) or "trained; nothing is known of it"


def _scores(model: Inpainter) -> str:
    """The look by which the weights were chosen, where the history of the run is here."""
    looks: list[dict[str, Any]] = [line for line in model.history if "val/score" in line]
    if not looks:
        return ""
    best = max(looks, key=lambda line: line["val/score"])
    found = {key.removeprefix("val/"): best[key] for key in best if key.startswith("val/")}
    words = ", ".join(f"{key} {value:.4g}" for key, value in found.items() if key != "score")
    return f"{words} (validation, step {best['step']:,}, the best of {len(looks)} looks)"
