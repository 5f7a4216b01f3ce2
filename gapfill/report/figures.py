"""losses.png: the losses of every trained model, as one picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from gapfill.report.charts import value_range
from gapfill.report.load import History

_ROLES = (
    ("generator", "generator loss", "#2a5fa5"),
    ("discriminator", "discriminator loss", "#b3541e"),
)


def losses(histories: Sequence[History]) -> bytes:
    """Draw the generator's loss above the discriminator's, one column for each model, as a PNG.

    Long curves are smoothed, with the raw curve of the first run faint behind.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(history.label for history in histories))
    figure = Figure(figsize=(max(3.6 * len(labels), 4.2), 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(labels), squeeze=False, sharex="col")
    for column, label in enumerate(labels):
        runs = [history for history in histories if history.label == label]
        for row, (role, title, colour) in enumerate(_ROLES):
            axis = axes[row][column]
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=9)
            if row == 0:
                lines = textwrap.wrap(label, 30) or [label]
                axis.set_title("\n".join(lines).replace("$", r"\$"), fontsize=12)
            else:
                axis.set_xlabel("steps", fontsize=9)
            if column == 0:
                axis.set_ylabel(title, fontsize=10)
            found = [curve for run in runs for curve in run.role(role).values()]
            if not found:
                axis.set_yticks([])
                axis.text(
                    0.5, 0.5, f"no {role}", transform=axis.transAxes, ha="center", color="#777"
                )
                continue
            axis.set_ylim(*value_range(found))
            for number, run in enumerate(runs):
                for player, (name, curve) in enumerate(run.role(role).items()):
                    smooth = curve.smooth()
                    if number == 0 and smooth is not curve:
                        axis.plot(
                            curve.steps, curve.values, color=colour, alpha=0.18, linewidth=0.6
                        )
                    axis.plot(
                        smooth.steps, smooth.values, color=colour,
                        alpha=1.0 if number == 0 else 0.4, linewidth=1.6 if number == 0 else 1.0,
                        linestyle=("-", "--", ":")[player % 3],
                        label=name if number == 0 else None,
                    )  # fmt: skip
            if len(runs[0].role(role)) > 1:
                axis.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
