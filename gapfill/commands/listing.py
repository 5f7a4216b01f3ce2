"""What there is to know of the registered models: as data, as a table, as docs/models.md.

python -m gapfill.commands.listing > docs/models.md
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any

from gapfill import console, pretrained, registry, summary
from gapfill.about import GROUPS, About
from gapfill.compare import evaluate
from gapfill.config import plain
from gapfill.errors import GapfillError
from gapfill.inpainter import Inpainter
from gapfill.report.scores import NOTHING, quantity
from gapfill.report.text import aligned

SIZE = 64
"""The side of the pictures that the costs are told for."""
_WIDTH = 110
_LEAST_WORK = 12

_HEAD = """\
<!-- Written by `python -m gapfill.commands.listing > docs/models.md`; do not edit. -->

# The models

Every model that comes with gapfill, from what it says of itself. `gapfill list` shows the same as a
table, with the plug-ins that are installed; `gapfill list --group modern`, `--stochastic`,
`--no-training` and `--holes any` choose among them, and `--macs` adds a column. Parameters include
a discriminator's. MACs are multiplications with accumulation in one fill of a 64×64 picture, in
convolutions and matrix products; – stands where there are none to count. A model of square holes
was built for one square hole; it fills others too, but was not meant to.
"""


@dataclass(frozen=True)
class Setting:
    """A field of a model's `Config`: its default, and what its docstring says."""

    name: str
    default: Any
    text: str


@dataclass(frozen=True)
class Facts:
    """What a registered model is, with its default settings, for pictures of `SIZE`."""

    name: str
    summary: str
    about: About
    stochastic: bool
    needs_training: bool
    parameters: int
    macs: int | None
    settings: tuple[Setting, ...]
    lacking: str = ""

    @property
    def work(self) -> str:
        """The work behind the model, as running text cites it; empty where there is none."""
        who = " ".join(str(part) for part in (self.about.authors, self.about.year) if part)
        title = f'"{self.about.title}"' if self.about.title else ""
        return ", ".join(part for part in (who, title) if part)

    def as_json(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        about = asdict(self.about)
        settings = {setting.name: setting.default for setting in self.settings}
        rest = {key: value for key, value in vars(self).items() if key not in ("about", "settings")}
        return {**rest, **about, "settings": settings}


def facts(name: str, macs: bool = True) -> Facts:
    """What there is to know of the model `name`.

    Args:
        name: a registered model.
        macs: count its multiplications, which follows a whole fill and takes seconds for some.

    Raises:
        GapfillError: an unknown name, or a plug-in that cannot be imported or made.
    """
    try:
        model = registry.create(name)
        cls = type(model)
        return Facts(
            name,
            summary=summary.line(cls),
            about=cls.about,
            stochastic=cls.stochastic,
            needs_training=model.needs_training,
            parameters=evaluate.count_parameters(model),
            macs=_macs(model) if macs else None,
            settings=_settings(cls.Config()),
            lacking=cls.lacking(),
        )
    except GapfillError:
        raise
    except Exception as error:
        raise GapfillError(
            f"'{name}' cannot be made with its defaults: {type(error).__name__}: {error}"
        ) from error


def gather(names: Iterable[str], macs: bool = True) -> tuple[list[Facts], dict[str, str]]:
    """The facts of each model, by group and name, and why others have none."""
    found, broken = [], {}
    for name in names:
        try:
            found.append(facts(name, macs))
        except GapfillError as error:
            broken[name] = str(error)
    groups = list(GROUPS)
    found.sort(key=lambda one: (groups.index(one.about.group), one.name))
    return found, broken


def table(found: Sequence[Facts], width: int = _WIDTH, macs: bool = True) -> str:
    """The models as lines of text, their works cut so that a line fits `width`."""
    rows = [("model", "group", "year", "work", "random", "training", "holes", "params", "MACs")]
    rows += [
        (
            one.name,
            one.about.group,
            str(one.about.year or NOTHING),
            ": ".join(part for part in (one.about.authors, one.about.title) if part) or NOTHING,
            "yes" if one.stochastic else "no",
            "yes" if one.needs_training else "no",
            one.about.holes,
            quantity(one.parameters),
            quantity(one.macs),
        )
        for one in found
    ]
    columns = [list(column) for column in zip(*rows, strict=True)][: None if macs else -1]
    taken = sum(max(map(len, column)) + 2 for column in columns) - max(map(len, columns[3])) - 2
    room = max(width - taken - 2, _LEAST_WORK)
    columns[3] = [text if len(text) <= room else text[: room - 1] + "…" for text in columns[3]]
    return aligned(columns, left=(0, 1, 3, 4, 5, 6))


def weights_table(found: Sequence[pretrained.Weights]) -> str:
    """Weights in the package as lines of text."""
    rows = [("weights", "size", "trained under", "steps", "MB")]
    rows += [
        (f"{one.name}@{one.tag}", str(one.size), one.mask, f"{one.steps:,}", f"{one.megabytes:.1f}")
        for one in found
    ]
    return aligned([list(column) for column in zip(*rows, strict=True)], left=(0, 2))


def markdown(found: Sequence[Facts]) -> str:
    """The models as the text of docs/models.md, a section for each group."""
    parts = [_HEAD, _overview(found), _weights()]
    for group, text in GROUPS.items():
        members = [one for one in found if one.about.group == group]
        if members:
            parts += [f"## {group.capitalize()}: {text}\n", *map(_section, members)]
    return "\n".join(parts)


def _macs(model: Inpainter) -> int | None:
    """The multiplications of a fill; None where there are none, or it cannot fill untrained."""
    if not any(True for _ in model.parameters()):
        return None
    try:
        return evaluate.count_macs(model, SIZE)
    except (NotImplementedError, RuntimeError):
        return None


def _settings(config: Any) -> tuple[Setting, ...]:
    """The fields of a Config, with the sentences under `Attributes:` in its docstring.

    A field that is inherited is explained where it is declared, unless it is explained again.
    """
    texts: dict[str, str] = {}
    for part in reversed(type(config).__mro__):
        _, _, attributes = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")
        pairs = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE)
        texts |= {name: " ".join(text.split()) for name, text in pairs}
    return tuple(
        Setting(name, default, texts.get(name, "")) for name, default in plain(config).items()
    )


def _overview(found: Sequence[Facts]) -> str:
    lines = [
        "| model | group | year | random | training | holes | parameters | MACs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        cells = (
            f"[`{one.name}`](#{one.name})",
            one.about.group,
            one.about.year or NOTHING,
            "yes" if one.stochastic else "no",
            "yes" if one.needs_training else "no",
            one.about.holes,
            quantity(one.parameters),
            quantity(one.macs),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _section(one: Facts) -> str:
    """What docs/models.md says of one model."""
    trained = "sees training pictures first" if one.needs_training else "needs no training"
    fills = "another fill for each seed" if one.stochastic else "one fill of a hole"
    holes = "holes of any kind" if one.about.holes == "any" else "built for one square hole"
    costs = f"{quantity(one.parameters)} parameters, {quantity(one.macs)} MACs a fill"
    source = registry.model_class(one.name).__module__.replace(".", "/") + ".py"
    lines = [f"### {one.name}", "", one.summary, ""]
    lines += [f"- Work: {one.work}"] if one.work else []
    lines += [f"- Specification: {one.about.read}"] if one.about.read else []
    lines += [f"- Kind: {trained}; {fills}; {holes}"]
    lines += [f"- At {SIZE}×{SIZE}: {costs}"] if one.parameters else []
    lines += [
        f"- Licence: {one.about.licence}",
        f"- Code: [{source}](../{source})",
        "",
    ]
    if one.settings:
        lines += ["| setting | default | what it is |", "|---|---|---|"]
        row = partial("| `{0.name}` | {1} | {0.text} |".format)
        lines += [row(setting, _code(setting.default)) for setting in one.settings]
        lines.append("")
    return "\n".join(lines)


def _weights() -> str:
    """What docs/models.md says of the weights in the package."""
    lines = [
        "## Weights in the package",
        "",
        "`create('unet', pretrained='small')` makes a model with them, and on the command line",
        "`unet@small` names them. `gapfill card unet@small` shows their card, as links here do.",
        "All are for non-commercial research, as the pictures are that they learnt from. Steps are",
        "those of the last training; the cards tell of those before.",
        "",
        "| weights | size | trained under | steps | MB |",
        "|---|---|---|---|---|",
    ]
    for one in chain.from_iterable(map(pretrained.weights_of, pretrained.names())):
        card = f"../gapfill/weights/{one.name}/{one.tag}/card.md"
        named = f"[`{one.name}@{one.tag}`]({card})"
        cells = (named, one.size, f"`{one.mask}`", f"{one.steps:,}", f"{one.megabytes:.1f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def _code(value: Any) -> str:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return f"`{shown}`"


def main() -> None:
    """Write docs/models.md to stdout: the built-in models alone, whatever is installed."""
    found, broken = gather(sorted(registry.built_in()))
    if broken:
        raise SystemExit("\n".join(broken.values()))
    console.show(markdown(found))


if __name__ == "__main__":
    main()
