"""The table for the terminal."""

from __future__ import annotations

from typing import Any

from gapfill.report.load import check
from gapfill.report.scores import finite, number, quantity, score, winner

GENERATED = "generated faces, not CelebA: numbers are not comparable with papers"
_COLUMNS = ("hole_psnr", "hole_ssim", "lpips", "sharpness")


def table(results: dict[str, Any]) -> str:
    """Write the scores and costs of a comparison as plain text, one block for each kind of mask.

    A `*` marks the best of a column where its 95 % interval (mean ± 1.96 standard errors) overlaps
    no other.

    Raises:
        GapfillError: `results` has a schema that this version does not know.
    """
    check(results)
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    blocks = [_block(results, kind, titled=len(kinds) > 1) for kind in kinds]
    if results["data"]["generated"]:
        blocks.insert(0, results["data"]["note"] or GENERATED)
    if any("*" in line for block in blocks for line in block.splitlines()):
        blocks.append("* best: its 95 % interval overlaps no other")
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
    """Write the table of one kind of mask."""
    models = results["models"]
    columns = [column for column in results["columns"] if column["key"] in _COLUMNS]
    cells = [[f"{kind} masks" if titled else "model", *(model["label"] for model in models)]]
    for column in columns:
        scores = {model["label"]: score(model, kind, column["key"]) for model in models}
        best = winner(scores, column["better"])
        texts = [entry.text(column["digits"]) for entry in scores.values()]
        if best is not None:
            texts = [
                t + ("*" if name == best else " ") for name, t in zip(scores, texts, strict=True)
            ]
        cells.append([f"{column['title']} {column['unit'] or ''}".strip(), *texts])
    cost = [(model["cost"] or {}, model["training"] or {}) for model in models]
    cells += [
        ["ms/image", *(number(finite(c.get("latency_ms")), 1) for c, _ in cost)],
        ["images/s trained", *(quantity(finite(t.get("images_per_second"))) for _, t in cost)],
        ["params", *(quantity(finite(model["parameters"])) for model in models)],
    ]
    widths = [max(map(len, column)) for column in cells]
    rows = []
    for row in zip(*cells, strict=True):
        first, *rest = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        rows.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
    return "\n".join(rows)
