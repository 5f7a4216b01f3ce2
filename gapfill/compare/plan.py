"""Everything that a comparison needs to know, checked before the work begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gapfill import masks, ranks
from gapfill.compare import settings
from gapfill.compare.settings import Said, file_name
from gapfill.compute import resolve_precision
from gapfill.data import Table
from gapfill.inpainter import Inpainter
from gapfill.recipe import Recipe
from gapfill.train import Training, resolve_mode


@dataclass(frozen=True)
class Contestant:
    """One row of a comparison: a recipe to train, a folder that holds it trained, or pictures.

    Attributes:
        label: what the tables call it.
        recipe: what to train, or None.
        folder: where it is saved, or None.
        pictures: where the pictures are that another program filled, or None.
        said: what its own word says of its training.
        model: a trained model from Python, or None.
        named: whether it was asked for by its name; one that a group or a wildcard chose may fail
            without ending the comparison.
        short: its settings where it has some because the comparison is short.
    """

    label: str
    recipe: Recipe | None = None
    folder: Path | None = None
    pictures: Path | None = None
    said: Said | None = None
    model: Inpainter | None = None
    named: bool = True
    short: str = ""

    def under(self, asked: Mapping[str, Any], length: Mapping[str, Any]) -> Contestant:
        """The same, trained as the command line asks (`settings.under`), and as its word says."""
        if self.recipe is None:
            return self
        recipe = settings.under(self.recipe, asked, length)
        if self.said is not None:
            recipe = self.said.over(recipe, self.label)
        return replace(self, recipe=recipe)


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        entries: the models, in the tables' order.
        left_out: the models that cannot take part, with the reason.
        table: the pictures to learn from.
        test: the pictures to score on.
        mask: the kind of masks to train under.
        kinds: the kinds to score under; pictures and charts show the first.
        seeds: one run of each learned model for each.
        batch_size: pictures in a training step.
        training: settings of the trainer.
        wanted: the settings that a folder is held to when it is used again.
        out: where everything is written.
        command: what makes this comparison again.
        quiet: whether to show no bars.
        elsewhere: whether the test pictures are from another place.
        logger: what else takes the runs' losses and scores, and the table, if anything.
        jobs: how many runs are trained at a time.
        executor: the cluster that trains them, or None for this machine.
    """

    entries: tuple[Contestant, ...]
    left_out: dict[str, str]
    table: Table
    test: Table
    mask: str
    kinds: tuple[str, ...]
    seeds: tuple[int, ...]
    batch_size: int
    training: Training
    wanted: dict[str, Any]
    out: Path
    command: str
    quiet: bool = False
    elsewhere: bool = False
    logger: str | None = None
    jobs: int = 1
    executor: str | None = None

    @cached_property
    def train(self) -> Table:
        """The pictures to learn from, held once for all runs."""
        return self.table.part("train")


def place_of(folder: Path, label: str, seed: int) -> Path:
    """Where one run of a contestant is kept in a comparison's folder."""
    return folder / "models" / file_name(label) / f"seed-{seed}"


def test_pictures(table: Table) -> Table:
    """Pictures of another place to be scored on: all, unless somebody split them."""
    return table.part("test") if table.own_split else table


def headline(plan: Plan) -> str:
    """The first line that a user reads: which pictures, masks, device."""
    device = ranks.resolve(plan.training.device)
    precision = resolve_precision(plan.training.precision, device)
    test = f" · scored on {_scored(plan.test)}" if plan.elsewhere else ""
    return (
        f"data: {plan.table.introduce()}{test} · masks: {_masks(plan.mask, plan.kinds)}, seed 0 · "
        f"{device.type}, {precision}, {resolve_mode(plan.training.mode, device)}{_short(plan)}"
    )


def _short(plan: Plan) -> str:
    """Which models have settings of their own because the comparison is short."""
    found = [f"{entry.label}:{entry.short}" for entry in plan.entries if entry.short]
    return f" · set for a short run, not as in the paper: {' '.join(found)}" if found else ""


def _scored(test: Table) -> str:
    """Which pictures of another place are scored, and what a user must know of them."""
    which = f"the test pictures by {test.rule}" if test.own_split else "all of them"
    return "; ".join([f"{len(test):,} of {test.title}, {which}", *test.notes])


def _masks(trained: str, scored: Iterable[str]) -> str:
    kinds = tuple(scored)
    words = ", ".join(map(masks.describe, kinds))
    if trained in kinds and masks.few(trained):
        return f"{words} (the same ones in training)"
    return words if kinds == (trained,) else f"{words} (trained under {masks.describe(trained)})"
