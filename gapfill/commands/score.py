"""`gapfill score`: scores of filled pictures, from files alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from gapfill import console

NAME, HELP = "score", "score filled pictures against the true ones"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("real", help="the true picture, or a folder of them")
    parser.add_argument("filled", help="the filled picture, or a folder of them, paired by name")
    parser.add_argument(
        "mask", help="a mask for all, white = missing, or a folder of them, paired by name"
    )
    parser.add_argument("--invert-mask", action="store_true", help="black = missing")
    console.add_device(parser, "for LPIPS: ")
    parser.add_argument(
        "--json", metavar="FILE", help="write all scores there, each picture's too; - for stdout"
    )
    console.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Score each picture, and show the means with their standard errors."""
    from gapfill import metrics, ranks
    from gapfill.compare import evaluate
    from gapfill.compare.pairs import score_files
    from gapfill.report.scores import Score
    from gapfill.report.text import aligned

    perceptual, reason = metrics.load_lpips(ranks.resolve(options.device))
    scored = score_files(
        Path(options.real),
        Path(options.filled),
        Path(options.mask),
        invert=options.invert_mask,
        perceptual=perceptual,
        reason=reason,
    )
    means = evaluate.summarise(scored.scores, scored.reason)
    area = scored.area.mean().item()
    if options.json:
        values = {key: value.tolist() for key, value in scored.scores.items()}
        each = [
            {"name": name, **{key: evaluate.finite(values[key][number]) for key in values}}
            for number, name in enumerate(scored.names)
        ]
        known = vars(scored.known)
        console.write_json(
            options.json, {"scores": means, "area": area, "known": known, "pictures": each}
        )
    if options.json == "-":
        return
    columns = [column for column in evaluate.columns() if column["key"] in means]
    cells = [["metric"], ["mean ± se"], [""]]
    for column in columns:
        entry = means[column["key"]]
        found = Score(entry["mean"], entry.get("se"), entry["n"], None)
        cells[0].append(f"{column['title']} {column['unit']}".strip())
        cells[1].append(found.text(column["digits"]))
        cells[2].append(entry.get("reason") or entry.get("note") or "")
    many = "" if len(scored.names) == 1 else "s"
    console.show(
        f"{len(scored.names):,} picture{many}, {100 * area:.1f} % missing; {scored.known}\n\n"
        + aligned(cells, left=(0, 2))
    )
