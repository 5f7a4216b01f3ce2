"""Eager, compiled and captured steps: the same numbers, and no others are taken for them."""

import os
import shutil
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch._dynamo.backends.debugging import aot_eager
from torch.utils._python_dispatch import TorchDispatchMode

import gapfill
from gapfill import losses, nets, testing
from gapfill.compute import CaptureError
from gapfill.data import Stream
from gapfill.data.feed import MaskedBatches
from gapfill.errors import GapfillError
from gapfill.inpainter import Inpainter
from gapfill.optim import optimizers_of
from gapfill.randomness import seeded
from gapfill.registry import model_class
from gapfill.train import Training, compiled, engine
from gapfill.train.engine import Engine
from gapfill.train.ledger import Losses
from gapfill.types import Batch, Update, every
from gapfill.untraced import untraced

CPU = torch.device("cpu")
LEARNED = [name for name in gapfill.list_models() if model_class(name).optimised()]


def small(name):
    fields = model_class(name).Config.__dataclass_fields__
    narrow = {"size": 32} | {key: 4 for key in ("width", "critic_width") if key in fields}
    with seeded(0):
        return gapfill.create(name, **narrow)


class Tiny(Inpainter):
    """Two convolutions: what inductor makes of more takes a minute to compile."""

    @dataclass(frozen=True)
    class Config:
        size: int = 32

    def __init__(self, config):
        super().__init__(config)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nets.BatchNorm2d(4), nn.ReLU())
        self.out = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def fill(self, known, mask):
        return self.out(self.net(known)).tanh()

    def loss(self, batch):
        return {"l1": losses.l1(self.filled(batch), batch.image, batch.mask)}

    def updates(self):
        return [Update("network", torch.optim.Adam(self.parameters()), self.loss)]


def first_steps(model, mode, device="cpu"):
    """Losses and gradients of two steps that move no weight, by update and weight.

    After a step of Adam one rounding is a whole learning rate wherever a gradient is nearly zero,
    so that weights say nothing after a few steps. With a rate of zero the second step's gradients
    are those of the initial weights too, on another batch.
    """
    model = model.to(device)
    stream = Stream(testing.pictures(model, 24), 8, device=torch.device(device))
    batches = MaskedBatches(stream, "rect", 0, torch.device(device))
    updates, seen = model.updates(), {}
    for optimizer in optimizers_of(updates):
        for group in optimizer.param_groups:
            group["lr"] = 0.0
    names = {id(weight): key for key, weight in model.named_parameters()}
    # Named, a mode that cannot be had is an error and no other one.
    settings = Training(steps=2, precision="fp32", ema=0.0, mode=mode)
    made = Engine(model, updates, settings, "fp32", mode)
    made.prepare(2)
    for step in range(2):
        losses = made.step(step, batches(step))
        seen |= {f"{step} {key}": x for key, x in zip(losses.names, losses.values, strict=True)}
        for update in updates:
            if update.when(step, 2):
                for weight in update.weights:
                    if weight.grad is not None:
                        key = f"{step} {update.name} {names[id(weight)]}"
                        seen[key] = weight.grad.clone()
    return {key: value.detach().cpu() for key, value in seen.items()}


def same_first_steps(expected, found):
    """Fail with the name of what differs.

    1e-3: sums of thousands of float32 products in another order differ by some 1e-6 of the largest,
    and BatchNorm over few values makes 100 times that of it; a wrong gradient differs by its size.
    A gradient that is zero but for rounding is measured by the largest of its update.
    """
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        kin = " ".join(key.split()[:2]) if " " in key else key
        largest = max(v.abs().max() for k, v in expected.items() if k.startswith(kin))
        apart = ((value - found[key]).abs().max() / largest.clamp_min(1e-8)).item()
        assert apart < 1e-3, f"{key} differs by {apart:.2g}"


def test_compiled_first_steps_are_the_eager_ones(monkeypatch):
    # Traced and differentiated ahead of time, but run by PyTorch's own kernels: that takes seconds.
    monkeypatch.setattr(
        compiled, "_compiled", lambda loss: torch.compile(loss, dynamic=False, backend="aot_eager")
    )
    expected, found = (first_steps(small("dcgan"), mode) for mode in ("eager", "compile"))
    same_first_steps(expected, found)


class Players(nn.Module):
    """A generator of one convolution against a critic of two."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Conv2d(3, 3, 3, padding=1)
        self.critic = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 1, 3))
        self.weight = 1.0

    def made(self, batch):
        return batch.once("made", lambda: self.generator(batch.known))

    def updates(self):
        return [
            Update(
                "critic",
                torch.optim.SGD(self.critic.parameters(), 0.1),
                lambda batch: {"x": self.critic(self.made(batch).detach()).mean()},
            ),
            Update(
                "generator",
                torch.optim.SGD(self.generator.parameters(), 0.1),
                lambda batch: {"x": -self.weight * self.critic(self.made(batch)).mean()},
            ),
        ]


class WeightGradients(TorchDispatchMode):
    """Names the convolutions towards whose weights a gradient is made, by their shapes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name == "aten::convolution_backward" and args[10][1]:
            self.found.append(tuple(args[2].shape))
        return func(*args, **(kwargs or {}))

    def around(self, backward):
        def call(*args, **kwargs):
            with self:
                return backward(*args, **kwargs)

        return call


def test_a_compiled_step_is_a_piece_a_loss_and_makes_no_other_players_gradients(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(
        compiled, "_compiled", lambda loss: torch.compile(loss, dynamic=False, backend=backend)
    )
    found = {}
    for mode in ("eager", "compile"):
        with seeded(0):
            module = Players()
        made = Engine(module, module.updates(), Training(precision="fp32", ema=0.0), "fp32", mode)
        made.prepare(2)
        batch = Batch(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))
        towards = WeightGradients()
        with monkeypatch.context() as patched:
            # Around the backward alone: nothing is compiled inside such a mode.
            patched.setattr(torch.Tensor, "backward", towards.around(torch.Tensor.backward))
            made.step(0, batch)
        assert all(weight.requires_grad for weight in module.parameters())
        found[mode] = towards.found
    # The critic's two and the generator's one.
    assert found["eager"] == [(1, 5, 3, 3), (5, 3, 3, 3), (3, 3, 3, 3)]
    assert found["compile"] == found["eager"]
    assert len(graphs) == 3  # what is made, and each loss


@torch._dynamo.config.patch(recompile_limit=1)
def test_code_that_models_share_is_compiled_for_each_of_many(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(
        compiled, "_compiled", lambda loss: torch.compile(loss, dynamic=False, backend=backend)
    )
    for weight in (1.0, 2.0, 3.0, 4.0):
        module = Players()
        module.weight = weight
        made = Engine(module, module.updates(), Training(ema=0.0), "fp32", "compile")
        made.prepare(1)
        made.step(0, Batch(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)))
    assert len(graphs) == 3 * 4


def test_what_players_share_inside_another_such_freezes_nothing(monkeypatch):
    monkeypatch.setattr(compiled, "_compiled", lambda loss: loss)
    module = Players()
    update = Update("critic", torch.optim.SGD(module.critic.parameters(), 0.1), lambda batch: {})
    batch = Batch(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))
    asked = []

    def ask():
        asked.append(module.generator.weight.requires_grad)

    def shared():
        ask()
        batch.once("inner", ask)
        ask()

    def loss(batch):
        ask()
        batch.once("outer", shared)
        ask()
        return {}

    compiled.Losses(module, [replace(update, loss=loss)]).terms(replace(update, loss=loss), batch)
    ask()
    assert asked == [False, True, True, True, False, True]


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))),
    reason="needs a C++ compiler",
)
def test_inductors_first_steps_are_the_eager_ones():
    with seeded(0):
        model = Tiny(Tiny.Config())
    expected, found = (first_steps(deepcopy(model), mode) for mode in ("eager", "compile"))
    same_first_steps(expected, found)


class Machine:
    """An engine with everything that its steps change, and a stand-in for a CUDA graph.

    The stand-in makes the step anew at each replay and writes what it gave to where the first
    one's stood: what is tested is all that surrounds a graph.
    """

    def __init__(self, mode, monkeypatch):
        self.model = small("dcgan")
        critic, generator = self.model.updates()
        updates = [critic, Update("generator", generator.optimizer, generator.loss, every(2))]
        settings = Training(steps=12, precision="fp32", ema=0.2, warmup=0.2)
        self.engine = Engine(self.model, updates, settings, "fp32", mode)
        # On a CPU the optimiser refuses to be capturable, and has no need to be.
        for optimizer in self.engine.optimizers:
            for group in optimizer.param_groups:
                group["capturable"] = False
        self.engine.prepare(12)
        self.captured = 0
        if mode == "graph":
            self.engine.captures = True
            monkeypatch.setattr(engine, "capture", self.capture)
            monkeypatch.setattr(engine, "aside", lambda stream: nullcontext())

    def capture(self, function, stream):
        del stream
        self.captured += 1
        before = deepcopy(self.model.state_dict()), deepcopy(self.engine.average)
        states = [deepcopy(each.state_dict()) for each in self.engine.optimizers]
        with torch.random.fork_rng():
            result = function()
        self.model.load_state_dict(before[0])
        self.engine.average.module.load_state_dict(before[1].module.state_dict())
        for optimizer, state in zip(self.engine.optimizers, states, strict=True):
            optimizer.load_state_dict(state)

        def replay():
            result.values.copy_(function().values)

        return result, replay

    def broken(self, function, stream):
        """A capture that fails at its end, with all that the calls left in Python."""
        self.capture(function, stream)
        raise CaptureError("operation not permitted when stream is capturing")

    def run(self):
        lines = []
        for step in range(12):
            with seeded(step):
                image = torch.rand(4, 3, 32, 32) * 2 - 1
                mask = (torch.rand(4, 1, 32, 32) < 0.3).float()
            with seeded(0):
                lines.append(self.engine.step(step, Batch(image, mask)))
        return lines


def test_all_that_surrounds_a_graph_gives_the_eager_step(monkeypatch):
    eager, graph = Machine("eager", monkeypatch), Machine("graph", monkeypatch)
    expected, found = eager.run(), graph.run()
    assert graph.captured == 2  # with the generator's update and without it
    assert len({losses.names for losses in found}) == 2
    for one, other in zip(expected, found, strict=True):
        assert one.names == other.names
        assert torch.equal(one.values, other.values)
    # The stand-in makes the same calls in the same order, so that the weights are equal to the bit.
    pairs = zip(*(each.model.state_dict().values() for each in (eager, graph)), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    averages = (machine.engine.average.module.state_dict() for machine in (eager, graph))
    for one, other in zip(*(average.values() for average in averages), strict=True):
        # A share that is a tensor is multiplied, one that is a number interpolates: float32's
        # rounding of numbers near one, some twelve times.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert graph.engine.rate() == pytest.approx(eager.engine.rate())


def test_what_was_captured_is_forgotten_when_the_run_is_prepared_anew(monkeypatch):
    graph = Machine("graph", monkeypatch)
    graph.run()
    graph.engine.prepare(12)
    graph.run()
    assert graph.captured == 4


def test_a_steps_losses_are_its_own_after_the_next_replay(monkeypatch):
    values = torch.zeros(1)
    batch = Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))

    def count():
        values.add_(1)

    monkeypatch.setattr(engine, "capture", lambda function, stream: (function(), count))
    captured = engine._Captured(batch, lambda own: Losses(("a/loss",), values), None)
    first, second = captured(batch), captured(batch)
    assert (first.values.item(), second.values.item()) == (1, 2)


def test_under_auto_a_step_that_cannot_be_captured_goes_on_eagerly(monkeypatch):
    eager, graph = Machine("eager", monkeypatch), Machine("graph", monkeypatch)
    expected, said = eager.run(), []
    monkeypatch.setattr(engine, "capture", graph.broken)
    graph.engine._note = said.append
    found = graph.run()
    assert graph.engine.mode == "eager"
    assert said == [
        "the training step cannot be captured in a CUDA graph (operation not permitted when stream "
        "is capturing); going on with --mode eager, which is slower."
    ]
    # Dropout is drawn anew at the step that is made again: to the bit what it is without a graph.
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.values, other.values)


def test_a_compiled_step_that_cannot_be_captured_is_captured_without(monkeypatch):
    monkeypatch.setattr(compiled, "_compiled", lambda loss: loss)
    graph, said = Machine("graph", monkeypatch), []
    graph.engine._note = said.append
    graph.engine.take("compile")
    capture = iter([graph.broken, graph.capture, graph.capture])
    monkeypatch.setattr(engine, "capture", lambda *given: next(capture)(*given))
    graph.run()
    assert graph.engine.mode == "graph"
    assert graph.engine.captures
    assert [line.partition("; ")[2] for line in said] == [
        "going on with --mode graph, which is slower."
    ]


def test_a_graph_that_was_asked_for_and_cannot_be_had_is_an_error(monkeypatch):
    graph = Machine("graph", monkeypatch)
    monkeypatch.setattr(engine, "capture", graph.broken)
    graph.engine.settings = replace(graph.engine.settings, mode="graph")
    with pytest.raises(GapfillError, match=r"^--mode graph asked, .*capturing\)\. Use --mode eag"):
        graph.run()


def test_a_replay_does_not_walk_through_the_modules(monkeypatch):
    graph, calls = Machine("graph", monkeypatch), []
    monkeypatch.setattr(graph.model, "train", lambda mode=True: calls.append(mode))
    graph.run()
    assert len(calls) == 2 * 4  # the updates' two sets: three calls and a capture each


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("mode", ["graph", "compile"])
@pytest.mark.parametrize("name", LEARNED)
def test_on_a_gpu_the_first_steps_are_the_eager_ones(name, mode, monkeypatch):
    # Dropout and noise by PyTorch's generator, which inductor replaces by its own otherwise.
    monkeypatch.setattr("torch._inductor.config.fallback_random", True)
    monkeypatch.setattr(engine, "_WARM", 1)  # the second step is captured
    expected, found = (first_steps(small(name), each, "cuda") for each in ("eager", mode))
    same_first_steps(expected, found)


def test_the_command_line_says_the_mode_and_refuses_what_cannot_be_had(tmp_path, capsys):
    from gapfill.commands.main import main

    options = ["fit", "cnn", "--size", "32", "--set", "width=4", "--steps", "2", "--device", "cpu"]
    assert main([*options, "--out", str(tmp_path / "run")]) == 0
    assert ", eager" in capsys.readouterr().err
    assert main([*options, "--mode", "graph", "--out", str(tmp_path / "other")]) == 2
    assert "--mode graph asked, but it needs a CUDA device." in capsys.readouterr().err


@pytest.mark.parametrize("recursive", [True, False])
def test_an_untraced_function_runs_as_it_is_written_in_compiled_code(recursive):
    traced = []

    def function(x, *, by):
        traced.append(torch.compiler.is_compiling())
        return x * by

    def outer(x):
        return untraced(function, recursive)(x + 1, by=2) + 1

    x = torch.arange(3.0)
    assert torch.equal(outer(x), x * 2 + 3)
    once = untraced(function, recursive)
    for run in (outer, torch.compile(lambda x: once(x + 1, by=2) + 1, backend="eager")):
        for _ in range(2):
            assert torch.equal(run(x), x * 2 + 3)
    assert not any(traced)
