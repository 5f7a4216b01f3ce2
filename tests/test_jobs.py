"""Runs side by side: the same results, interrupts, failures, what is handed over."""

import json
import os
import signal
import time
from typing import ClassVar

import pytest
import torch
from common import message, same

import gapfill
from gapfill import checkpoint, masks, registry
from gapfill.compare import command, estimate, given, job, jobs, stages
from gapfill.compare.training import Run
from gapfill.data.faces import generate
from gapfill.errors import GapfillError
from gapfill.models.cnn import CNN
from gapfill.recipe import Recipe
from gapfill.train import InterruptedRun
from gapfill.train.folder import checkpoints
from gapfill.train.lock import Lock

SMALL = {"steps": 3, "batch_size": 8, "device": "cpu", "precision": "fp32", "seed": 1}
TIMES = {"created", "seconds", "images_per_second", "latency_ms", "throughput"}
# Of what holds times: a run's weights keep how long it took, the whole file is sealed.
TIMES |= {"weights_digest", "digest"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("gapfill.compare.evaluate._median_seconds", lambda *a: 0.01)


@pytest.fixture(scope="module")
def images():
    return generate(40, 32)


def a_run(images, home, steps=3, mask="center", **train):
    recipe = {"model": "cnn", "settings": {"size": 32, "width": 4}, "mask": mask, "batch_size": 8}
    recipe = gapfill.recipe.build(Recipe, recipe | {"train": {"steps": steps, **train}})
    return Run(
        "mine", 1, home / "seed-1", recipe, images[:30], images[30:], "ours", "cpu", None,
        home / "board", False,
    )  # fmt: skip


def timeless(value):
    """A JSON value without what no two comparisons share."""
    if isinstance(value, dict):
        return {name: timeless(item) for name, item in value.items() if name not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def test_side_by_side_gives_the_results_of_one_after_the_other(images, tmp_path, capsys):
    models = ["cnn:width=4", "gan:width=4,l1=1e39"]
    found = []
    for count, logger in ((1, None), (2, "tensorboard")):
        out = tmp_path / str(count)
        gapfill.compare(models, images, out=out, jobs=count, logger=logger, **SMALL)
        found.append(json.loads((out / "results.json").read_text()))
    one, two = map(timeless, found)
    assert one == two
    assert [row["runs"][0]["diverged"] for row in two["models"]] == [False, False, False, True]
    homes = [tmp_path / count / "models" / "cnn-width=4" / "seed-1" for count in "12"]
    assert same(*map(gapfill.load, homes))
    said = capsys.readouterr().err
    assert "2 runs to train, 2 at a time, with 1 thread each\ncnn:width=4, seed 1: begins\n" in said
    assert "\ncnn:width=4, seed 1: 3 steps in " in said
    assert "\ngan:width=4,l1=1e39, seed 1: loss is infinite at step " in said
    boards = (tmp_path / "2" / "tensorboard").glob("*/*/events*")
    assert "cnn-width=4" in {path.parent.parent.name for path in boards}  # gan came to no look
    assert not (tmp_path / "2" / "jobs").exists()


def test_a_process_that_nobody_wants_any_more_saves_its_run(images, tmp_path):
    run = a_run(images, tmp_path, steps=100_000)
    lines = []
    child = job.Child(jobs.write(run, tmp_path) | {"named": True}, lines.append, threads=1)
    while not any("steps, about" in line for line in lines) and not child.ended():
        time.sleep(0.05)
    assert run.home.name in message(Lock(run.home).acquire)
    child.stop()
    error = str(child.close())
    [(step, _)] = checkpoints(run.home)
    assert error.startswith(f"interrupted at step {step} and saved in {run.home}. To resume, ")
    assert lines[-1] == error
    # What it left is the run that any process goes on with.
    assert run.settings()["steps"] == 100_000
    model, stopped = run.create(), a_run(images, tmp_path, steps=100_000)
    wanted = model.identity(stopped.stream(), **stopped.settings(), val=stopped.validation)
    plan = checkpoint.read_json(run.home / "plan.json")
    assert plan["wanted"] == json.loads(json.dumps(wanted))


def test_a_run_that_fails_says_why(planned, tmp_path, capsys):
    home = tmp_path / "models" / "cnn-width=4" / "seed-0"
    home.mkdir(parents=True)
    (home / "plan.json").write_text("{}")
    plan = planned("--models", "cnn:width=4", "--jobs", "2", "--steps", "3")
    [(label, error)] = jobs.train(plan).items()
    assert (label, type(error)) == ("cnn:width=4", GapfillError)
    assert str(error).startswith(f"{home / 'plan.json'} is no plan of this version of gapfill.")
    assert capsys.readouterr().err.endswith(f"cnn:width=4, seed 0: failed: {error}\n")


class Stub:
    """Stands in for a process: ends at once, or when it is told to."""

    made: ClassVar[list]
    lasts: ClassVar[bool]
    error: ClassVar[GapfillError | None]

    def __init__(self, job, say, threads):
        self.job, self.threads, self.stopped = job, threads, False
        Stub.made.append(self)

    def ended(self):
        return not self.lasts or self.stopped

    def stop(self):
        self.stopped = True

    def close(self):
        return self.error if self.job["label"] == "cnn:width=4" else None


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(jobs, "Child", Stub)
    monkeypatch.setattr(jobs, "_PAUSE", 0)
    for name, value in {"made": [], "lasts": False, "error": None}.items():
        monkeypatch.setattr(Stub, name, value, raising=False)
    return Stub


@pytest.fixture
def planned(images, tmp_path):
    """A plan from words of the command line."""

    def make(*words):
        table = given.tables(images, None, None, None, "auto", [])[0]
        words = ["--device", "cpu", "--size", "32", "--out", str(tmp_path), *words]
        options = command.parser().parse_args(words)
        return command.make_plan(options, opened=(table, None))

    return make


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_runs_and_says_how_to_go_on(planned, stub, monkeypatch, number, code):
    plan = planned("--models", "cnn:width=4", "gan:width=4", "--seeds", "2", "--jobs", "2")
    monkeypatch.setattr(stub, "lasts", True)
    monkeypatch.setattr(jobs.time, "sleep", lambda _: os.kill(os.getpid(), number))
    with pytest.raises(InterruptedRun, match="every run is saved in") as caught:
        jobs.train(plan)
    assert caught.value.exit_code == code
    assert [each.stopped for each in stub.made] == [True, True]  # of four, two had begun


def test_a_failure_ends_no_other_run(planned, stub, monkeypatch):
    monkeypatch.setattr(stub, "error", GapfillError("no luck"))
    plan = planned("--models", "cnn:width=4", "gan:width=4", "--seeds", "2", "--jobs", "3")
    assert {label: str(error) for label, error in jobs.train(plan).items()} == {
        "cnn:width=4": "no luck"
    }
    assert [(each.job["label"], each.job["seed"]) for each in stub.made] == [
        (label, seed) for label in ("cnn:width=4", "gan:width=4") for seed in (0, 1)
    ]


def test_what_a_wildcard_chose_is_left_out_when_it_fails(planned, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "train", lambda plan: {"cnn": GapfillError("no luck")})
    results = stages.carry_out(planned("--models", "cn[n]", "--jobs", "2"))
    assert results["left_out"] == {"cnn": "no luck"}
    assert [row["label"] for row in results["models"]] == ["mean", "telea"]


def test_runs_share_the_threads_or_take_the_gpus_in_turn(planned, stub, monkeypatch, capsys):
    plan = planned("--models", "cnn:width=4", "--seeds", "3", "--jobs", "3")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(7)
        with jobs.alike(plan) as slower:
            assert (torch.get_num_threads(), slower) == (2, 1)
        jobs.train(plan)
    finally:
        torch.set_num_threads(threads)
    assert {each.threads for each in stub.made} == {2}
    assert "3 runs to train, 3 at a time, with 2 threads each\n" in capsys.readouterr().err
    monkeypatch.setattr("gapfill.ranks.resolve", lambda device: torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(stub, "made", [])
    jobs.train(plan)
    assert [each.job["device"] for each in stub.made] == ["cuda:0", "cuda:1", "cuda:0"]
    with jobs.alike(plan) as slower:
        assert slower == 2
    monkeypatch.setattr("gapfill.ranks.resolve", lambda device: torch.device("cuda:1"))
    assert jobs.devices(plan) == ["cuda:1"]


def test_a_model_that_only_this_process_knows_is_left_to_it(planned, stub, monkeypatch, capsys):
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))

    @gapfill.register("odd_one")
    class Odd(CNN):
        """Registered here alone."""

    assert not registry.everywhere("odd_one")
    jobs.train(planned("--models", "odd_one:width=4", "cnn:width=4", "--jobs", "2"))
    assert [each.job["label"] for each in stub.made] == ["cnn:width=4"]
    assert (
        "odd_one:width=4 is trained after the others: 'odd_one' is regi" in capsys.readouterr().err
    )


def test_a_run_comes_out_of_its_description_as_it_went_in(images, tmp_path):
    hole = torch.zeros(2, 1, 32, 32)
    hole[:, :, 4:20, 4:20] = 1
    run = a_run(images, tmp_path, mask=masks.Handed(hole), clip=0.5)
    found = jobs.read(json.loads(json.dumps(jobs.write(run, tmp_path / "jobs"))))
    for name, value in vars(run).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(found, name), value)
        else:
            assert getattr(found, name) == value
    assert torch.equal(found.recipe.mask.bank, run.recipe.mask.bank)
    assert (
        jobs.read(jobs.write(a_run(images[:31], tmp_path / "b"), tmp_path)).recipe.mask == "center"
    )


def test_the_estimate_is_for_runs_side_by_side(planned):
    plan = planned("--models", "cnn:width=4", "--seeds", "5", "--jobs", "2", "--budget", "60s")
    assert (
        estimate.forecast(plan)
        == "training: cnn:width=4 60 s × 5 · about 2 min in all, 2 at a time"
    )
    plan = planned("--models", "cnn:width=4", "--jobs", "2", "--budget", "60s")
    assert estimate.forecast(plan).endswith(" · about 60 s in all, 2 at a time")


def test_how_many_at_a_time_is_not_what_a_comparison_is(planned, monkeypatch):
    one, two = planned("--models", "cnn"), planned("--models", "cnn", "--jobs", "2")
    assert one.command == two.command
    assert one.wanted == two.wanted
    assert message(planned, "--jobs", "0") == "--jobs must be 1 to 1000; got 0."
