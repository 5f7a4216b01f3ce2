"""Options and machine facts of the benchmarks."""

from __future__ import annotations

import platform

import pytest
import torch

import gapfill


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gapfill")
    group.addoption("--models", default="*", help="a wildcard over the registered names")
    group.addoption("--bench-size", type=int, default=64, help="side of the pictures")
    group.addoption("--step-batch", type=int, default=64, help="pictures in a training step")
    group.addoption("--fill-batch", type=int, default=64, help="pictures in a forward batch")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        pattern = str(metafunc.config.getoption("--models"))
        metafunc.parametrize("name", gapfill.list_models(pattern))


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Both devices; CUDA is skipped where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("this PyTorch sees no CUDA device")
    return torch.device(request.param)


@pytest.fixture(params=["fp32", "bf16"])
def precision(request: pytest.FixtureRequest) -> str:
    """Float32, and bf16 autocast."""
    return request.param


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Say what matters; the machine's own name is nobody's business."""
    del config
    machine_info["node"] = ""
    machine_info["torch"] = torch.__version__
    machine_info["threads"] = torch.get_num_threads()
    machine_info["python"] = platform.python_version()
    if torch.cuda.is_available():
        machine_info["cuda"] = torch.cuda.get_device_name()
