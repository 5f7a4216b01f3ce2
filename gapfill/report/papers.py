"""The table of scores for a paper, a page or a program: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gapfill.config import nearest
from gapfill.errors import UsageError
from gapfill.report import learning
from gapfill.report.scores import NOTHING, Score, beyond, finite, footnotes, listing, score, winner
from gapfill.report.text import BEST, GENERATED

SPREADS = {
    "se": "± is the standard error of the mean",
    "sd": "± is the standard deviation over the test pictures",
    "ci": "brackets are the 95 % interval of the mean",
}
_USUAL = ("hole_psnr", "hole_ssim", "lpips", "sharpness")
_COSTS: dict[str, tuple[str, int, Callable[[dict[str, Any]], Any]]] = {
    "latency_ms": ("ms/image", 1, lambda model: (model["cost"] or {}).get("latency_ms")),
    "images_per_second": (
        "images/s trained",
        0,
        lambda model: (model["training"] or {}).get("images_per_second"),
    ),
    "parameters": ("parameters", 0, lambda model: model["parameters"]),
    "macs": ("MACs", 0, lambda model: model["macs"]),
}
_ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1", "": ""}


@dataclass(frozen=True)
class Column:
    """A metric or a cost: its key, heading, direction and decimals, and what it is a score of."""

    key: str
    title: str
    better: str
    digits: int
    of_sets: bool = False

    @property
    def measured(self) -> bool:
        """Whether it is a metric, with a spread and a best."""
        return bool(self.better)


@dataclass(frozen=True)
class Cell:
    """A number, what stands around it, and whether it is the best beyond doubt."""

    mean: float | None
    spread: tuple[float, ...] = ()
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A model under one kind of masks."""

    label: str
    mark: str
    learned: bool
    pictures: int
    cells: list[Cell]


@dataclass(frozen=True)
class Tables:
    """The rows under each kind of masks, and what must be said below."""

    columns: list[Column]
    rows: dict[str, list[Row]]
    spread: str
    notes: list[str]


def gather(
    results: dict[str, Any],
    columns: Sequence[str] = (),
    kinds: Sequence[str] = (),
    spread: str = "se",
) -> Tables:
    """Choose columns and kinds of masks from the results of a comparison.

    Args:
        results: what results.json holds.
        columns: keys of metrics or costs, in the order wanted; without any the usual four metrics.
        kinds: kinds of masks; without any all.
        spread: what stands beside a mean: one of `SPREADS`.

    Raises:
        UsageError: a column or kind that the results do not have.
    """
    had = {c["key"]: _column(c) for c in results["columns"]}
    known = had | {key: Column(key, cost[0], "", cost[1]) for key, cost in _COSTS.items()}
    usual = [key for key in _USUAL if key in had] + [k for k, c in had.items() if c.of_sets]
    wanted = [_known(key, known, "column") for key in columns or usual]
    scored = {mask["kind"]: mask["kind"] for mask in results["protocol"]["masks"]}
    shown = [_known(kind, scored, "kind of masks") for kind in kinds or scored]
    rows = {
        kind: [
            Row(
                model["label"],
                beyond(results, model, kind),
                model["learned"],
                score(model, kind, results["columns"][0]["key"]).n,
                [_cell(results, model, kind, column, spread) for column in wanted],
            )
            for model in results["models"]
        ]
        for kind in shown
    }
    marked = any(cell.best for each in rows.values() for row in each for cell in row.cells)
    notes = [f"{SPREADS[spread][0].upper()}{SPREADS[spread][1:]}, n = {results['data']['test']:,}."]
    if sets := [column.title for column in wanted if column.of_sets]:
        notes.append(f"{listing(sets)}: over subsets of the pictures.")
    if marked:
        notes.append(f"Bold is the {BEST}.")
    notes += [f"{note}." for note in (*learning.notes(results), *footnotes(results))]
    if results["data"]["generated"]:
        notes.insert(0, f"{results['data']['note'] or GENERATED}.")
    return Tables(wanted, rows, spread, notes)


def markdown(tables: Tables) -> str:
    """Write Markdown: a table for each kind of masks, the best bold."""
    blocks = []
    for kind, rows in tables.rows.items():
        head = ["model", *(_heading(column) for column in tables.columns)]
        lines = [head, ["---", *("---:" for _ in tables.columns)]]
        for row in rows:
            cells = [_bold(_text(*pair), pair[1].best, "**{}**") for pair in _pairs(tables, row)]
            lines.append([_marked_down(row.label + row.mark), *cells])
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        title = f"**{_marked_down(kind)} masks**\n\n" if len(tables.rows) > 1 else ""
        blocks.append(title + table)
    return "\n\n".join([*blocks, " ".join(map(_marked_down, tables.notes))]) + "\n"


def latex(tables: Tables) -> str:
    r"""Write LaTeX: a `tabular` with booktabs' rules for each kind of masks, the best bold."""
    blocks = ["% needs \\usepackage{booktabs}"]
    blocks += [f"% {_ascii(note)}" for note in tables.notes]
    for kind, rows in tables.rows.items():
        head = ["model", *(_heading(column) for column in tables.columns)]
        lines = [f"% {_ascii(kind)} masks", f"\\begin{{tabular}}{{l{'r' * len(tables.columns)}}}"]
        lines += ["\\toprule", f"{' & '.join(map(_escaped, head))} \\\\", "\\midrule"]
        for number, row in enumerate(rows):
            if number and row.learned and not rows[number - 1].learned:
                lines.append("\\midrule")
            cells = [
                _bold(_escaped(_text(*pair)), pair[1].best, "\\textbf{{{}}}")
                for pair in _pairs(tables, row)
            ]
            lines.append(f"{' & '.join([_escaped(row.label + row.mark), *cells])} \\\\")
        blocks.append("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]))
    return "\n".join(blocks) + "\n"


def comma_separated(tables: Tables) -> str:
    """Write CSV: a line for each model and kind of masks, numbers unrounded, empty for none."""
    ends = {"se": ["se"], "sd": ["sd"], "ci": ["low", "high"]}[tables.spread]
    head = ["model", "masks", "pictures"]
    for column in tables.columns:
        more = [*ends, "best"] if column.measured else []
        head += [column.key, *(f"{column.key}_{end}" for end in more)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for kind, rows in tables.rows.items():
        for row in rows:
            line: list[Any] = [row.label, kind, row.pictures]
            for column, cell in _pairs(tables, row):
                whole = cell.mean is not None and not column.measured and column.digits == 0
                line.append(round(cell.mean) if whole and cell.mean is not None else cell.mean)
                if column.measured:
                    line += [*(cell.spread or [None] * len(ends)), int(cell.best)]
            writer.writerow(line)
    return buffer.getvalue()


FORMATS = {"markdown": markdown, "latex": latex, "csv": comma_separated}


def _column(entry: dict[str, Any]) -> Column:
    unit = f", {entry['unit']}" if entry["unit"] else ""
    of_sets = entry.get("of") == "sets"
    return Column(entry["key"], entry["title"] + unit, entry["better"], entry["digits"], of_sets)


def _known(word: str, known: dict[str, Any], what: str) -> Any:
    if word not in known:
        raise UsageError(f"these results have no {what} '{word}'. {nearest(word, known)}")
    return known[word]


def _cell(
    results: dict[str, Any], model: dict[str, Any], kind: str, column: Column, spread: str
) -> Cell:
    if not column.measured:
        return Cell(finite(_COSTS[column.key][2](model)))
    entry = score(model, kind, column.key)
    best = winner(results, kind, column.key) == model["label"]
    if column.of_sets:  # whose error is over subsets of the pictures, and no interval of anything
        sd = finite((model["scores"].get(kind, {}).get(column.key) or {}).get("sd"))
        found = {"se": entry.se, "sd": sd}.get(spread)
        return Cell(entry.mean, () if found is None else (found,), best)
    return Cell(entry.mean, _spread(entry, spread), best)


def _spread(entry: Score, spread: str) -> tuple[float, ...]:
    if spread == "ci":
        return entry.interval() or ()
    if entry.se is None:
        return ()
    return (entry.se if spread == "se" else entry.se * math.sqrt(entry.n),)


def _pairs(tables: Tables, row: Row) -> list[tuple[Column, Cell]]:
    return list(zip(tables.columns, row.cells, strict=True))


def _heading(column: Column) -> str:
    return f"{column.title} {_ARROWS[column.better]}".strip()


def _text(column: Column, cell: Cell) -> str:
    """Write a cell: the mean, and after a blank what stands beside it."""
    if cell.mean is None:
        return NOTHING
    mean, *ends = (f"{v:,.{column.digits}f}".replace("-", "−") for v in (cell.mean, *cell.spread))
    if len(ends) == 2:
        return f"{mean} [{ends[0]}, {ends[1]}]"
    return f"{mean} ± {ends[0]}" if ends else mean


def _bold(text: str, best: bool, form: str) -> str:
    """Set the mean of a cell bold where it is the best."""
    mean, blank, rest = text.partition(" ")
    return form.format(mean) + blank + rest if best else text


def _marked_down(text: str) -> str:
    """Take from a name what Markdown would read as its own."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    return "".join(f"\\{each}" if each in "\\|*_`<>[]#&~" else each for each in plain)


_COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "†": r"$\dagger$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$",
    "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}",
    "[": "{[}", "]": "{]}",  # after a \\ a bracket would be its option
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030a": "r",
    "\u0327": "c", "\u030c": "v",
}  # fmt: skip


def _escaped(text: str) -> str:
    r"""Write text for any LaTeX, in ASCII; a letter that it has no command for as its number.

    >>> print(_escaped("50_% naïve & 21.1 ± 0.1"))
    50\_\% na\"{i}ve \& 21.1 $\pm$ 0.1
    """
    return "".join(map(_letter, text))


def _letter(each: str) -> str:
    if each in _COMMANDS:
        return _COMMANDS[each]
    if each.isascii():
        return each if each.isprintable() else " "
    base, *accents = unicodedata.normalize("NFD", each)
    if base.isascii() and base.isalpha() and len(accents) == 1 and accents[0] in _ACCENTS:
        return f"\\{_ACCENTS[accents[0]]}{{{base}}}"
    return f"U+{ord(each):04X}"


def _ascii(text: str) -> str:
    """Write text for a LaTeX comment: a line, in ASCII."""
    known = {"±": "+-", "−": "-", "–": "-", "†": "(dagger)", "×": "x"}
    text = "".join(known.get(each, each) for each in text if each.isprintable())
    return text.encode("ascii", "backslashreplace").decode()
