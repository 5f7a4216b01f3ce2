"""How devices compute, with a stand-in for CUDA: its streams, devices, graphs and generators."""

from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn

from gapfill import compute, losses
from gapfill.compute import CaptureError, aside, capture, fast_math, full_precision, on
from gapfill.randomness import seed_generators, seeded
from gapfill.train import Trainer, Training
from gapfill.train.engine import Engine
from gapfill.train.ledger import Losses
from gapfill.types import Batch, Update

NOTHING = torch.zeros(0)

FIRST, SECOND = torch.device("cuda:0"), torch.device("cuda:1")
FLAGS = (
    torch.backends.cudnn.conv,
    torch.backends.cudnn.rnn,
    torch.backends.cuda.matmul,
    torch.backends.mkldnn.matmul,
)


class Generator:
    def __init__(self):
        self.seed = None
        self.poisoned = False

    def manual_seed(self, seed):
        self.seed = seed

    def clone_state(self):
        return Generator()

    def graphsafe_set_state(self, other):
        self.poisoned = other.poisoned


class Stream:
    def __init__(self, device):
        self.device = torch.device(device)
        self.waited = []

    def wait_stream(self, other):
        self.waited.append(other)


class Cuda:
    """Two GPUs with a current stream each. A graph is captured on the current device.

    As with torch's, a capture that fails raises again at its end, and leaves its stream current.
    """

    def __init__(self, monkeypatch):
        self.index = 0
        self.streams = [Stream(FIRST), Stream(SECOND)]
        self.default_generators = [Generator(), Generator()]
        self.captured = []
        for name in ("CUDAGraph", "graph", "device", "stream", "synchronize", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "default_generators", self.default_generators)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: self.index)
        monkeypatch.setattr(compute.torch, "rand", self.rand)

    def CUDAGraph(self):  # noqa: N802, torch's name
        class Graph:
            replay = None

        return Graph()

    def rand(self, count, device):
        del count
        if self.default_generators[device.index].poisoned:
            raise RuntimeError("Offset increment outside graph capture")

    @contextmanager
    def device(self, device):
        before, self.index = self.index, torch.device(device).index
        try:
            yield
        finally:
            self.index = before

    @contextmanager
    def stream(self, stream):
        index = stream.device.index
        before, self.streams[index] = self.streams[index], stream
        try:
            yield
        finally:
            self.streams[index] = before

    def current_stream(self, device=None):
        return self.streams[self.index if device is None else device.index]

    def synchronize(self, device=None):
        pass

    @contextmanager
    def graph(self, graph, stream=None, capture_error_mode="global"):
        self.captured.append((self.index, stream, capture_error_mode))
        self.streams[self.index] = stream or Stream(f"cuda:{self.index}")
        try:
            yield
        except RuntimeError:
            self.default_generators[self.index].poisoned = True
            raise RuntimeError("previous error during capture\nmore of it") from None


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def test_a_capture_is_on_the_streams_device_and_lets_other_threads_be(cuda):
    before, own = list(cuda.streams), Stream(SECOND)
    with aside(own):
        assert cuda.current_stream(SECOND) is own
    assert capture(lambda: (cuda.index, cuda.current_stream()), own)[0] == (1, own)
    assert cuda.captured == [(1, own, "thread_local")]
    assert (cuda.index, cuda.streams) == (0, before)
    assert own.waited == [before[1]]
    assert before[1].waited == [own]


def test_after_a_failed_capture_all_is_as_before_and_the_first_reason_is_told(cuda):
    before = list(cuda.streams)

    def wait():
        raise RuntimeError("operation not permitted when stream is capturing.\nFor debugging…")

    with pytest.raises(CaptureError, match=r"^operation not permitted when stream is capturing$"):
        capture(wait, Stream(SECOND))
    assert (cuda.index, cuda.streams) == (0, before)
    assert not cuda.default_generators[1].poisoned


def test_a_gpu_is_current_where_it_is_asked_for(cuda):
    with on(SECOND):
        assert cuda.index == 1
    assert cuda.index == 0
    with on(torch.device("cpu")):
        assert cuda.index == 0


def test_seeding_one_device_leaves_the_others_alone(cuda, monkeypatch):
    def nobody(*arguments):
        raise AssertionError("all GPUs were seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", nobody)
    with seeded(5):
        assert torch.initial_seed() == 5
    assert [each.seed for each in cuda.default_generators] == [None, None]
    seed_generators(6, SECOND)
    assert [each.seed for each in cuda.default_generators] == [None, 6]


def flags():
    return [each.fp32_precision for each in FLAGS]


@pytest.fixture
def same_flags():
    """PyTorch's flags as they were, which are the whole process's."""
    before = flags()
    yield
    for each, value in zip(FLAGS, before, strict=True):
        each.fp32_precision = value


@pytest.mark.usefixtures("same_flags")
def test_float32_is_float32_on_cuda_but_beside_bf16():
    before = flags(), torch.backends.cudnn.benchmark
    with fast_math(FIRST, "fp32"):
        assert torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
        assert "tf32" not in flags()
    with fast_math(FIRST, "bf16"):
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert flags()[0] == flags()[2] == "tf32"
    assert (flags(), torch.backends.cudnn.benchmark) == before


@pytest.mark.usefixtures("same_flags")
def test_flags_that_somebody_set_by_the_newer_interface_return():
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    before = flags()
    with fast_math(FIRST, "fp32"):
        assert "tf32" not in flags()
    assert flags() == before


@pytest.mark.usefixtures("same_flags")
def test_a_slope_is_in_full_precision_whatever_is_around_it(monkeypatch):
    monkeypatch.setattr(
        "gapfill.losses.adversarial.full_precision", lambda device: full_precision(FIRST)
    )
    seen = []

    def critic(pictures):
        seen.append((torch.backends.cudnn.allow_tf32, pictures.dtype))
        return pictures.flatten(1).sum(1)

    with fast_math(FIRST, "bf16"):
        losses.gradient_penalty(critic, torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
        assert torch.backends.cudnn.allow_tf32
    assert seen == [(False, torch.float32)]


def believing(device, **settings):
    """A trainer of one weight on the CPU, which believes that it is on `device`."""
    module = nn.Linear(1, 1)
    update = Update(
        "network",
        torch.optim.SGD(module.parameters(), 0.1),
        lambda batch: {"a": module.weight.sum()},
    )
    batch = Batch(torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))
    made = Trainer(module, [update], lambda step: batch, Training(steps=3, **settings), quiet=True)
    made.device = made.engine.device = device
    return made


@pytest.mark.usefixtures("same_flags")
def test_two_runs_in_turn_leave_the_flags_as_they_were(cuda, monkeypatch):
    """A stepper that is still alive has no say in what another one, or its caller, computes by."""
    monkeypatch.setattr("gapfill.train.trainer.kept", lambda device: nullcontext())
    monkeypatch.setattr("gapfill.train.engine.autocast", lambda device, precision: nullcontext())
    before, seen = flags(), []
    monkeypatch.setattr(Engine, "_make", lambda *_: seen.append(flags()) or Losses((), NOTHING))
    rough, exact = (
        believing(SECOND, precision=precision).stepper() for precision in ("bf16", "fp32")
    )
    next(rough)
    next(exact)
    assert flags() == before
    next(rough)
    rough.close()
    exact.close()
    assert flags() == before
    assert ["tf32" in each for each in seen] == [True, False, True]
    # A loader that draws on the GPU draws the step's numbers there.
    assert cuda.default_generators[0].seed is None
    assert cuda.default_generators[1].seed is not None


def test_what_the_engine_says_reaches_the_user():
    said = []
    module = nn.Linear(1, 1)
    update = Update("a", torch.optim.SGD(module.parameters(), 0.1), lambda batch: {})
    trainer = Trainer(module, [update], lambda step: None, Training(steps=1), note=said.append)
    trainer.engine._give_up(CaptureError("no reason"))
    assert said == [
        "the training step cannot be captured in a CUDA graph (no reason); going on with --mode "
        "eager, which is slower."
    ]
