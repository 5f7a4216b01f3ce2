"""The trainings of a comparison side by side, before anything is scored: `--jobs N`, `--executor`.

Here each is a process of its own (`job`), with its share of the cores, or on one of the GPUs. What
they train is in their folders afterwards, where scoring finds it.
"""

from __future__ import annotations

import io
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gapfill import checkpoint, masks, ranks
from gapfill.compare import cluster
from gapfill.compare.job import Child, tell, title
from gapfill.compare.plan import Plan
from gapfill.compare.runs import seeds
from gapfill.compare.training import Run, run_of
from gapfill.config import build, plain
from gapfill.console import say
from gapfill.errors import GapfillError
from gapfill.recipe import Recipe
from gapfill.registry import everywhere, is_saved, model_class
from gapfill.train import InterruptedRun
from gapfill.train.signals import Signals

_PAUSE = 0.1  # seconds between two looks at the processes

Failed = dict[str, GapfillError]
"""The contestants of which a run could not be trained, and why."""


def train(plan: Plan) -> Failed:
    """Train what is not trained yet, several runs at a time or elsewhere, if the plan says so.

    A failure ends no other run. What only this process knows, such as a class from a notebook, is
    left for it to train.

    Raises:
        InterruptedRun: SIGINT or SIGTERM came; each run was saved.
    """
    if plan.executor is not None:
        plan = replace(plan, out=plan.out.resolve())  # by which workers find it too
    elif plan.jobs == 1:
        return {}
    runs = _waiting(plan)
    if not runs:
        return {}
    folder = plan.out / "jobs"
    shutil.rmtree(folder, ignore_errors=True)  # of a comparison that was killed
    named = {entry.label: entry.named for entry in plan.entries}
    try:
        described = [write(run, folder) | {"named": named[run.label]} for run in runs]
        with Signals() as signals:
            if plan.executor is not None:
                failed = cluster.train(plan.executor, described, plan.quiet, signals)
            else:
                failed = _side_by_side(plan, described, signals)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if signals.caught is not None:
        raise InterruptedRun(
            f"interrupted; every run is saved in {plan.out}. To resume, run the same command "
            "again.",
            signals.caught,
        )
    return failed


@contextmanager
def alike(plan: Plan) -> Iterator[float]:
    """Inside, a step costs what it will among the others; yields how often that must be taken.

    On a CPU a run has its share of the threads. On GPUs the runs of one are taken to share it.
    """
    if devices(plan)[0].startswith("cuda"):
        yield -(-plan.jobs // len(devices(plan)))
        return
    before = torch.get_num_threads()
    torch.set_num_threads(_threads(plan))
    try:
        yield 1.0
    finally:
        torch.set_num_threads(before)


def devices(plan: Plan) -> list[str]:
    """Where the runs compute, in turn: on all GPUs unless the plan names one."""
    device = ranks.resolve(plan.training.device)
    if device.type != "cuda" or device.index is not None or plan.jobs == 1:
        return [str(device)]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def write(run: Run, folder: Path) -> dict[str, Any]:
    """What a run is, as JSON values, its tensors in files of the folder.

    Runs of one comparison share the files, which several processes hold in memory once.
    """
    tensors: dict[str, Tensor | None] = {"pictures": run.pictures, "validation": run.validation}
    mask = run.recipe.mask
    if isinstance(mask, masks.Handed):
        tensors[f"masks-{masks.digest(mask.bank[:, None])[:16]}"] = mask.bank
    files = [
        _write(folder / f"{name}.npy", tensor) if tensor is not None else None
        for name, tensor in tensors.items()
    ]
    return {
        "label": run.label,
        "seed": run.seed,
        "home": str(run.home),
        "recipe": plain(replace(run.recipe, mask=str(mask))),
        "tensors": files,
        "data": run.data,
        "device": run.device,
        "logger": run.logger,
        "board": str(run.board),
        "quiet": run.quiet,
    }


def read(job: Mapping[str, Any]) -> Run:
    """The run that `write` described."""
    pictures, validation, *handed = map(_read, job["tensors"])
    recipe = build(Recipe, job["recipe"])
    if handed and handed[0] is not None:
        mask = masks.Handed(handed[0][:, None], recipe.mask)
        recipe = replace(recipe, mask=mask)
    assert pictures is not None
    return Run(
        recipe=recipe,
        pictures=pictures,
        validation=validation,
        home=Path(job["home"]),
        board=Path(job["board"]),
        **{name: job[name] for name in ("label", "seed", "data", "device", "logger", "quiet")},
    )


def _waiting(plan: Plan) -> list[Run]:
    """The runs that are not trained yet and that other processes can train."""
    found = []
    for entry in plan.entries:
        if entry.recipe is None or not model_class(entry.recipe.model).optimised():
            continue
        runs = [run_of(plan, entry, seed) for seed in seeds(plan, entry)]
        runs = [run for run in runs if not is_saved(run.home)]
        if runs and not everywhere(entry.recipe.model):
            say(
                f"{entry.label} is trained after the others: '{entry.recipe.model}' is registered "
                "in this process alone",
                plan.quiet,
            )
            continue
        found += runs
    return found


def _side_by_side(plan: Plan, jobs: list[dict[str, Any]], signals: Signals) -> Failed:
    """Train all, `plan.jobs` at a time, until a signal is caught."""
    places, threads = devices(plan), _threads(plan)
    failed: Failed = {}
    free, waiting = list(range(min(plan.jobs, len(jobs)))), list(jobs)
    running: dict[int, tuple[dict[str, Any], Child]] = {}
    say(_introduced(len(jobs), len(free), threads), plan.quiet)
    try:
        while (waiting or running) and signals.caught is None:
            while waiting and free:
                slot = free.pop(0)
                job = waiting.pop(0) | {"device": places[slot % len(places)]}
                say(f"{title(job)}: begins{_on(job['device'])}", plan.quiet)
                running[slot] = job, Child(job, partial(tell, job), threads)
            time.sleep(_PAUSE)
            for slot in [slot for slot, (_, child) in running.items() if child.ended()]:
                job, child = running.pop(slot)
                if error := child.close():
                    say(f"{title(job)}: failed: {error}")
                    failed.setdefault(job["label"], error)
                free.append(slot)
    finally:
        for _, child in running.values():
            child.stop()
        for _, child in running.values():
            child.close()
    return failed


def _introduced(count: int, side: int, threads: int) -> str:
    runs, each = f"run{'s' * (count > 1)}", f"thread{'s' * (threads > 1)}"
    return f"{count} {runs} to train, {side} at a time, with {threads} {each} each"


def _on(device: str) -> str:
    return "" if device == "cpu" else f" on {device}"


def _threads(plan: Plan) -> int:
    """A run's share of the threads that PyTorch has here."""
    return max(1, torch.get_num_threads() // plan.jobs)


def _write(path: Path, tensor: Tensor) -> str:
    if not path.exists():
        array, head = tensor.cpu().contiguous().numpy(), io.BytesIO()
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
        checkpoint.write_atomic(path, head.getvalue(), array.data.cast("B"))
    return str(path)


def _read(path: str | None) -> Tensor | None:
    """The tensor in a file, its memory shared with all who read it as long as nobody writes."""
    if path is None:
        return None
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    except FileNotFoundError as error:
        raise GapfillError(
            f"there is no {path} on {socket.gethostname()}: the comparison's folder must be the "
            "same on every machine."
        ) from error
