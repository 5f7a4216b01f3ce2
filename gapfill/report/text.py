"""The table for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from gapfill.report import learning
from gapfill.report.load import check
from gapfill.report.scores import beyond, finite, footnotes, number, quantity, score, winner

GENERATED = "generated faces, not CelebA: numbers are not comparable with papers"
BEST = "best: its paired 95 % interval against each other model excludes zero"
_COLUMNS = ("hole_psnr", "hole_ssim", "lpips", "sharpness")


def table(results: dict[str, Any]) -> str:
    """Write the scores and costs of a comparison as plain text.

    Under several kinds of masks a second block has a column for each kind.

    A `*` marks the best of a column where it is better than each other model beyond doubt: where
    the paired 95 % interval of every difference excludes zero.

    Raises:
        GapfillError: `results` has a schema that this version does not know.
    """
    check(results)
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    blocks = [_block(results, kinds[0], titled=len(kinds) > 1)]
    if len(kinds) > 1:
        blocks.append(_by_kind(results, kinds))
    if results["data"]["generated"]:
        blocks.insert(0, results["data"]["note"] or GENERATED)
    notes = [*learning.notes(results), *footnotes(results)]
    if any("*" in line for block in blocks for line in block.splitlines()):
        notes.insert(0, f"* {BEST}")
    if notes:
        blocks.append("\n".join(notes))
    return "\n\n".join(blocks + reasons(results))


def reasons(results: dict[str, Any]) -> list[str]:
    """Say, a line each, why a score is missing: `LPIPS: no weights`."""
    found: dict[str, None] = {}
    for column in results["columns"]:
        for mask in results["protocol"]["masks"]:
            for model in results["models"]:
                entry = score(model, mask["kind"], column["key"])
                if entry.mean is None and entry.reason:
                    found[f"{column['title']}: {entry.reason}"] = None
    return list(found)


def _block(results: dict[str, Any], kind: str, titled: bool) -> str:
    """Write the scores and costs of all models under one kind of mask."""
    models = results["models"]
    labels = [model["label"] + beyond(results, model, kind) for model in models]
    cells = [[f"{kind} masks" if titled else "model", *labels]]
    for column in results["columns"]:
        if column["key"] in _COLUMNS or column.get("of") == "sets":
            heading = f"{column['title']} {column['unit'] or ''}".strip()
            cells.append([heading, *_column(results, kind, column)])
    cost = [(model["cost"] or {}, model["training"] or {}) for model in models]
    cells += [
        ["ms/image", *(number(finite(c.get("latency_ms")), 1) for c, _ in cost)],
        ["images/s trained", *(quantity(finite(t.get("images_per_second"))) for _, t in cost)],
        ["params", *(quantity(finite(model["parameters"])) for model in models)],
    ]
    return aligned(cells)


def _by_kind(results: dict[str, Any], kinds: Sequence[str]) -> str:
    """Write the first metric of all models, a column for each kind of mask."""
    column = results["columns"][0]
    heading = f"{column['title']} {column['unit'] or ''}".strip()
    cells = [[heading, *(model["label"] for model in results["models"])]]
    for kind in kinds:
        texts = _column(results, kind, column)
        marks = [beyond(results, model, kind) for model in results["models"]]
        if any(marks):
            texts = [text + (mark or " ") for text, mark in zip(texts, marks, strict=True)]
        cells.append([kind, *texts])
    return aligned(cells)


def _column(results: dict[str, Any], kind: str, column: dict[str, Any]) -> list[str]:
    """Write one metric of all models, the best with a star where there is one beyond doubt."""
    scores = {model["label"]: score(model, kind, column["key"]) for model in results["models"]}
    best = winner(results, kind, column["key"])
    texts = [entry.text(column["digits"]) for entry in scores.values()]
    if best is None:
        return texts
    return [t + ("*" if name == best else " ") for name, t in zip(scores, texts, strict=True)]


def aligned(columns: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Write columns of text side by side, those numbered in `left` flush left.

    >>> print(aligned([["model", "cnn"], ["params", "7.88 M"]]))
    model  params
    cnn    7.88 M
    """
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(
            text.strip().ljust(width) if number in left else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in zip(*columns, strict=True)
    )
