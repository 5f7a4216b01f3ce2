"""One training of a comparison: a contestant's recipe under one seed, in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gapfill import loggers, ranks
from gapfill.compare.plan import Contestant, Plan, place_of
from gapfill.config import plain
from gapfill.console import say
from gapfill.data import Stream
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.randomness import mix, seeded
from gapfill.recipe import Recipe
from gapfill.registry import is_saved, load
from gapfill.train import DivergedError
from gapfill.train.folder import differing


@dataclass(frozen=True)
class Run:
    """All that a training needs to know, whichever process carries it out.

    Attributes:
        label: what the tables call the contestant.
        seed: of the run.
        home: its folder.
        recipe: what to train, for pictures of their size.
        pictures: to learn from, uint8 [N, 3, S, S].
        validation: to watch it on, uint8 [M, 3, S, S], or None.
        data: what they are and under which terms.
        device: where to compute, as `Training.device`.
        logger: what else takes losses and scores, if anything.
        board: the logger's folder.
        quiet: whether to show no progress.
    """

    label: str
    seed: int
    home: Path
    recipe: Recipe
    pictures: Tensor
    validation: Tensor | None
    data: str
    device: str
    logger: str | None
    board: Path
    quiet: bool

    def create(self) -> Inpainter:
        """The model as it begins, with the weights of the run's seed."""
        with seeded(mix(self.seed, "weights")):
            return self.recipe.create()

    def stream(self) -> Stream:
        """The training pictures as this run sees them."""
        return Stream(self.pictures, self.recipe.batch_size, self.seed, flip=self.recipe.flip)

    def settings(self) -> dict[str, Any]:
        """The trainer's."""
        return plain(self.recipe.train) | {"seed": self.seed, "device": self.device}

    def model(self) -> Inpainter:
        """The trained model: the one in the folder, if there is one, or one that is trained now.

        Raises:
            UsageError: the folder holds another run.
        """
        model, pictures = self.create(), self.stream()
        how = self.settings() | {"mask": self.recipe.mask, "val": self.validation}
        if is_saved(self.home):
            saved = self._reused(model.identity(pictures, **how))
            return saved.to(ranks.resolve(self.device))
        try:
            with loggers.opened(self.logger, self.board) as log:
                hooks = {} if log is None else {"on_log": log.log, "on_look": log.look}
                model.fit(pictures, out=self.home, quiet=self.quiet, data=self.data, **hooks, **how)
        except DivergedError as error:
            say(f"{self.label}, seed {self.seed}: {error} It is scored by what was kept.")
            model.trained = True
            model.training_cost = {"diverged": str(error)}
        model.save(self.home / "model", data=self.data, overwrite=True)
        return model.to(ranks.resolve(self.device))  # one without an optimiser stayed where it was

    def _reused(self, wanted: dict[str, Any]) -> Inpainter:
        """The model that a run left, if it is the run that is asked for now."""
        saved = load(self.home)
        if saved.training_run is None:
            raise UsageError(
                f"{self.home} does not say what it was trained with. Give another --out, or delete "
                "it to train again."
            )
        if "chosen_by" in wanted:
            # Of a finished run it may be another rule than a new one would have; the results say
            # which.
            wanted = wanted | {"chosen_by": saved.training_run.get("chosen_by")}
        difference = differing(saved.training_run, wanted)
        if difference:
            raise UsageError(
                f"{self.home} holds a run with other settings than '{self.label}' has now "
                f"({difference}). Give another --out, or delete it to train again."
            )
        return saved


def run_of(plan: Plan, entry: Contestant, seed: int) -> Run:
    """The training of a contestant that has a recipe under one of the plan's seeds."""
    assert entry.recipe is not None
    home = place_of(plan.out, entry.label, seed)
    return Run(
        label=entry.label,
        seed=seed,
        home=home,
        recipe=entry.recipe.sized(plan.table.size),
        pictures=plan.train.images,
        validation=plan.table.validation,
        data=plan.table.provenance,
        device=plan.training.device,
        logger=plan.logger,
        board=plan.out / "tensorboard" / home.parent.name / home.name,
        quiet=plan.quiet,
    )
