"""Kills: while a file is written, and at random moments of whole runs."""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import torch

from tests.torture.harness import program

STEPS = 25


def _write_for_ever(path: Path, ready) -> None:
    """Write files of many sizes over each other until someone ends it."""
    from gapfill.checkpoint import write_atomic

    number = 0
    ready.set()
    while True:
        number += 1
        write_atomic(path, bytes([number % 251]) * (1 + number * 977 % 200_000))


def _fit(name: str, out: Path, ready) -> None:
    """One small run, exactly repeatable."""
    import gapfill
    from gapfill import testing
    from gapfill.data import Stream
    from gapfill.randomness import seeded

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115, interrupts are meant
    torch.set_num_threads(1)
    fields = gapfill.registry.model_class(name).Config.__dataclass_fields__
    wanted = {"size": 32, "width": 4, "critic_width": 4}
    with seeded(0):
        model = gapfill.create(name, **{key: wanted[key] for key in wanted if key in fields})
    images = testing.pictures(model, 24)
    settings = {"steps": STEPS, "precision": "fp32", "device": "cpu", "quiet": True, "watch": 4}
    settings |= {"log_every": 2, "save_seconds": 0.0, "mask": "rect", "val": images[:4]}
    ready.set()
    model.fit(Stream(images, 4), out=out, **settings)
    model.save(out / "model")


_COMPARE = (
    "--models gan cnn --data {data} --size 32 --steps 12 --batch-size 4 --precision fp32 "
    "--device cpu --quiet --out {out}"
)
MODELS = ("cnn", "gan", "dcgan", "wgan_gp", "flow", "glcic")


@program("kills while a file is written", short=12, long=2000, share=2)
def kills_while_writing(chance: Random, folder: Path):
    """The file is whole after each kill, and a sweep leaves nothing beside it."""
    from gapfill.checkpoint import sweep

    path = folder / "file"
    while True:
        with _started(_write_for_ever, path) as process:
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        if path.is_file():
            data = path.read_bytes()
            if not data or data != data[:1] * len(data):
                yield f"{len(data)} bytes of more than one writing"
                continue
        sweep(folder)
        left = [each.name for each in folder.iterdir() if each.name != "file"]
        yield f"left behind: {left}" if left else None


@program("fits killed and begun again", short=2, long=50, share=6)
def kills_of_fits(chance: Random, folder: Path):
    """A run that was killed ends with the weights and the log of one that was not."""
    whole: dict[str, tuple[Path, float]] = {}
    number = 0
    while True:
        name = chance.choice(MODELS if number > 1 else MODELS[:1])
        if name not in whole:
            begun = time.monotonic()
            _to_the_end(_fit, name, folder / name)
            whole[name] = folder / name, time.monotonic() - begun
        expected, length = whole[name]
        number += 1
        out = folder / f"{name}-{number}"
        with _started(_fit, name, out) as process:
            time.sleep(chance.uniform(0, 0.5) * length)
            how = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            with contextlib.suppress(ProcessLookupError):  # it was the faster one
                os.kill(process.pid, how)
            process.join()
        _to_the_end(_fit, name, out)
        yield _differs(expected, out, how == signal.SIGKILL)


@program("comparisons killed and begun again", short=0, long=12, share=4)
def kills_of_comparisons(chance: Random, folder: Path):
    """A comparison that was killed gives the scores of one that was not."""
    from PIL import Image

    from gapfill.data.faces import generate

    data = folder / "faces"
    data.mkdir()
    for number, face in enumerate(generate(40, 32)):
        Image.fromarray(face.permute(1, 2, 0).contiguous().numpy()).save(data / f"{number}.png")

    def words(out: Path) -> list[str]:
        return ["-m", "gapfill.compare", *_COMPARE.format(data=data, out=out).split()]

    begun = time.monotonic()
    _run(words(folder / "whole"))
    length = time.monotonic() - begun
    expected = _scores(folder / "whole")
    number = 0
    while True:
        number += 1
        out = folder / f"killed-{number}"
        for _ in range(chance.randint(1, 3)):
            process = subprocess.Popen(
                [sys.executable, *words(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(chance.uniform(0.1, 0.9) * length)
            process.kill()
            process.wait()
        _run(words(out))
        found = _scores(out)
        yield None if found == expected else f"other scores: {found} instead of {expected}"


def _scores(out: Path) -> dict[str, object]:
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return {row["label"]: (row["weights_digest"], row["scores"]) for row in found["models"]}


def _differs(expected: Path, found: Path, killed: bool) -> str | None:
    import gapfill

    one = gapfill.load(expected / "model").state_dict()
    other = gapfill.load(found / "model").state_dict()
    for key, weight in one.items():
        if not torch.equal(weight, other[key]):
            return f"{found.name}: {key} differs"
    same = (expected / "log.jsonl").read_bytes() == (found / "log.jsonl").read_bytes()
    if killed and not same:  # a signal's run has a line more, at the step where it stopped
        return f"{found.name}: another log"
    left = [str(path) for path in found.rglob(".partial-*")]
    return f"{found.name}: left behind: {left}" if left else None


@functools.cache
def _server():
    """Starts processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gapfill.testing", "timm.optim", *_MODULES])
    return context


_MODULES = [f"gapfill.models.{name}" for name in MODELS]


@contextlib.contextmanager
def _started(work, *words):
    """A process that is about to begin its work; it is dead afterwards."""
    ready = _server().Event()
    process = _server().Process(target=work, args=(*words, ready))
    process.start()
    try:
        if not ready.wait(600):
            raise AssertionError("the process did not begin")
        yield process
    finally:
        process.kill()
        process.join()


def _to_the_end(work, *words) -> None:
    unheard = _server().Event()  # kept until the process has taken it
    process = _server().Process(target=work, args=(*words, unheard))
    process.start()
    process.join()
    if process.exitcode:
        raise AssertionError(f"exit {process.exitcode} of {words}")


def _run(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"exit {done.returncode}: {done.stderr[-800:]}")
