"""The long suite: `python -m tests.torture [--minutes 30] [--only PROGRAM …] [--seed N]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from tests.torture import programs
from tests.torture.harness import PROGRAMS, carry_out

assert programs  # imported for what it registers


def main() -> int:
    """Run the programs and print the table; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--minutes", type=float, default=30.0, help="in all (default: 30)")
    parser.add_argument("--only", nargs="+", choices=sorted(PROGRAMS), default=sorted(PROGRAMS))
    parser.add_argument("--seed", type=int, default=0, help="of the tries (default: 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = sum(PROGRAMS[name].share for name in options.only)
    failed = False
    print("| what | tried | failed |\n|---|---|---|")  # noqa: T201
    for name in options.only:
        entry = PROGRAMS[name]
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            seconds = 60 * options.minutes * entry.share / whole
            count = carry_out(entry, Path(folder), entry.long, options.seed, seconds)
        print(count.row(), flush=True)  # noqa: T201
        for failure in count.failed[1:10]:
            print(f"  {name}: {failure}", file=sys.stderr)  # noqa: T201
        failed = failed or bool(count.failed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
