"""What a person sees of a finished comparison: the page, its pictures and the plain table."""

from __future__ import annotations

from pathlib import Path

from gapfill import checkpoint
from gapfill.report import figures, load, page, panels
from gapfill.report.pictures import grid
from gapfill.report.text import table

__all__ = ["grid", "table", "write"]


def write(folder: Path) -> list[Path]:
    """Make report.html, grid.png and losses.png from what a comparison left in `folder`.

    It reads results.json, scores.npz, pictures.npz and the training logs that results.json names.
    A log that cannot be read leaves out its curves, and the page says so; losses.png is made only
    where there is a loss to draw.

    Returns:
        The files written.

    Raises:
        GapfillError: one of the three is missing or damaged, or the schema is unknown.
    """
    folder = Path(folder)
    results, pictures = load.results(folder), load.pictures(folder)
    scores = load.scores(folder, results)
    histories, notes = load.histories(folder, results)
    written = [folder / "report.html", folder / "grid.png"]
    checkpoint.write_text(written[0], page.render(results, pictures, scores, histories, notes))
    grid(panels.grid_columns(results, pictures)).save(written[1])
    trained = [
        history
        for history in histories
        if history.role("generator") or history.role("discriminator")
    ]
    if trained:
        written.append(folder / "losses.png")
        figures.losses(trained, written[-1])
    return written
