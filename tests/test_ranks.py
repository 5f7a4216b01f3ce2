"""Two processes with half a batch each train as one with the whole batch."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import gapfill
from gapfill import ranks
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


class Sums:
    """Stands in for the other of two processes, which has three times our gradients."""

    def __init__(self, layers):
        self.layers, self.sent, self.done = layers, [], []

    def all_reduce(self, flat, async_op=False):
        assert async_op
        there = [layer.weight.grad is not None for layer in self.layers]
        self.sent.append((flat.numel(), there))
        ours = flat.clone()

        def wait():
            flat.add_(3 * ours)
            self.done.append(flat.numel())

        return SimpleNamespace(wait=wait)


@pytest.fixture
def two(monkeypatch):
    def join(layers):
        sums = Sums(layers)
        monkeypatch.setattr(ranks, "world", lambda: 2)
        monkeypatch.setattr(ranks.distributed, "all_reduce", sums.all_reduce)
        return sums

    return join


def test_gradients_of_the_last_layers_travel_while_the_first_are_computed(two, monkeypatch):
    layers = [nn.Linear(3, 3) for _ in range(3)]
    weights = [weight for layer in layers for weight in layer.parameters()]
    loss = nn.Sequential(*layers)(torch.randn(2, 3)).sum()
    alone = torch.autograd.grad(loss, weights, retain_graph=True)
    sums = two(layers)
    monkeypatch.setattr(ranks, "_PIECE", 12 * 4)  # a layer's own nine weights and three biases
    with ranks.averaging(weights):
        loss.backward(inputs=weights)
        assert [size for size, _ in sums.sent] == [12, 12, 12]
        assert sums.sent[0][1] == [False, False, True]
        assert sums.sent[1][1] == [False, True, True]
        assert not sums.done
    assert sums.done == [12, 12, 12]
    for weight, own in zip(weights, alone, strict=True):
        torch.testing.assert_close(weight.grad, 2 * own)  # (own + 3 own) / 2
    assert not any(weight._post_accumulate_grad_hooks for weight in weights)


def test_weights_without_a_gradient_hold_nothing_up(two, monkeypatch):
    layers = [nn.Linear(2, 2, bias=False) for _ in range(3)]
    sums = two(layers)
    monkeypatch.setattr(ranks, "_PIECE", 16)
    weights = [layer.weight for layer in layers]
    with ranks.averaging(weights):
        layers[0](torch.ones(1, 2)).sum().backward()
    assert [size for size, _ in sums.sent] == [4]
    torch.testing.assert_close(weights[0].grad, torch.full((2, 2), 2.0))
    assert weights[1].grad is None


def test_a_script_that_torchrun_starts_needs_no_call_to_join(tmp_path):
    script = SCRIPT.replace('ranks.start("cpu")\n', "").replace("ranks.stop()\n", "")
    assert "start" not in script
    run("gan", tmp_path / "joined.pt", 2, script)
    run("gan", tmp_path / "told.pt", 2)
    joined, told = load(tmp_path / "joined.pt"), load(tmp_path / "told.pt")
    assert all(torch.equal(joined[key], told[key]) for key in joined)


SAVING = """
import sys, time, torch
import gapfill
from gapfill import ranks, testing
from gapfill.data import Stream
torch.set_num_threads(1)
ranks.start("cpu")
_, out = sys.argv[1:]
model = gapfill.create("cnn", size=32, width=4, dropout=0.0)
images = testing.pictures(model, 24)
def look(look):
    time.sleep(0.3)  # the first process falls behind the other's clock
settings = {"log_every": 2, "watch": 6, "save_seconds": 0.3, "precision": "fp32", "steps": 24}
stream = Stream(images, 8)
model.fit(stream, val=images[:4], out=out, quiet=True, on_look=look, device="cpu", **settings)
ranks.stop()
"""


def test_processes_whose_clocks_differ_save_without_waiting_for_each_other(tmp_path):
    run("", tmp_path / "run", 2, SAVING)
    assert (tmp_path / "run" / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, False),
        ({"WORLD_SIZE": "1", "RANK": "0"}, False),
        ({"WORLD_SIZE": "2"}, False),
        ({"WORLD_SIZE": "2", "RANK": "0", "SLURM_NTASKS": "8"}, True),
    ],
)
def test_only_torchrun_makes_a_process_one_of_several(monkeypatch, variables, several):
    for name in ("WORLD_SIZE", "RANK", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.launched() is several
