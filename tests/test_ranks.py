"""Two processes with half a batch each train as one with the whole batch."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

import gapfill
from gapfill.checkpoint import load
from gapfill.nets import BatchNorm2d

SCRIPT = """
import sys, torch
import gapfill
from gapfill import checkpoint, ranks, testing
from gapfill.data import Stream
from gapfill.randomness import seeded
torch.set_num_threads(1)
ranks.start("cpu")
name, out = sys.argv[1:]
# Each process draws its own dropout, so there is none here.
settings = {"size": 32, "width": 4} | ({"dropout": 0.0} if name == "dcgan" else {})
with seeded(ranks.rank()):  # other weights in each, until the first one's are sent
    model = gapfill.create(name, **settings)
stream = Stream(testing.pictures(model, 24), 8)
model.fit(stream, quiet=True, steps=4, precision="fp32", device="cpu", mask="rect", ema=0.0)
if ranks.rank() == 0:
    checkpoint.save(__import__("pathlib").Path(out), model.state_dict())
ranks.stop()
"""


STOPPED = """
import os, signal, sys, torch
import gapfill
from gapfill import ranks, testing
from gapfill.data import Stream
from gapfill.train.signals import InterruptedRun
torch.set_num_threads(1)
ranks.start("cpu")
_, out = sys.argv[1:]
vote = ranks.Vote()
asked = [vote(ranks.rank() == 1 and step == 1) for step in range(4)]
assert asked == [False, False, True, False], asked
assert vote.close() is False
told = []
class Telling(Stream):
    def block(self, first, count):
        if first and ranks.rank() == 1 and not told:
            told.append(first)
            os.kill(os.getpid(), signal.SIGTERM)
        return super().block(first, count)
model = gapfill.create("cnn", size=32, width=4, dropout=0.0)
stream = Telling(testing.pictures(model, 24), 8)
try:
    model.fit(stream, quiet=True, steps=100, precision="fp32", device="cpu", out=out)
    raise SystemExit(3)
except InterruptedRun as error:
    step = int(str(error).split("interrupted at step ")[1].split(" ")[0].strip("."))
    if ranks.rank() == 1:
        assert step == told[0] + 2, (step, told)  # the others hear of it a step later
    else:
        assert (__import__("pathlib").Path(out) / f"checkpoint-{step:08}.pt").exists()
ranks.stop()
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run(name, out, processes, script=SCRIPT):
    port = str(free_port())
    workers = []
    for rank in range(processes):
        world = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "GLOO_SOCKET_IFNAME": "lo",
        }
        environment = os.environ | (world if processes > 1 else {})
        workers.append(
            subprocess.Popen([sys.executable, "-c", script, name, str(out)], env=environment)
        )
    assert [worker.wait(1500) for worker in workers] == [0] * processes


@pytest.mark.parametrize("name", ["gan", "dcgan"])
def test_two_processes_train_as_one_with_the_same_global_batch(name, tmp_path):
    files = {processes: tmp_path / f"{processes}.pt" for processes in (1, 2)}
    for processes, file in files.items():
        run(name, file, processes)
    one, two = map(load, files.values())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = gapfill.create(name, size=32, width=4).state_dict()
    weights = [key for key, value in one.items() if value.is_floating_point()]
    moved = torch.cat([(one[key] - untrained[key]).flatten() for key in weights]).abs()
    apart = torch.cat([(one[key] - two[key]).flatten() for key in weights]).abs()
    # Sums over two halves round otherwise than over the whole, and Adam makes a full step of a
    # gradient that is all rounding: single weights may part (some 1e-2 of the largest move was
    # seen), while a gradient that is not averaged parts all of them by about their move.
    assert moved.mean() > 3e-4
    assert apart.mean() < 0.01 * moved.mean()
    assert apart.max() < 0.2 * moved.max()


def test_a_signal_to_one_process_stops_all_of_them_and_the_run_is_saved(tmp_path):
    run("", tmp_path / "run", 2, STOPPED)


def test_alone_our_batchnorm_is_torchs_to_the_bit():
    x = torch.randn(4, 3, 5, 5)
    ours, torchs = BatchNorm2d(3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours.running_var, torchs.running_var)
