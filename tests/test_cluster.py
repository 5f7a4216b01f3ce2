"""Runs on a Dask cluster of two workers: one that is lost, an interrupt, refusals."""

import importlib.util
import os
import signal

import pytest
from common import message, same

import gapfill
from gapfill.compare import cluster, command, given, jobs
from gapfill.compare.training import run_of
from gapfill.data.faces import generate
from gapfill.errors import GapfillError
from gapfill.train import InterruptedRun
from gapfill.train.folder import checkpoints
from gapfill.train.lock import Lock

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed"
)
# Workers that are killed leave connections and files behind, in this process too.
loud = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def workers():
    """Two workers, each a process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as made:
        yield made


@pytest.fixture
def planned(tmp_path):
    table = given.tables(generate(40, 32), None, None, None, "auto", [])[0]

    def make(*words, out=tmp_path):
        words = ["--models", "cnn:width=4,watch=1", "--size", "32", "--batch-size", "8", *words]
        words += ["--precision", "fp32", "--device", "cpu", "--out", str(out)]
        return command.make_plan(command.parser().parse_args(words), opened=(table, None))

    return make


def dask(workers):
    return "--executor", workers.scheduler_address.replace("tcp:", "dask:")


def run(plan):
    return run_of(plan, plan.entries[-1], 0)


@needs_dask
@loud
@pytest.mark.slow
def test_a_run_whose_worker_is_lost_goes_on_elsewhere(workers, planned, monkeypatch, tmp_path):
    from distributed import Client

    said, length = [], ("--steps", "150")

    def hear(job, line):
        said.append(line)
        if "steps, about" in line and len(killed) < 1:
            [address] = [where for where, keys in client.processing().items() if keys]
            killed.append(pids[address])
            os.kill(killed[0], signal.SIGKILL)

    killed = []
    with Client(workers, set_as_default=False) as client:
        pids = client.run(os.getpid)
        monkeypatch.setattr(cluster, "tell", hear)
        plan = planned(*dask(workers), *length)
        assert jobs.train(plan) == {}
    assert len(killed) == 1
    assert any("of them made before" in line for line in said)
    alone = run(planned(*length, out=tmp_path / "alone")).model()
    assert same(gapfill.load(run(plan).home), alone)
    assert not (tmp_path / "jobs").exists()


@needs_dask
@loud
@pytest.mark.slow
def test_an_interrupt_saves_what_the_workers_train(workers, planned, monkeypatch):
    said = []

    def hear(job, line):
        said.append(line)
        if "steps, about" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(cluster, "tell", hear)
    plan = planned(*dask(workers), "--steps", "100000")
    with pytest.raises(InterruptedRun, match="every run is saved in") as caught:
        jobs.train(plan)
    assert caught.value.exit_code == 143
    home = run(plan).home
    [(step, _)] = checkpoints(home)
    assert said[-1].startswith(f"interrupted at step {step} and saved in {home}.")
    lock = Lock(home)
    lock.acquire()  # nobody trains there any more
    lock.release()


@needs_dask
def test_an_address_where_nobody_answers_is_told(planned, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT", 0.2)
    text = message(jobs.train, planned("--executor", "dask://127.0.0.1:1"), error=GapfillError)
    assert text == "no Dask scheduler answers at 127.0.0.1:1."


def test_what_is_wrong_with_an_executor_is_told_before_the_work(planned, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "distributed" or None)
    for text in ("tcp://here:8786", "dask://here", "dask:"):
        said = message(planned, "--executor", text)
        assert said == f"--executor takes dask://HOST:PORT; got '{text}'."
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert message(planned, "--executor", "dask://here:8786") == (
        "--executor dask://… needs Dask's distributed, which is not installed: "
        "pip install distributed"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    assert message(planned, "--executor", "dask://here:8786", "--jobs", "2") == (
        "give --jobs or --executor: a cluster's workers say how many at a time."
    )
