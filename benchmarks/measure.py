"""Checks and times everything on a device, and writes what came out as a page of tables.

python benchmarks/measure.py --out runs/gpu
python benchmarks/measure.py --out runs/cpu --devices cpu -- -k training_step --models cnn

What follows `--` goes to the benchmarks' pytest as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CHECKS = (
    "tests/test_masks.py",
    "tests/test_compute.py",
    "tests/test_modes.py",
    "tests/test_prepared.py",
)

TABLES = {
    "test_training_step": "A training step",
    "test_forward": "Filling",
    "test_scaling": "dcgan, one thing changed at a time",
    "test_plain_step": "The plain loop's step, measure by measure",
    "test_step": "Our step, deep layers as convolutions or products",
    "test_batch_stream": "Feeding",
    "test_mask_drawing": "1,024 masks",
    "test_yardstick": "Against the plain loop",
    "test_papers_experiment": "The paper's experiment",
}
FACTS = {
    **{name: name for name in ("model", "measures", "scaled", "value", "kind", "where")},
    **{name: name for name in ("device", "precision", "mode", "batch", "images")},
    "ms": "ms",
    "images_per_second": "images/s",
    "plain_images_per_second": "plain loop, images/s",
    "ratio": "ratio",
    "share_of_flops": "of the arithmetic",
    "share_of_bytes": "of the bandwidth",
    "peak_bytes": "peak MB",
    "steps": "steps",
    "seconds": "s",
}


def page(found: Mapping[str, Any], checks: str) -> str:
    """What pytest-benchmark measured, as Markdown: the machine, the checks, a table a test.

    Args:
        found: its JSON.
        checks: how the checks ended, in a line.
    """
    about = found["machine_info"]["gapfill"]
    lines = ["# Measured", "", *(f"- {key}: {value}" for key, value in about.items())]
    lines += [f"- checks: {checks}"]
    ceilings: dict[str, list[str]] = {}
    for entry in found["benchmarks"]:
        facts = entry["extra_info"]
        if "ceiling_flops" in facts:
            flops, moved = facts["ceiling_flops"] / 1e12, facts["ceiling_bytes"] / 1e9
            ceilings[facts["device"]] = [f"{flops:.4g} TFLOP/s in bf16", f"{moved:.4g} GB/s"]
    lines += [f"- ceilings of {name}: {', '.join(each)}" for name, each in ceilings.items()]
    for test, title in TABLES.items():
        rows = [
            entry["extra_info"]
            for entry in found["benchmarks"]
            if entry["name"].partition("[")[0] == test
        ]
        if rows:
            lines += ["", f"## {title}", "", *table(rows)]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Lines of a Markdown table: the columns that any row has."""
    columns = [key for key in FACTS if any(key in row for row in rows)]
    yield "| " + " | ".join(FACTS[key] for key in columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(key, row.get(key)) for key in columns) + " |"


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "peak_bytes":
        return f"{value / 2**20:.0f}"
    if key.startswith("share"):
        return f"{value:.0%}"
    if isinstance(value, list):
        return " · ".join(f"{each:.4g}" for each in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def pytest(*arguments: str) -> tuple[int, str]:
    """Run pytest in the repository, shown as it goes; its exit code and last line."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    command = [sys.executable, "-m", "pytest", *arguments]
    last = ""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as done:
        for line in done.stdout or ():
            sys.stderr.write(line)
            last = line.strip() or last
    return done.returncode, last.strip("= ")


def main(arguments: Sequence[str]) -> int:
    """Check, time, write; 1 where a check or a benchmark failed."""
    ours, rest = list(arguments), []
    if "--" in ours:
        at = ours.index("--")
        ours, rest = ours[:at], ours[at + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder for what comes out")
    parser.add_argument("--devices", nargs="+", default=["cuda"])
    parser.add_argument("--seconds", default="1", help="at most so long a measurement")
    parser.add_argument("--no-checks", action="store_true", help="time alone")
    given = parser.parse_args(ours)
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    failed, checks = 0, "left out"
    if not given.no_checks:
        failed, checks = pytest("-q", *CHECKS)
    measured = out / "benchmark.json"
    measured.unlink(missing_ok=True)
    options = ["--devices", *given.devices, "--seconds", given.seconds]
    ended, _ = pytest(
        "benchmarks", "--benchmark-only", "--benchmark-json", str(measured), *options, *rest
    )
    if not measured.exists() or not measured.stat().st_size:
        sys.stderr.write("nothing was measured.\n")
        return 1
    text = page(json.loads(measured.read_text("utf-8")), checks)
    (out / "performance.md").write_text(text, "utf-8")
    sys.stderr.write(f"wrote {out / 'performance.md'}\n")
    return int(bool(failed or ended))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
