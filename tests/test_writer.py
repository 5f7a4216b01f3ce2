"""Checkpoints written while training goes on: whole, of their step, and never lost in silence."""

import os
import signal
import threading

import pytest
import torch
from common import Ending, Killed, message

import gapfill
from gapfill import checkpoint, testing
from gapfill.data import Stream
from gapfill.errors import GapfillError
from gapfill.train import InterruptedRun, folder
from gapfill.train.folder import RunFolder
from gapfill.train.state import Saved, on_host, snapshot
from gapfill.train.writer import Writer

SETTINGS = {"steps": 6, "precision": "fp32", "device": "cpu", "log_every": 1, "save_seconds": 0}


def model():
    return gapfill.create("cnn", size=32, width=4)


def pictures():
    return testing.pictures(model(), 12)


def fit(place, stream, **more):
    return model().fit(stream, out=place, quiet=True, **(SETTINGS | more))


def state(weight, **more):
    found = {"step": 1, "module": {"weight": weight}, "ema": None, "optimizers": ()}
    found |= {"run": "", "best": 0.0, "best_weights": None, "seconds": 0.0, "batch_size": 1}
    return Saved(**(found | {"log": ""} | more))


class Held:
    """Stands in for `checkpoint.save`, and writes nothing before it is let go."""

    def __init__(self, monkeypatch):
        self.save, self.free = checkpoint.save, threading.Event()
        monkeypatch.setattr(folder.checkpoint, "save", self)

    def __call__(self, path, values):
        assert self.free.wait(60)
        self.save(path, values)


def test_a_checkpoint_is_of_its_step_though_the_weights_move_on(tmp_path, monkeypatch):
    held, weight = Held(monkeypatch), torch.zeros(3)
    run = RunFolder(tmp_path, print)
    run.save(state(weight))
    weight += 1
    held.free.set()
    run.settle()
    assert (
        checkpoint.load(tmp_path / "checkpoint-00000001.pt")["module"]["weight"].tolist() == [0] * 3
    )


def test_a_copy_keeps_what_shares_memory_together():
    shared, own = torch.ones(3), torch.ones(3)
    given = state(shared, ema={"weight": shared.view(3), "other": own}, best_weights={"w": own})
    copied = on_host(*snapshot(given))
    assert copied.module["weight"] is copied.ema["weight"] is not shared
    assert copied.ema["other"] is not own
    shared += 1
    assert copied.module["weight"].tolist() == [1, 1, 1]


def test_work_is_done_one_after_the_other():
    writer, free, done = Writer(), threading.Event(), []
    writer.begin(lambda: (free.wait(60), done.append(1)))
    threading.Timer(0.1, free.set).start()
    writer.begin(lambda: done.append(2))
    writer.wait()
    assert done == [1, 2]


@pytest.mark.parametrize("ask", ["check", "wait", "begin"])
def test_what_failed_is_told_once_in_one_line(ask):
    def fail():
        raise MemoryError("no\nroom")

    writer = Writer()
    writer.begin(fail)
    writer._thread.join()
    arguments = [print] if ask == "begin" else []
    text = message(getattr(writer, ask), *arguments, error=GapfillError)
    assert text == r"a checkpoint cannot be written (MemoryError: no\nroom)."
    writer.check()
    writer.wait()


@pytest.mark.parametrize("step", [2, 6])
def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_its_own_line(
    step, tmp_path, monkeypatch
):
    save = checkpoint.save

    def full(path, values):
        if values["step"] == step:
            raise GapfillError(f"cannot write {path}: No space left on device.")
        save(path, values)

    monkeypatch.setattr(folder.checkpoint, "save", full)
    text = message(fit, tmp_path, Stream(pictures(), 4), error=GapfillError)
    assert text == f"cannot write {tmp_path}/checkpoint-{step:08}.pt: No space left on device."
    assert (tmp_path / f"checkpoint-{step - 1:08}.pt").is_file()
    assert not (tmp_path / f"checkpoint-{step + 1:08}.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_checkpoint_is_written_leaves_it_and_the_next(
    number, tmp_path, monkeypatch
):
    held = Held(monkeypatch)

    class Interrupting(Stream):
        def block(self, first, count):
            if first == 3:
                assert not list(tmp_path.glob("checkpoint-*"))
                os.kill(os.getpid(), number)
                held.free.set()
            return super().block(first, count)

    with pytest.raises(InterruptedRun, match="interrupted at step 4 and saved"):
        fit(tmp_path, Interrupting(pictures(), 4), log_every=3)
    found = sorted(tmp_path.glob("checkpoint-*"))
    assert [checkpoint.load(path)["step"] for path in found] == [3, 4]


def test_whatever_ends_a_run_its_checkpoint_is_there(tmp_path, monkeypatch):
    held = Held(monkeypatch)

    class Broken(Ending):
        def block(self, first, count):
            if first == self.last:
                threading.Timer(0.1, held.free.set).start()
            return super().block(first, count)

    with pytest.raises(Killed):
        fit(tmp_path, Broken(1, pictures()))
    assert checkpoint.load(tmp_path / "checkpoint-00000001.pt")["step"] == 1


def test_a_run_that_is_told_to_stop_and_cannot_save_says_so(tmp_path, monkeypatch):
    def full(path, values):
        raise GapfillError("cannot write it: No space left on device.")

    class Interrupting(Stream):
        def block(self, first, count):
            if first == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().block(first, count)

    monkeypatch.setattr(folder.checkpoint, "save", full)
    text = message(fit, tmp_path, Interrupting(pictures(), 4), log_every=6, error=GapfillError)
    assert text == "cannot write it: No space left on device."
