"""What a person sees of a finished comparison: the page, its pictures and the plain table."""

from __future__ import annotations

from pathlib import Path

from gapfill import checkpoint
from gapfill.report import figures, load, page, panels
from gapfill.report.pictures import grid, png
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
        GapfillError: one of the three is missing, damaged or another comparison's, or the schema
            is unknown.
    """
    folder = Path(folder)
    results = load.results(folder)
    pictures, scores = load.pictures(folder, results), load.scores(folder, results)
    histories, notes = load.histories(folder, results)
    written = [folder / "report.html", folder / "grid.png"]
    checkpoint.write_text(written[0], page.render(results, pictures, scores, histories, notes))
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
