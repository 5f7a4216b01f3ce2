"""The results of a comparison in a folder, for Python and notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapfill import report
from gapfill.compare.plan import place_of
from gapfill.config import nearest
from gapfill.errors import UsageError
from gapfill.reading.regular import expand
from gapfill.registry import is_saved, load
from gapfill.report import tables
from gapfill.report.load import pictures, results
from gapfill.report.panels import grid_columns
from gapfill.report.showing import Sheet, draw

if TYPE_CHECKING:
    from gapfill.inpainter import Inpainter

_COSTS = ("latency_ms", "throughput")


class Comparison:
    """A finished comparison: `results["cnn"].hole_psnr`, `results.table()`, `results.figure()`.

    It is a mapping of labels to rows, in the table's order.

    Args:
        folder: where `gapfill.compare` or the command left it.

    Attributes:
        folder: the same.
        results: what results.json says.

    Raises:
        GapfillError: there are no results, or they were changed or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = expand(folder)
        self.results = results(self.folder)
        self._rows = {each["label"]: each for each in self.results["models"]}

    def __getitem__(self, label: str) -> Row:
        if label not in self._rows:
            raise KeyError(f"no model is called '{label}' here. {nearest(label, list(self))}")
        return Row(self, label, self.masks[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, label: object) -> bool:
        return label in self._rows

    def __repr__(self) -> str:
        return f"{self.table()}\n\n{self.folder / 'report.html'}"

    @property
    def masks(self) -> tuple[str, ...]:
        """The kinds of masks that were scored under; scores are those of the first."""
        return tuple(mask["kind"] for mask in self.results["protocol"]["masks"])

    @property
    def left_out(self) -> Mapping[str, str]:
        """The models that took no part, with the reason."""
        return self.results["left_out"]

    def table(self) -> str:
        """The table as the command prints it."""
        return report.table(self.results)

    def figure(self, count: int = 6, under: str | None = None) -> Sheet:
        """A matplotlib figure of the first pictures: corrupted, filled by each model, real.

        Args:
            count: how many pictures, at most 12.
            under: which kind of masks; the first one by default, others have 6 pictures at most.

        Raises:
            UsageError: the comparison has no such kind.
        """
        number = 0 if under is None else self.masks.index(self._kind(under))
        columns = grid_columns(self.results, pictures(self.folder, self.results), number)
        return draw({heading: column[:count] for heading, column in columns})

    def _kind(self, said: str) -> str:
        """The kind of masks that is meant; of masks that were given, the name without digest."""
        known = self.masks
        named = [kind for kind in known if re.sub(":[0-9a-f]{8}$", "", kind) == said]
        if said in known:
            return said
        if len(named) == 1:
            return named[0]
        raise UsageError(f"nothing was scored under '{said}'. {nearest(said, list(known))}")

    def _repr_html_(self) -> str:
        """The scores as tables, one for each kind of masks, and where the whole report is."""
        data = self.results["data"]
        parts = [f"<p>{escape(data['note'])}</p>"] if data["generated"] else []
        parts += [_html(self.results, kind) for kind in self.masks]
        parts += [f"<p>{escape(str(self.folder / 'report.html'))}</p>"]
        return "".join(parts)


class Row:
    """One model's results; every metric is an attribute, the mean over the test pictures.

    Attributes:
        label: what the tables call it.
        facts: all that results.json says of it.
    """

    def __init__(self, comparison: Comparison, label: str, kind: str) -> None:
        self.label = label
        self.facts: dict[str, Any] = comparison._rows[label]
        self._comparison, self._kind = comparison, kind

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """By metric: `mean`, `se`, `n` and others under this row's masks."""
        return self.facts["scores"][self._kind]

    def under(self, kind: str) -> Row:
        """The same model under another kind of masks.

        Raises:
            UsageError: the comparison has no such kind.
        """
        return Row(self._comparison, self.label, self._comparison._kind(kind))

    def model(self) -> Inpainter:
        """The model of the first run, loaded.

        Raises:
            UsageError: its weights are not in the comparison's folder.
        """
        seed = self._comparison.results["protocol"]["seeds"][0]
        home = place_of(self._comparison.folder, self.label, seed)
        if not is_saved(home):
            raise UsageError(f"the weights of '{self.label}' are not in {home}.")
        return load(home)

    def __getattr__(self, name: str) -> float | None:
        if not name.startswith("_"):
            if name in self.scores:
                return self.scores[name]["mean"]
            if name in _COSTS and self.facts["cost"]:
                return self.facts["cost"].get(name)
        raise AttributeError(f"'{self.label}' has no score {name!r}: {', '.join(self.scores)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.scores, *_COSTS]

    def __repr__(self) -> str:
        words = [f"{key} {each['mean']:.4g}" for key, each in self.scores.items() if _known(each)]
        return f"<{self.label} under {self._kind} masks: {', '.join(words)}>"


def _known(entry: Mapping[str, Any]) -> bool:
    return entry["mean"] is not None


def _html(results: dict[str, Any], kind: str) -> str:
    """The scores under one kind of masks as a table; what is best beyond doubt is bold."""
    found = tables.scores(results, kind)
    heads = "".join(
        f"<th>{escape(' '.join(filter(None, (title, unit, arrow))))}</th>"
        for title, unit, arrow, _ in found["headings"]
    )
    rows = ""
    for row in found["rows"]:
        cells = "".join(
            f"<td>{'<b>' if cell['best'] else ''}{escape(cell['mean'])}"
            f"{'</b>' if cell['best'] else ''}"
            f"{' ± ' + escape(cell['error']) if cell['error'] else ''}</td>"
            for cell in row["cells"]
        )
        label = escape(row["label"] + row["mark"])
        rows += f'<tr><th style="text-align:left">{label}</th>{cells}</tr>'
    return f"<table><tr><th>{escape(kind)} masks</th>{heads}</tr>{rows}</table>"
