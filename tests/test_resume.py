"""Kills, signals and processes: the same command again is the same run, bit for bit."""

import multiprocessing
import os
import random
import signal
import time
from copy import deepcopy

import pytest
import torch
from common import same

import gapfill
from gapfill import testing
from gapfill.data import Stream
from gapfill.randomness import seeded
from gapfill.train import InterruptedRun

MODELS = ["cnn", "gan", "dcgan"]
STEPS = 30


def fit_small(name, folder, **training):
    """One small, exactly repeatable run."""
    torch.set_num_threads(1)
    with seeded(0):
        narrow = {"critic_width": 4} if name == "dcgan" else {}
        model = gapfill.create(name, size=32, width=4, **narrow)
    images = testing.pictures(model, 24)
    settings = {
        "steps": STEPS,
        "precision": "fp32",
        "device": "cpu",
        "log_every": 2,
        "watch": 5,
        "save_seconds": 0.0,
        "mask": "rect+brush",
    }
    return model.fit(
        Stream(images, 4), out=folder, quiet=True, val=images[:4], **(settings | training)
    )


def work(name, folder):
    fit_small(name, folder).save(folder / "model")


@pytest.fixture(scope="module")
def start():
    """Start a process that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "gapfill.testing",
            "gapfill.models.gan",
            "timm.optim",
        ]
    )

    warm = context.Process(target=int)  # the imports must not count as a run's time
    warm.start()
    warm.join()

    def begin(*arguments):
        process = context.Process(target=work, args=arguments)
        process.start()
        return process

    return begin


def same_run(whole, other):
    """Fail unless two finished runs have the same weights and the same log."""
    one, two = gapfill.load(whole), gapfill.load(other)
    for key, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[key]), key
    assert (whole / "log.jsonl").read_text() == (other / "log.jsonl").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_ten_kills_at_random_moments_change_no_bit(name, start, tmp_path):
    whole = tmp_path / "whole"
    begun = time.perf_counter()
    process = start(name, whole)
    process.join()
    length = time.perf_counter() - begun
    assert process.exitcode == 0
    chance, kills, runs, resumed = random.Random(name), 0, 0, 0
    while kills < 10 or not resumed:
        folder = tmp_path / f"killed-{runs}"
        resumed += any(folder.glob("checkpoint-*.pt"))
        process = start(name, folder)
        time.sleep(chance.uniform(0.05, 0.6) * length)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
        else:  # it ended before the kill: the next one begins a new run
            same_run(whole, folder)
            runs += 1
    last = start(name, folder)
    last.join()
    assert last.exitcode == 0
    same_run(whole, folder)
    assert not list(folder.glob(".partial-*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_is_resumed(number, code, tmp_path):
    class Interrupting(Stream):
        def block(self, first, count):
            if first == 11:
                os.kill(os.getpid(), number)
            return super().block(first, count)

    model = gapfill.create("cnn", size=32, width=4)
    initial = deepcopy(model.state_dict())
    stream, before = Interrupting(testing.pictures(model, 24), 4), signal.getsignal(number)
    with pytest.raises(
        InterruptedRun, match=r"interrupted at step 12 and saved in .*same"
    ) as caught:
        model.fit(stream, out=tmp_path, quiet=True, steps=STEPS, precision="fp32", device="cpu")
    assert caught.value.exit_code == code
    assert (tmp_path / "checkpoint-00000012.pt").is_file()
    assert signal.getsignal(number) is before
    settings = {"quiet": True, "steps": STEPS, "precision": "fp32", "device": "cpu"}
    models = [gapfill.create("cnn", size=32, width=4) for _ in range(2)]
    for each in models:
        each.load_state_dict(initial)
    for each, out in zip(models, (tmp_path, None), strict=True):
        each.fit(Stream(testing.pictures(each, 24), 4), out=out, **settings)
    assert same(*models)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = fit_small("gan", tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("checkpoint-*")}
    second = fit_small("gan", tmp_path)
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("checkpoint-*")} == before
    for one, two in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_samples_are_written_as_it_goes(tmp_path):
    fit_small("cnn", tmp_path)
    assert len(list((tmp_path / "samples").glob("step-*.png"))) == 5
