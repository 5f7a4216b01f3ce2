"""A comparison, stage by stage: contestants, training, scores, the three files of results.

Each stage reads what the one before wrote, so that an interrupted comparison goes on where it was
and the report can be made again without training.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gapfill import checkpoint, loggers, metrics, ranks, report
from gapfill.compare import jobs, results, runs
from gapfill.compare.entries import baselines, contestants, leave_out
from gapfill.compare.kept import Kept
from gapfill.compare.plan import Contestant, Plan, headline
from gapfill.compare.sets import Sets
from gapfill.console import say
from gapfill.report import seal
from gapfill.report.load import scores_name
from gapfill.train.folder import RunFolder

__all__ = ["Contestant", "Plan", "baselines", "carry_out", "complete", "contestants", "headline"]


def complete(plan: Plan) -> tuple[dict[str, Any], list[Path]]:
    """Carry out a comparison and write its report; return results.json and the files written."""
    found = carry_out(plan)
    written = report.write(plan.out)
    with loggers.opened(plan.logger, plan.out / "tensorboard") as board:
        if board is not None:
            board.table(report.paper(plan.out, "markdown"), report.sheet(plan.out))
    return found, written


def carry_out(plan: Plan) -> dict[str, Any]:
    """Train, score, and write results.json, scores.npz and pictures.npz into the plan's folder."""
    folder = RunFolder(plan.out, say)
    with folder.held():
        return _carry_out(plan, folder)


def _carry_out(plan: Plan, folder: RunFolder) -> dict[str, Any]:
    if folder.plan(plan.wanted) is None:
        folder.write_plan(plan.wanted, {})
    given = runs.Given.of(plan)
    failed = jobs.train(plan)
    device, side = ranks.resolve(plan.training.device), min(plan.test.images.shape[2:])
    perceptual, reason = metrics.load_lpips(device, side)
    sets = Sets(plan.test, plan.train, device)
    common = {
        "pictures": plan.test.digest(),
        "metrics": list(metrics.METRICS),
        "lpips": perceptual is not None,
        "sets": sets.columns(),
        "device": device.type,
    }
    kept = Kept(plan.out / "scores", common)
    sets.keep(kept, plan.wanted["data"])
    bench = runs.Bench(plan, given, perceptual, sets, kept)
    pictures, rows, left_out, floor = bench.pictures(), [], dict(plan.left_out), None
    scores: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for entry in plan.entries:
        try:
            if entry.label in failed:
                raise failed[entry.label]
            tested = runs.test(plan, entry, bench)
            if tested.model is not None and tested.model.about.baseline == "floor":
                floor = tested.scores[0][bench.first]["hole_psnr"].mean().item()
            rows.append(results.row(plan, tested, bench, floor, reason))
        except Exception as error:
            # Among twenty models that nobody named, one that fails must not cost the others' hours.
            if entry.named:
                raise
            left_out[entry.label] = leave_out(entry.label, error)
            continue
        pictures |= tested.pictures(bench)
        scores[entry.label] = tested.columns()
    found = results.whole(replace(plan, left_out=left_out), rows, bench, results.paired(scores))
    arrays = {
        scores_name(label, kind, key): array
        for label, columns in scores.items()
        for (kind, key), array in columns.items()
    }
    arrays["names"] = np.array(plan.test.names)
    _write_arrays(plan.out / "pictures.npz", pictures, np.savez_compressed)
    _write_arrays(plan.out / "scores.npz", arrays, np.savez)
    logs = [run["log"] for row in rows for run in row["runs"] if run["log"]]
    found = seal.seal(found, plan.out, ["pictures.npz", "scores.npz", *logs])
    checkpoint.write_json(plan.out / seal.NAME, found)
    if said := kept.summary():
        say(said, plan.quiet)
    return found


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray], save: Callable[..., None]) -> None:
    buffer = io.BytesIO()
    save(buffer, allow_pickle=False, **arrays)
    checkpoint.write_atomic(path, buffer.getvalue())
