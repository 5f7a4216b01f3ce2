"""Options, machine facts, ceilings, and how every benchmark is timed."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timing import best_seconds, forget_peak, peak, round_of

import gapfill
from gapfill.compare import evaluate
from gapfill.compute import resolve_precision
from gapfill.errors import UsageError
from gapfill.ranks import resolve
from gapfill.registry import model_class

_YARDSTICKS: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gapfill")
    group.addoption("--models", nargs="+", default=["cnn", "gan", "dcgan"], help="wildcards")
    group.addoption("--devices", nargs="+", default=["cpu", "cuda"])
    group.addoption("--precisions", nargs="+", default=["fp32", "bf16"])
    group.addoption("--modes", nargs="+", default=["eager", "auto"])
    group.addoption("--forward-batches", nargs="+", type=int, default=[1, 256])
    group.addoption("--step-batches", nargs="+", type=int, help="(64; on CUDA 512 too)")
    group.addoption("--bench-size", type=int, default=64, help="side of the pictures")
    group.addoption("--jpegs", help="a folder of pictures for the yardstick (drawn ones if none)")
    group.addoption("--seconds", type=float, default=3.0, help="at most so long a measurement")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    wanted: list[str] = option("--models")  # type: ignore[assignment]
    found = [name for name in gapfill.list_models() if _matches(name, wanted)]
    learned = [name for name in found if model_class(name).optimised()]
    choices = {
        "name": found,
        "learned": learned,
        "device_name": option("--devices"),
        "precision": option("--precisions"),
        "mode": option("--modes"),
        "forward_batch": option("--forward-batches"),
        "step_batch": option("--step-batches") or [64, 512],
    }
    for fixture, values in choices.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, values)


def _matches(name: str, wanted: list[str]) -> bool:
    return any(name in gapfill.list_models(pattern) for pattern in wanted)


@pytest.fixture
def device(device_name: str) -> torch.device:
    """The device; CUDA is skipped where there is none."""
    try:
        return resolve(device_name)
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture
def steps_of(request: pytest.FixtureRequest, step_batch: int, device: torch.device) -> int:
    """The batch of a training step; large ones are for GPUs unless they are asked for."""
    if step_batch > 64 and device.type == "cpu" and not request.config.getoption("--step-batches"):
        pytest.skip("a batch of 512 is for a GPU; --step-batches 512 times it here too")
    return step_batch


@pytest.fixture(scope="session")
def ceilings() -> Callable[[torch.device], dict[str, float]]:
    """What this machine can do, measured now: bf16 products in FLOP/s, copies in bytes/s."""
    found: dict[str, dict[str, float]] = {}

    def measured(device: torch.device) -> dict[str, float]:
        if device.type not in found:
            found[device.type] = _ceilings(device)
        return found[device.type]

    return measured


def _ceilings(device: torch.device) -> dict[str, float]:
    side, length = (8192, 1 << 30) if device.type == "cuda" else (2048, 1 << 28)
    a = torch.randn(side, side, device=device).bfloat16()
    source = torch.zeros(length, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return {
        "ceiling_flops": 2 * side**3 / best_seconds(lambda: a @ a, device),
        "ceiling_bytes": 2 * length / best_seconds(lambda: target.copy_(source), device),
    }


@pytest.fixture
def timed(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., float]:
    """Times a function, warmed up, and says how many images a second that is.

    A round is as many calls as are asked for, with one wait for the device; the seconds are those
    of a call.
    """

    def measure(
        function: Callable[[], Any],
        device: torch.device | None = None,
        images: int = 0,
        warm: int = 3,
        calls: int = 1,
        **facts: Any,
    ) -> float:
        device = device or torch.device("cpu")
        made = round_of(function, device, calls)
        forget_peak(device)
        for _ in range(warm):
            made()
        start = time.perf_counter()
        made()
        once = max(time.perf_counter() - start, 1e-6)
        limit = float(request.config.getoption("--seconds") or 0)
        benchmark.pedantic(made, rounds=int(min(50, max(3, limit / once))))
        seconds = benchmark.stats.stats.median / calls
        benchmark.extra_info |= {
            "device": device.type,
            "peak_bytes": peak(device),
            "calls_a_round": calls,
            "ms": 1000 * seconds,
            **facts,
        }
        if images:
            benchmark.extra_info["images"] = images
            benchmark.extra_info["images_per_second"] = round(images / seconds, 2)
        return seconds

    return measure


@pytest.fixture
def say() -> Callable[[str], None]:
    """Adds a line to what is printed at the end."""
    return _YARDSTICKS.append


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in _YARDSTICKS:
        terminalreporter.write_line(line)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Say what matters; the machine's own name is nobody's business."""
    del config
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine_info["node"] = ""
    machine_info["gapfill"] = evaluate.environment(device, resolve_precision("auto", device))
    machine_info["python"] = platform.python_version()
