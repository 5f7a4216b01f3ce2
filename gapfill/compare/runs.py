"""The work of a comparison: each contestant trained, and tested under every kind of mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gapfill import masks, ranks
from gapfill.compare import elsewhere, evaluate
from gapfill.compare.bank import test_masks
from gapfill.compare.kept import Kept, identity
from gapfill.compare.plan import Contestant, Plan, place_of
from gapfill.compare.sets import Sets
from gapfill.compare.training import run_of
from gapfill.console import say
from gapfill.fill.many import fill_all
from gapfill.inpainter import Inpainter
from gapfill.registry import load, model_class
from gapfill.report.load import under

_EXAMPLES = 12
_FEWER = 6  # of them under each further kind of masks
_WORST = 6
_FILLS = 6  # of a stochastic model's examples


@dataclass(frozen=True)
class Given:
    """What a comparison tests with and nobody trains: it is read before hours are spent.

    Attributes:
        banks: the test masks by kind.
        filled: the pictures that another program filled, by contestant and kind of mask.
    """

    banks: Mapping[str, Tensor]
    filled: Mapping[str, Mapping[str, elsewhere.Filled]]

    @classmethod
    def of(cls, plan: Plan) -> Given:
        """Draw the masks, and read the pictures.

        Raises:
            UsageError: pictures that are missing, of another size or of another bank.
            PictureError: one that cannot be read.
        """
        count, size = len(plan.test.images), plan.test.images.shape[-1]
        banks = {kind: test_masks(kind, count, size) for kind in plan.kinds}
        filled = {
            entry.label: elsewhere.load(entry.pictures, plan.test, banks)
            for entry in plan.entries
            if entry.pictures is not None
        }
        return cls(banks, filled)


class Bench:
    """The test pictures under the masks of every kind, and which of them the report shows.

    Attributes:
        real: the pictures, uint8 [N, 3, S, S].
        banks: their masks by kind. The bank is the same in every comparison on these pictures: it
            has a seed of its own.
        first: the kind of mask that charts, stability and most pictures are about.
        shown: the numbers of the examples, evenly spaced.
        perceptual: LPIPS, or None where its weights are not on this machine.
        sets: distances of sets of pictures from the real test pictures.
        device: where fills are scored.
        given: the pictures that another program filled, by contestant and kind of mask.
        kept: what was measured before.
        digests: of the masks, by kind.
    """

    def __init__(self, plan: Plan, given: Given, perceptual: Any, sets: Sets, kept: Kept) -> None:
        self.real = plan.test.images
        count = len(self.real)
        self.banks = given.banks
        self.first = plan.kinds[0]
        self.shown = torch.linspace(0, count - 1, min(_EXAMPLES, count)).round().long().unique()
        self.perceptual, self.sets, self.kept = perceptual, sets, kept
        device = ranks.resolve(plan.training.device)
        self.device = device if device.type == "cuda" else torch.device("cpu")
        self.digests = {kind: masks.digest(bank) for kind, bank in self.banks.items()}
        self.given = given.filled

    @property
    def bank(self) -> Tensor:
        """The masks of the first kind."""
        return self.banks[self.first]

    def pictures(self) -> dict[str, np.ndarray[Any, Any]]:
        """The examples and their masks, as pictures.npz holds them."""
        found = {"real": self.real[self.shown]}
        for number, bank in enumerate(self.banks.values()):
            found[f"{under(number)}mask"] = bank[self.examples(number)].byte()
        return {name: pictures.numpy() for name, pictures in found.items()}

    def examples(self, number: int) -> Tensor:
        """The numbers of the pictures that are shown under a kind of masks, given by its place."""
        return self.shown[:_FEWER] if number else self.shown


@dataclass(frozen=True)
class Tested:
    """A contestant after its runs.

    Attributes:
        entry: the contestant.
        models: its models, one a run; none where only pictures are known.
        shown: the first model's fills of the examples, under each kind of masks.
        failed: its fills of the pictures that it fills worst.
        scores: by run, kind of mask and metric, float64 [N].
        sets: by run, kind of mask and key, the distances of the fills as a set from real pictures.
        samples: several fills of the examples by a stochastic model, [S, n, 3, H, W].
        known: what another program did to the known pixels, by kind of mask.
    """

    entry: Contestant
    models: list[Inpainter]
    shown: list[Tensor]
    failed: Tensor
    scores: list[dict[str, dict[str, Tensor]]]
    sets: list[dict[str, dict[str, Tensor]]]
    samples: Tensor | None = None
    known: Mapping[str, elsewhere.Known] = field(default_factory=dict)

    @property
    def model(self) -> Inpainter | None:
        """The model of the first run, where there is one."""
        return self.models[0] if self.models else None

    def worst(self, bench: Bench) -> Tensor:
        """The numbers of the pictures that the first run fills worst."""
        return _worst(self.scores[0][bench.first])

    def columns(self) -> dict[tuple[str, str], np.ndarray[Any, Any]]:
        """Every picture's score by kind of mask and metric, float64 [runs, N]."""
        return {
            (kind, key): torch.stack([run[kind][key] for run in self.scores]).numpy()
            for kind, metrics in self.scores[0].items()
            for key in metrics
        }

    def pictures(self, bench: Bench) -> dict[str, np.ndarray[Any, Any]]:
        """The fills that the report shows: examples, samples, the worst with their truth."""
        label, worst = self.entry.label, self.worst(bench)
        found = {
            f"worst_real/{label}": bench.real[worst],
            f"worst_mask/{label}": bench.bank[worst].byte(),
            f"worst_filled/{label}": self.failed,
        }
        for number, shown in enumerate(self.shown):
            found[f"{under(number)}filled/{label}"] = shown[: len(bench.examples(number))]
        if self.samples is not None:
            found[f"samples/{label}"] = self.samples
        return {name: pictures.numpy() for name, pictures in found.items()}


def test(plan: Plan, entry: Contestant, bench: Bench) -> Tested:
    """Train every run that is not trained yet, and fill and score the test pictures."""
    place_in = f"model {plan.entries.index(entry) + 1} of {len(plan.entries)}"
    if entry.label in bench.given:
        say(f"{place_in}: {entry.label}", plan.quiet)
        return _given(entry, bench)
    models, own = [], seeds(plan, entry)
    for number, seed in enumerate(own):
        run = f", run {number + 1} of {len(own)}" if len(own) > 1 else ""
        say(f"{place_in}: {entry.label}{run}", plan.quiet)
        models.append(_trained(plan, entry, seed))
    measured = [
        {kind: _measured(plan, entry, model, bench, kind) for kind in bench.banks}
        for model in models
    ]
    samples = None
    if models[0].stochastic:
        examples = bench.real[bench.shown], bench.bank[bench.shown]

        def draw() -> dict[str, Any]:
            return {"samples": models[0].sample(*examples, n=_FILLS, seed=plan.seeds[0]).cpu()}

        name = _name(plan, models[0], bench, bench.first) | {"samples": _FILLS}
        samples = bench.kept.of(name, draw)["samples"]
    return _tested(entry, models, bench, measured, samples=samples)


def _name(plan: Plan, model: Inpainter, bench: Bench, kind: str) -> dict[str, Any]:
    """All that the fills of a model under a kind of mask depend on."""
    return identity(model) | {"masks": bench.digests[kind], "seed": plan.seeds[0]}


def _measured(
    plan: Plan, entry: Contestant, model: Inpainter, bench: Bench, kind: str
) -> dict[str, Any]:
    """One run's scores under one kind of mask, and those fills that the report shows."""
    name = _name(plan, model, bench, kind)
    if model.optimised() and not bench.kept.has(name):
        say(f"{entry.label}: scoring {len(bench.real):,} fills, {kind} masks", plan.quiet)

    def measure() -> dict[str, Any]:
        return _scored(fill_all(model, bench.real, bench.banks[kind], plan.seeds[0]), bench, kind)

    return bench.kept.of(name, measure)


def _scored(filled: Tensor, bench: Bench, kind: str) -> dict[str, Any]:
    """Every score of the fills under a kind of mask, and those fills that the report shows."""
    scores = evaluate.score(filled, bench.real, bench.banks[kind], bench.perceptual, bench.device)
    return {
        "scores": scores,
        "sets": bench.sets.of(filled),
        "shown": filled[bench.shown],
        "failed": filled[_worst(scores)],
    }


def _worst(scores: Mapping[str, Tensor]) -> Tensor:
    """The numbers of the pictures that are filled worst."""
    return scores["hole_psnr"].argsort()[:_WORST]


def _tested(
    entry: Contestant,
    models: list[Inpainter],
    bench: Bench,
    measured: Sequence[Mapping[str, dict[str, Any]]],
    **more: Any,
) -> Tested:
    first = measured[0][bench.first]
    scores, sets = (
        [{kind: each[part] for kind, each in run.items()} for run in measured]
        for part in ("scores", "sets")
    )
    shown = [each["shown"] for each in measured[0].values()]
    return Tested(entry, models, shown, first["failed"], scores, sets, **more)


def _given(entry: Contestant, bench: Bench) -> Tested:
    """Score what another program filled, as if a model had."""
    filled = bench.given[entry.label]
    measured = {kind: _scored(each.images, bench, kind) for kind, each in filled.items()}
    known = {kind: each.known for kind, each in filled.items()}
    return _tested(entry, [], bench, [measured], known=known)


def place(plan: Plan, entry: Contestant, seed: int) -> Path:
    """Where one run of a contestant is kept."""
    return place_of(plan.out, entry.label, seed)


def seeds(plan: Plan, entry: Contestant) -> tuple[int, ...]:
    """A model that is saved already, or that no chance takes part in, has one run."""
    trains = entry.recipe is not None and model_class(entry.recipe.model).optimised()
    return plan.seeds if trains else plan.seeds[:1]


def _trained(plan: Plan, entry: Contestant, seed: int) -> Inpainter:
    """The entry's model, trained now if it is not trained yet."""
    if entry.model is not None:
        entry.model.save(place(plan, entry, seed) / "model", overwrite=True)
        return load(place(plan, entry, seed)).to(ranks.resolve(plan.training.device))
    if entry.recipe is None:
        assert entry.folder is not None
        return load(entry.folder).to(ranks.resolve(plan.training.device))
    return run_of(plan, entry, seed).model()
