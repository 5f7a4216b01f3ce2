"""What a finished comparison left in its folder: results, pictures and training logs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gapfill.errors import GapfillError
from gapfill.report import seal
from gapfill.report.scores import finite

SCHEMA = 2
Pictures = dict[str, np.ndarray]
Scores = dict[str, dict[tuple[str, str], np.ndarray]]
"""By model, every picture's scores by kind of mask and metric, [runs, N]."""


@dataclass(frozen=True)
class Curve:
    """One logged number over the steps of a training run; steps rise, values are finite."""

    steps: np.ndarray
    values: np.ndarray

    def smooth(self) -> Curve:
        """Return the centred moving mean over a fortieth of the run; short curves stay."""
        half = len(self.values) // 80
        if half < 1:
            return self
        total = np.concatenate([[0.0], np.cumsum(self.values)])
        here = np.arange(len(self.values))
        low, high = np.maximum(here - half, 0), np.minimum(here + half + 1, len(self.values))
        return Curve(self.steps, (total[high] - total[low]) / (high - low))

    def thin(self, bins: int = 240) -> Curve:
        """Return at most two points a bin, its lowest and its highest, so that peaks survive."""
        if len(self.values) <= 2 * bins:
            return self
        kept: set[int] = {0, len(self.values) - 1}
        for part in np.array_split(np.arange(len(self.values)), bins):
            kept |= {int(part[self.values[part].argmin()]), int(part[self.values[part].argmax()])}
        keep = np.array(sorted(kept))
        return Curve(self.steps[keep], self.values[keep])


@dataclass(frozen=True)
class History:
    """The curves of one training run, by their name in the log."""

    label: str
    seed: int
    curves: dict[str, Curve]

    def role(self, role: str) -> dict[str, Curve]:
        """Return the curves of one `role`: `generator`, `discriminator` or `validation`.

        Every player that is not a discriminator counts as a generator, by whatever name.
        """
        if role == "validation":
            return {k: v for k, v in self.curves.items() if k == "val/hole_psnr"}
        players = {k[: -len("/loss")]: v for k, v in self.curves.items() if k.endswith("/loss")}
        against = ("critic", "discriminator")  # and "local_critic", where there are several
        wanted = role == "discriminator"
        return {k: v for k, v in players.items() if k.endswith(against) == wanted}


def check(results: dict[str, Any], where: str = "results") -> dict[str, Any]:
    """Return `results` if its schema is one that this version can read.

    Raises:
        GapfillError: The schema is another one, or missing.
    """
    found = results.get("schema")
    if found != SCHEMA:
        came = "no schema" if found is None else f"schema {found!r}"
        raise GapfillError(
            f"{where} has {came}, but this gapfill reads schema {SCHEMA}. "
            "Run the comparison again, or use the version of gapfill that wrote it."
        )
    return results


def results(folder: Path) -> dict[str, Any]:
    """Read results.json from `folder`.

    Raises:
        GapfillError: The file is missing, changed or damaged, or has an unknown schema.
    """
    path = folder / seal.NAME
    found = check(seal.results_of(folder), str(path))
    seal.check(found, path)
    return found


def pictures(folder: Path, results: dict[str, Any]) -> Pictures:
    """Read pictures.npz from `folder`: uint8 arrays by name.

    Raises:
        GapfillError: The file is missing, damaged, or not the one that `results` speak of.
    """
    return _arrays(folder, results, "pictures.npz")


def under(number: int) -> str:
    """How the names in pictures.npz begin, of what stands under a kind of masks by its place."""
    return f"kind-{number}/" if number else ""


def scores(folder: Path, results: dict[str, Any]) -> Scores:
    """Read scores.npz from `folder`: the scores of the models that `results` name.

    Raises:
        GapfillError: The file is missing, damaged, or not the one that `results` speak of.
    """
    found = _arrays(folder, results, "scores.npz")
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    keys = [column["key"] for column in results["columns"]]
    return {
        model["label"]: {
            (kind, key): found[name]
            for kind in kinds
            for key in keys
            if (name := scores_name(model["label"], kind, key)) in found
        }
        for model in results["models"]
    }


def scores_name(label: str, kind: str, key: str) -> str:
    """Return the name of an array in scores.npz; a zip takes no bytes that are no text."""
    return f"{label}/{kind}/{key}".encode("utf-8", "backslashreplace").decode()


def _arrays(folder: Path, results: dict[str, Any], name: str) -> dict[str, np.ndarray]:
    data = seal.content(results, folder, name)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return dict(stored)
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise GapfillError(f"{folder / name} cannot be read ({error}).") from error


def log(data: bytes) -> tuple[dict[str, Curve], int]:
    """Read the losses and validation scores of a JSON-lines log.

    Of a step logged twice (a resumed run) the later counts; numbers that are not finite are left
    out.

    Returns:
        The curves, and how many lines are damaged, which are passed over.
    """
    found: dict[str, dict[int, float]] = {}
    damaged = 0
    for line in data.decode("utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or not isinstance(step := entry.get("step"), int):
            damaged += 1
            continue
        for key, value in entry.items():
            wanted = key == "val/hole_psnr" or (key.count("/") == 1 and key.endswith("/loss"))
            if wanted and not key.startswith("val/loss") and (value := finite(value)) is not None:
                found.setdefault(key, {})[step] = value
    curves = {
        key: Curve(np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
        for key, points in found.items()
    }
    return curves, damaged


def histories(folder: Path, results: dict[str, Any]) -> tuple[list[History], list[str]]:
    """Read the logs that `results` names; what cannot be read becomes a note, not an error."""
    found, notes = [], []
    for model in results["models"]:
        for run in model["runs"] or []:
            if not run.get("log"):
                continue
            who = f"{model['label']}, seed {run['seed']}"
            try:
                curves, damaged = log(seal.content(results, folder, run["log"]))
            except GapfillError as error:
                notes.append(f"{who}: its curves are missing. {error}")
                continue
            if damaged:
                lines = "a line" if damaged == 1 else f"{damaged} lines"
                notes.append(f"{who}: {run['log']} has {lines} damaged, left out.")
            if curves:
                found.append(History(model["label"], run["seed"], curves))
            else:
                notes.append(f"{who}: {run['log']} holds no losses.")
    return found, notes
