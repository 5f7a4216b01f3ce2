"""The page: gathers what the template shows and renders it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gapfill.report import duels, findings, learning, panels, tables
from gapfill.report.load import History, Pictures, Scores
from gapfill.report.scores import footnotes, listing
from gapfill.report.text import GENERATED, reasons


def render(
    results: dict[str, Any],
    pictures: Pictures,
    scores: Scores,
    histories: Sequence[History],
    notes: Sequence[str],
) -> str:
    """Return the whole page as HTML that needs nothing beside itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    side = pictures["real"].shape[-1]
    grid = panels.grid_rows(results, pictures)
    return environment.get_template("page.html.j2").render(
        results=results,
        title=_title(results),
        subtitle=_subtitle(results),
        finding=findings.headline(results),
        caveats=findings.caveats(results, kinds[0]),
        banner=(results["data"]["note"] or GENERATED) if results["data"]["generated"] else "",
        tables=[tables.scores(results, kind) for kind in kinds],
        of_sets=listing(
            [column["title"] for column in results["columns"] if column.get("of") == "sets"]
        ),
        duels=[duels.matrices(results, scores, kind) for kind in kinds],
        by_kind=tables.kinds(results),
        footnotes=[*learning.notes(results), *footnotes(results)],
        reasons=reasons(results),
        scale=max(1, round(192 / side)),
        side=side,
        hero=panels.hero(results, grid),
        grid=grid,
        further=panels.further(results, pictures),
        samples=panels.samples(results, pictures),
        losses=panels.losses(results, histories),
        notes=notes,
        stability=tables.stability(results),
        scatters=panels.scatters(results, kinds[0]),
        costs=tables.costs(results),
        worst=panels.worst(results, pictures),
        protocol=findings.protocol(results),
        learning=learning.table(results),
        facts=[
            *tables.machine(results),
            *tables.chosen_by(results),
            *tables.settings(results),
            *tables.digests(results),
        ],
    )


def _title(results: dict[str, Any]) -> str:
    """Name the models that learned, or all where none did."""
    models = [model for model in results["models"] if model["learned"]] or results["models"]
    names = [model["label"] for model in models]
    who = listing(names) if len(names) <= 4 else f"{len(names)} models compared"
    return f"Filling the gap: {who}"


def _subtitle(results: dict[str, Any]) -> str:
    """Say on what the comparison ran, in the manner of the line on the terminal."""
    data, machine = results["data"], results["environment"]
    masks = listing([mask["kind"] for mask in results["protocol"]["masks"]])
    device = " ".join(part for part in (machine["device"], machine["precision"]) if part)
    parts = (
        f"{data['title']} ({data['train']:,} train, {data['test']:,} test)",
        f"{data['size']}×{data['size']}",
        f"masks: {masks}",
        device,
        _date(results["created"]),
    )
    return " · ".join(parts)


def _date(text: str) -> str:
    """Write an ISO time as a date that a person reads; what is no ISO time stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day}\N{NO-BREAK SPACE}{moment:%B}\N{NO-BREAK SPACE}{moment.year}"
