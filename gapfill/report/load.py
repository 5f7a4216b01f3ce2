"""What a finished comparison left in its folder: results, pictures and training logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gapfill.errors import GapfillError
from gapfill.report.scores import finite

SCHEMA = 1
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
        GapfillError: The file is missing, is not JSON, or has an unknown schema.
    """
    path = folder / "results.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise GapfillError(
            f"{path} cannot be read ({error.strerror}). Run a comparison into {folder} first."
        ) from error
    except ValueError as error:
        raise GapfillError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(found, dict):
        raise GapfillError(
            f"{path} holds a {type(found).__name__}, not the results of a comparison."
        )
    return check(found, str(path))


def pictures(folder: Path) -> Pictures:
    """Read pictures.npz from `folder`: uint8 arrays by name.

    Raises:
        GapfillError: The file is missing, damaged, or lacks `real` or `mask`.
    """
    path = folder / "pictures.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = dict(stored)
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise GapfillError(f"{path} cannot be read ({error}).") from error
    if missing := {"real", "mask"} - found.keys():
        raise GapfillError(f"{path} lacks {', '.join(sorted(missing))}.")
    return found


def scores(folder: Path, results: dict[str, Any]) -> Scores:
    """Read scores.npz from `folder`: the scores of the models that `results` names.

    Raises:
        GapfillError: The file is missing or damaged.
    """
    path = folder / "scores.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = dict(stored)
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise GapfillError(f"{path} cannot be read ({error}).") from error
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    keys = [column["key"] for column in results["columns"]]
    return {
        model["label"]: {
            (kind, key): found[name]
            for kind in kinds
            for key in keys
            if (name := f"{model['label']}/{kind}/{key}") in found
        }
        for model in results["models"]
    }


def log(path: Path) -> dict[str, Curve]:
    """Read the losses and validation scores of a JSON-lines log.

    A line that an interrupted run left torn is passed over; of a step logged twice (a resumed run)
    the later counts; numbers that are not finite are left out.
    """
    found: dict[str, dict[int, float]] = {}
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            continue
        for key, value in entry.items():
            wanted = key == "val/hole_psnr" or (key.count("/") == 1 and key.endswith("/loss"))
            if wanted and not key.startswith("val/loss") and (value := finite(value)) is not None:
                found.setdefault(key, {})[entry["step"]] = value
    return {
        key: Curve(np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
        for key, points in found.items()
    }


def histories(folder: Path, results: dict[str, Any]) -> tuple[list[History], list[str]]:
    """Read the logs that `results` names; what cannot be read becomes a note, not an error."""
    found, notes = [], []
    for model in results["models"]:
        for run in model["runs"] or []:
            if not run.get("log"):
                continue
            who = f"{model['label']}, seed {run['seed']}"
            try:
                curves = log(folder / run["log"])
            except OSError:
                notes.append(f"{who}: no log at {run['log']}, so its curves are missing.")
                continue
            if curves:
                found.append(History(model["label"], run["seed"], curves))
            else:
                notes.append(f"{who}: {run['log']} holds no losses.")
    return found, notes
