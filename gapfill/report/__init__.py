"""What a person sees of a finished comparison: the page, its pictures and the plain table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gapfill import checkpoint
from gapfill.report import figures, load, page, panels, papers
from gapfill.report.pictures import grid, png
from gapfill.report.text import table

__all__ = ["grid", "html", "paper", "sheet", "table", "write"]


def write(folder: Path) -> list[Path]:
    """Make report.html, grid.png and losses.png from what a comparison left in `folder`.

    It reads results.json, scores.npz, pictures.npz and the training logs that results.json names.
    A log that cannot be read leaves out its curves, and the page says so; losses.png is made only
    where there is a loss to draw.

    Returns:
        The files written.

    Raises:
        GapfillError: one of the three is missing, damaged or another comparison's, or the schema
            is unknown.
    """
    folder = Path(folder)
    found = _read(folder)
    written = [folder / "report.html", folder / "grid.png"]
    checkpoint.write_text(written[0], page.render(*found))
    results, pictures, _, histories, _ = found
    checkpoint.write_atomic(written[1], png(grid(panels.grid_columns(results, pictures))))
    trained = [
        history
        for history in histories
        if history.role("generator") or history.role("discriminator")
    ]
    losses = folder / "losses.png"
    losses.unlink(missing_ok=True)  # one from before would not be these runs'
    if trained:
        checkpoint.write_atomic(losses, figures.losses(trained))
        written.append(losses)
    return written


def html(folder: Path) -> str:
    """Return the page of the comparison in `folder`; raises what `write` does."""
    return page.render(*_read(Path(folder)))


def sheet(folder: Path) -> np.ndarray:
    """Return the pictures of grid.png, uint8 [H, W, 3], of the comparison in `folder`."""
    results = load.results(Path(folder))
    columns = panels.grid_columns(results, load.pictures(Path(folder), results))
    return np.asarray(grid(columns))


def paper(
    folder: Path,
    form: str,
    *,
    columns: Sequence[str] = (),
    masks: Sequence[str] = (),
    spread: str = "se",
) -> str:
    """Return the table of the comparison in `folder` as `markdown`, `latex` or `csv`.

    Args:
        folder: where results.json is.
        form: one of the three.
        columns: metrics and costs by their keys, by default the usual four metrics.
        masks: kinds of masks, by default all.
        spread: `se` (standard error), `sd` (standard deviation over pictures) or `ci` (95 %
            interval).

    Raises:
        GapfillError: results.json is missing, damaged, or of an unknown schema.
        UsageError: a column or kind of masks that is not there.
    """
    tables = papers.gather(load.results(Path(folder)), columns, masks, spread)
    return papers.FORMATS[form](tables)


def _read(
    folder: Path,
) -> tuple[dict[str, Any], load.Pictures, load.Scores, list[load.History], list[str]]:
    """Read all that the page is made of."""
    results = load.results(folder)
    pictures, scores = load.pictures(folder, results), load.scores(folder, results)
    return results, pictures, scores, *load.histories(folder, results)
