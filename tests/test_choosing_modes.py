"""Which way of making a step is chosen, with a GPU's timings and processes stood in for."""

import gc
import json
import weakref
from types import SimpleNamespace

import pytest
import torch
from common import Ending, Killed, same
from torch import nn

import gapfill
from gapfill import nets, ranks, testing
from gapfill.data import Stream
from gapfill.errors import UsageError
from gapfill.randomness import seeded
from gapfill.train import compiled, decisions, trainer
from gapfill.train.engine import Engine
from gapfill.train.folder import RunFolder
from gapfill.train.mode import FEW, LONG, compile_losses, resolve_mode
from gapfill.types import Update

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def an_update(kind=torch.optim.Adam):
    return Update("a", kind([torch.zeros(1)]), lambda batch: {})


def test_a_graph_is_the_choice_where_it_can_be_had_and_is_refused_where_not():
    update, plain = an_update(), an_update(torch.optim.SGD)
    assert resolve_mode("auto", CPU, [update]) == "eager"
    assert resolve_mode("compile", CPU, [update]) == "compile"
    with pytest.raises(UsageError, match=r"^--mode graph asked, but it needs a CUDA device\.$"):
        resolve_mode("graph", CPU, [update])
    assert resolve_mode("auto", CUDA, [update]) == "graph"
    assert resolve_mode("auto", CUDA, [plain]) == "eager"
    with pytest.raises(UsageError, match="but SGD cannot be captured in a CUDA graph"):
        resolve_mode("graph", CUDA, [plain])


def test_several_processes_capture_when_they_are_asked_to_and_talk_over_nccl(monkeypatch):
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "over_nccl", lambda: True)
    assert resolve_mode("auto", CUDA, [an_update()]) == "eager"
    assert resolve_mode("graph", CUDA, [an_update()]) == "graph"
    monkeypatch.setattr(ranks, "over_nccl", lambda: False)
    assert resolve_mode("auto", CUDA, [an_update()]) == "eager"
    with pytest.raises(UsageError, match=r"can be captured over NCCL alone\.$"):
        resolve_mode("graph", CUDA, [an_update()])
    with pytest.raises(UsageError, match="but several processes train together"):
        resolve_mode("compile", CUDA, [an_update()])


def test_batchnorm_of_several_gpus_is_torchs_own(monkeypatch):
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", lambda self, x: "torch's")
    layer = nets.BatchNorm2d(3)
    assert layer(SimpleNamespace(is_cuda=True)) == "torch's"
    monkeypatch.setattr(ranks, "total", lambda x: 2 * x)  # the other process has the same pictures
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(layer(x), nn.BatchNorm2d(3)(x))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 5, 5)], ids=str)
def test_batchnorm_takes_maps_alone_as_torchs_does(shape):
    with pytest.raises(ValueError, match="expected 4D input"):
        nets.BatchNorm2d(3)(torch.zeros(shape))


class Stub:
    """An engine that can be compiled, or falls back as a real one does."""

    def __init__(self, falls_to="compile"):
        self.mode, self.falls_to = "graph", falls_to

    def take(self, mode):
        self.mode = self.falls_to if mode == "compile" else mode


@pytest.mark.parametrize(
    ("seconds", "mode", "said"),
    [
        (0.0017, "compile", "the losses are compiled for this long run: 1.7 ms a step, 2.4 with"),
        (0.0031, "graph", "compiled losses are no faster here (3.1 ms a step, 2.4 without); goi"),
    ],
)
def test_losses_stay_compiled_where_that_was_faster(seconds, mode, said):
    engine = Stub()
    assert compile_losses(engine, lambda: seconds, 0.0024).startswith(said)
    assert engine.mode == mode


def test_a_run_that_began_with_compiled_losses_goes_on_so_however_fast_it_is():
    engine = Stub()
    line = compile_losses(engine, lambda: 1.0, None)
    assert (engine.mode, line) == (
        "compile",
        "the losses are compiled, as they were when this run began",
    )


def test_where_nothing_can_be_compiled_the_run_goes_on_without():
    def fail():
        error = RuntimeError("backend='inductor' raised:\nTritonMissing: Cannot find Triton.")
        error.inner_exception = ValueError("Cannot find Triton.\nMore on it.")  # as PyTorch does
        raise error

    engine = Stub()
    assert compile_losses(engine, fail, 0.0024) == (
        "the losses cannot be compiled here (Cannot find Triton); going on without"
    )
    assert engine.mode == "graph"
    uncapturable = Stub(falls_to="graph")
    line = compile_losses(uncapturable, lambda: 0.001, 0.0024)
    assert (uncapturable.mode, line) == ("graph", "going on without compiled losses")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """A trainer that could capture, whose steps take as long as the test says."""
    seconds = {"graph": 0.0, "compile": 0.0}
    timed = []

    def time_steps(engine, step):
        engine.prepare(10)
        step(0, 0)  # moves weights, which must be undone
        timed.append(engine.mode)
        return seconds[engine.mode]

    monkeypatch.setattr(trainer, "resolve_mode", lambda *given: "graph")
    monkeypatch.setattr(decisions, "time_steps", time_steps)
    monkeypatch.setattr(compiled, "_compiled", lambda loss: loss)
    return seconds, timed


def fit(folder, loader=None, **more):
    with seeded(0):
        model = gapfill.create("cnn", size=32, width=4)
    images = testing.pictures(model, 12)
    given = {"steps": 4, "precision": "fp32", "device": "cpu", "log_every": 1} | more
    return model.fit(loader or Stream(images, 4), out=folder, **given)


def decided(folder):
    return json.loads((folder / "plan.json").read_text())["decided"]


def test_a_long_run_compiles_its_losses_and_goes_on_so(as_on_a_gpu, monkeypatch, tmp_path, capsys):
    seconds, timed = as_on_a_gpu
    monkeypatch.setattr(decisions, "FEW", 3)
    seconds |= {"graph": LONG / 4, "compile": LONG / 8}
    expected = fit(None, mode="eager")
    capsys.readouterr()
    with pytest.raises(Killed):
        fit(tmp_path, Ending(2, testing.pictures(expected, 12)), save_seconds=0)
    assert "the losses are compiled for this long run" in capsys.readouterr().err
    assert decided(tmp_path)["mode"] == "compile"
    model = fit(tmp_path)
    assert "as they were when this run began" in capsys.readouterr().err
    assert model.training_cost["mode"] == "compile"
    assert timed == ["graph", "compile", "compile"]
    assert same(model, expected)


@pytest.mark.parametrize("more", [{}, {"mode": "graph"}, {"steps": 2}], ids=str)
def test_a_short_run_or_one_told_how_is_not_compiled(as_on_a_gpu, monkeypatch, tmp_path, more):
    seconds, _ = as_on_a_gpu
    monkeypatch.setattr(decisions, "FEW", 3)
    seconds["graph"] = LONG / 5 if not more else LONG
    assert fit(tmp_path, **more).training_cost["mode"] == "graph"
    assert decided(tmp_path)["mode"] == "graph"


def test_a_run_whose_steps_cannot_be_captured_is_not_compiled(as_on_a_gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(decisions, "FEW", 3)

    def time_steps(engine, step):
        engine.take("eager")  # as where a capture failed
        return LONG

    monkeypatch.setattr(decisions, "time_steps", time_steps)
    assert fit(tmp_path).training_cost["mode"] == "eager"
    assert decided(tmp_path)["mode"] == "eager"


@pytest.mark.parametrize(("budget", "timed"), [("899s", []), ("900s", ["graph", "compile"])])
def test_a_budget_says_by_itself_whether_it_is_long(as_on_a_gpu, monkeypatch, budget, timed):
    monkeypatch.setattr(decisions, "rehearse", lambda *given: (3, 1))
    as_on_a_gpu[0]["graph"] = 1.0
    fit(None, steps=None, budget=budget)
    assert as_on_a_gpu[1] == timed


def test_a_finished_run_compiles_nothing_when_it_is_made_again(as_on_a_gpu, monkeypatch, tmp_path):
    seconds, timed = as_on_a_gpu
    monkeypatch.setattr(decisions, "FEW", 3)
    seconds["graph"] = LONG
    fit(tmp_path)
    assert timed == ["graph", "compile"]
    fit(tmp_path)
    assert timed == ["graph", "compile"]


def test_a_run_leaves_nothing_behind_that_only_a_collection_frees(monkeypatch, tmp_path):
    engines, make = [], Engine.__init__

    def noted(self, *given, **more):
        make(self, *given, **more)
        engines.append(weakref.ref(self))

    monkeypatch.setattr(Engine, "__init__", noted)
    gc.collect()
    gc.disable()
    try:
        fit(tmp_path)
        assert [engine() for engine in engines] == [None]
    finally:
        gc.enable()


def test_runs_of_few_steps_are_not_timed(as_on_a_gpu, tmp_path):
    assert FEW > 100
    fit(tmp_path, steps=5)
    assert as_on_a_gpu[1] == []


def test_a_loaders_batches_are_not_spent_on_timing(as_on_a_gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(decisions, "FEW", 1)
    images = list(testing.pictures(gapfill.create("cnn", size=32, width=4), 12))
    fit(tmp_path, torch.utils.data.DataLoader(images, 4))
    assert as_on_a_gpu[1] == []


def test_a_run_of_an_earlier_version_that_decided_on_no_mode_goes_on(monkeypatch, tmp_path):
    expected, write = fit(None), RunFolder.write_plan

    def without(folder, wanted, known):
        write(folder, wanted, {key: known[key] for key in known if key != "mode"})

    monkeypatch.setattr(RunFolder, "write_plan", without)
    with pytest.raises(Killed):
        fit(tmp_path, Ending(2, testing.pictures(expected, 12)), save_seconds=0)
    monkeypatch.undo()
    assert "mode" not in decided(tmp_path)
    assert same(fit(tmp_path), expected)
