"""`python -m gapfill.compare`: train what is not trained yet, score all alike, write the report.

Everything lives in one folder, `--out`, and the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapfill import console
from gapfill.about import GROUPS

if TYPE_CHECKING:
    from gapfill.compare.stages import Contestant, Plan
    from gapfill.data import Table

NAME, HELP = "compare", "train, score and report several models"

_NOT_THE_COMMAND = (
    "models",
    "out",
    "jobs",
    "executor",
    "json",
    "log",
    "logger",
    "quiet",
    "debug",
)  # where and how loud it ran
MOST_SEEDS = 1000
MOST_JOBS = 1000


def parser() -> console.Parser:
    """The command's options."""
    made = console.Parser(
        prog="python -m gapfill.compare",
        description="Compare inpainters on the same pictures and masks: train, score, report.",
    )
    add_options(made)
    return made


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a comparison to a parser."""
    parser.add_argument(
        "--models",
        nargs="+",
        default=["paper"],
        metavar="MODEL",
        help=f"names, wildcards such as '*gan', groups ({', '.join(GROUPS)}), recipes (.yaml), "
        "NAME@TAG, weights that come with gapfill, folders of saved models, or pictures:FOLDER, "
        "which another program filled (see `gapfill bank`); settings for one stand behind a "
        "colon, cnn:lr=5e-4,steps=2000; the mean picture and Telea stand in every table",
    )
    console.add_data(parser)
    console.add_test(parser)
    parser.add_argument(
        "--mask", help="which masks to train and score with (default: the first of --masks)"
    )
    console.add_masks(parser)
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of each model")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="runs trained at a time, each with its share of the cores, or on GPUs in turn",
    )
    parser.add_argument(
        "--executor",
        metavar="dask://HOST:PORT",
        help="have the runs trained by a Dask cluster, whose workers see the same folders",
    )
    console.add_length(parser)
    console.add_training(parser)
    parser.add_argument("--out", metavar="DIR", help="(default: runs/compare-…, by the settings)")
    parser.add_argument("--json", metavar="FILE", help="write results.json there too, - for stdout")
    console.add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out a comparison."""
    from gapfill import report
    from gapfill.compare import stages
    from gapfill.compare.estimate import forecast

    plan = make_plan(options)
    to_stdout = options.json == "-"
    (console.say if to_stdout else console.show)(stages.headline(plan))
    if not options.quiet and (expected := forecast(plan)):
        console.say(expected)
    results, written = stages.complete(plan)
    if not to_stdout:
        console.show(report.table(results))
    if options.json:
        console.write_json(options.json, results)
    names = "  ".join(path.name for path in written[1:])
    console.say(f"wrote {written[0]}  results.json  {names}", options.quiet)
    return 0


def make_plan(
    options: argparse.Namespace,
    lineup: tuple[tuple[Contestant, ...], dict[str, str]] | None = None,
    opened: tuple[Table, Table | None] | None = None,
    command: str | None = None,
) -> Plan:
    """Check everything that can be checked before the work begins.

    Args:
        options: the command's.
        lineup: the contestants and those left out, where they are no words.
        opened: the pictures, and other test pictures if any, where they are in no files.
        command: what makes this comparison again, where it is no command.

    Raises:
        UsageError: names, settings, masks, devices or pictures that make no sense.
    """
    from gapfill import checkpoint, loggers, masks, ranks
    from gapfill.compare import cluster, short
    from gapfill.compare.stages import Plan, baselines, contestants
    from gapfill.config import build
    from gapfill.data.stream import LARGEST_BATCH
    from gapfill.errors import UsageError
    from gapfill.train import Training, resolve_mode
    from gapfill.train.settings import LENGTHS

    if options.out:
        checkpoint.check_folder(Path(options.out))
    if options.logger is not None:
        loggers.require(options.logger)
    kinds = tuple(dict.fromkeys(options.masks or [options.mask or "center"]))
    mask = options.mask or kinds[0]
    if options.invert_mask:
        mask, *kinds = masks.inverted_files((mask, *kinds))
    for kind in (mask, *kinds):
        masks.check(kind)
    if not 1 <= options.seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds must be 1 to {MOST_SEEDS}; got {options.seeds}.")
    if not 1 <= options.jobs <= MOST_JOBS:
        raise UsageError(f"--jobs must be 1 to {MOST_JOBS}; got {options.jobs}.")
    if options.executor is not None:
        cluster.require(options.executor)
        if options.jobs > 1:
            raise UsageError(
                "give --jobs or --executor: a cluster's workers say how many at a time."
            )
    if ranks.launched():
        raise UsageError(
            "a comparison runs in one process. Train with `torchrun -m gapfill fit`, then compare "
            "the folders."
        )
    batch_size = 64 if options.batch_size is None else options.batch_size
    if not 2 <= batch_size <= LARGEST_BATCH:
        raise UsageError(f"--batch-size must be 2 to {LARGEST_BATCH}; got {batch_size}.")
    length = console.given(options, *LENGTHS)
    settings = console.given(options, "seed", "device", "precision", "mode")
    training = build(Training, length | settings, where="compare")
    resolve_mode(training.mode, device := ranks.resolve(training.device))
    entries, left_out = lineup or contestants([*baselines(), *options.models], options.size)
    table, test = opened or _opened(options)
    if table.generated and not length:
        training = build(Training, settings | {"budget": short.BUDGET})
        if options.batch_size is None:
            entries = tuple(map(short.shortened, entries))
    asked = console.given(options, *LENGTHS, "device", "precision", "mode", "batch_size")
    asked |= {"mask": mask} | ({"flip": False} if options.no_flip else {})
    otherwise = {name: getattr(training, name) for name in LENGTHS}
    entries = tuple(entry.under(asked, otherwise) for entry in entries)
    for recipe in filter(None, (entry.recipe for entry in entries)):
        resolve_mode(recipe.train.mode, device)
    wanted = {
        "data": table.digest(),
        "size": options.size,
        "mask": mask,
        "batch_size": batch_size,
        "training": {name: getattr(training, name) for name in (*LENGTHS, "precision", "seed")},
    } | ({"flip": False} if options.no_flip else {})
    return Plan(
        entries=entries,
        left_out=left_out,
        table=table,
        test=test or table.part("test"),
        mask=mask,
        kinds=tuple(kinds),
        seeds=tuple(range(training.seed, training.seed + options.seeds)),
        batch_size=batch_size,
        training=training,
        wanted=wanted,
        out=Path(options.out) if options.out else _folder(wanted, options),
        command=command or _command(options),
        quiet=options.quiet,
        elsewhere=bool(options.test),
        logger=options.logger,
        jobs=options.jobs,
        executor=options.executor,
    )


def _opened(options: argparse.Namespace) -> tuple[Table, Table | None]:
    """The pictures to learn from, and other test pictures if the options name them."""
    from gapfill.compare.plan import test_pictures
    from gapfill.data import open_table

    table = open_table(options.data, options.size, options.crop, extra=options.extra)
    if not options.test:
        return table, None
    return table, test_pictures(open_table(options.test, options.size, options.crop))


def _folder(wanted: dict[str, Any], options: argparse.Namespace) -> Path:
    """A folder's name that the same command finds again."""
    words = [wanted, options.models, options.masks, options.seeds, options.test]
    words += ["inverted"] if options.invert_mask else []
    text = json.dumps(words, sort_keys=True)
    return Path("runs") / f"compare-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _command(options: argparse.Namespace) -> str:
    """The command that makes this again: what differs from the defaults."""
    defaults = parser().parse_args([])
    words = ["python", "-m", "gapfill.compare", "--models", *options.models]
    for name, value in vars(options).items():
        if name in _NOT_THE_COMMAND or not hasattr(defaults, name):
            continue
        if value != getattr(defaults, name):
            option = "--" + name.replace("_", "-")
            if value is True:
                words.append(option)
                continue
            if name == "masks":
                words += [option, *value]
                continue
            for item in value if isinstance(value, list) else [value]:
                words += [option, str(item)]
    return shlex.join(words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return console.launch(run, parser(), arguments)
