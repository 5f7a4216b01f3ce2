"""Eager, compiled and captured steps: the same numbers, and no others are taken for them."""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch

import gapfill
from gapfill import testing
from gapfill.data import Stream
from gapfill.errors import UsageError
from gapfill.randomness import seeded
from gapfill.registry import model_class
from gapfill.train import Training, engine
from gapfill.train.engine import Engine, resolve_mode
from gapfill.train.ledger import Losses
from gapfill.types import Batch, Update, every

CPU = torch.device("cpu")
LEARNED = [name for name in gapfill.list_models() if model_class(name).optimised()]


def small(name):
    fields = model_class(name).Config.__dataclass_fields__
    narrow = {"size": 32} | {key: 4 for key in ("width", "critic_width") if key in fields}
    with seeded(0):
        return gapfill.create(name, **narrow)


def fitted(name, device="cpu", **settings):
    model = small(name)
    stream = Stream(testing.pictures(model, 24), 8)
    return model.fit(stream, quiet=True, device=device, mask="rect", log_every=1, **settings)


def apart(one, other):
    """The largest distance between two models' weights, in units of the largest weight."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(
        ((a.cpu().float() - b.cpu().float()).abs().max() / a.abs().max().clamp_min(1e-3)).item()
        for a, b in pairs
    )


def test_a_graph_is_the_choice_where_it_can_be_had_and_is_refused_where_not():
    update = Update("a", torch.optim.Adam([torch.zeros(1)]), lambda batch: {})
    assert resolve_mode("auto", CPU, [update]) == "eager"
    assert resolve_mode("compile", CPU, [update]) == "compile"
    with pytest.raises(UsageError, match=r"^--mode graph asked, but it needs a CUDA device\.$"):
        resolve_mode("graph", CPU, [update])
    cuda = torch.device("cuda")
    assert resolve_mode("auto", cuda, [update]) == "graph"
    plain = Update("a", torch.optim.SGD([torch.zeros(1)]), lambda batch: {})
    assert resolve_mode("auto", cuda, [plain]) == "eager"
    with pytest.raises(UsageError, match="but SGD cannot be captured in a CUDA graph"):
        resolve_mode("graph", cuda, [plain])


def test_compiled_training_ends_with_the_eager_weights(monkeypatch):
    monkeypatch.setattr(
        engine, "_compiled", lambda loss: torch.compile(loss, dynamic=False, backend="aot_eager")
    )
    found = [fitted("dcgan", steps=4, precision="fp32", mode=mode) for mode in ("eager", "compile")]
    assert found[1].training_cost["mode"] == "compile"
    assert apart(*found) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_inductors_training_ends_with_the_eager_weights():
    found = [fitted("cnn", steps=3, precision="fp32", mode=mode) for mode in ("eager", "compile")]
    assert apart(*found) < 1e-4


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
            monkeypatch.setattr(engine, "aside", lambda device: nullcontext())

    def capture(self, function):
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
        torch.testing.assert_close(one.values, other.values, rtol=1e-4, atol=1e-5)
    assert apart(eager.model, graph.model) < 1e-4
    assert apart(eager.engine.average.module, graph.engine.average.module) < 1e-4
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

    monkeypatch.setattr(engine, "capture", lambda function: (function(), count))
    captured = engine._Captured(batch, lambda own: Losses(("a/loss",), values))
    first, second = captured(batch), captured(batch)
    assert (first.values.item(), second.values.item()) == (1, 2)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("mode", ["graph", "compile"])
@pytest.mark.parametrize("name", LEARNED)
def test_on_a_gpu_twenty_steps_end_with_the_eager_weights(name, mode):
    settings = {"device": "cuda", "steps": 20, "precision": "fp32"}
    eager, other = fitted(name, mode="eager", **settings), fitted(name, mode=mode, **settings)
    assert apart(eager, other) < 2e-2


def test_the_command_line_says_the_mode_and_refuses_what_cannot_be_had(tmp_path, capsys):
    from gapfill.commands.main import main

    options = ["fit", "cnn", "--size", "32", "--set", "width=4", "--steps", "2", "--device", "cpu"]
    assert main([*options, "--out", str(tmp_path / "run")]) == 0
    assert ", eager" in capsys.readouterr().err
    assert main([*options, "--mode", "graph", "--out", str(tmp_path / "other")]) == 2
    assert "--mode graph asked, but it needs a CUDA device." in capsys.readouterr().err
