"""The benchmarks, as far as they can be held without timing anything."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the repository's benchmarks are not here")
def test_benchmarks_have_settings_of_their_own_which_no_warning_ends():
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q"]
    command += ["--models", "cnn", "--devices", "cuda", "-k", "training_step", "-v"]
    done = subprocess.run(command, cwd=BENCHMARKS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "configfile: pytest.ini" in done.stdout
    assert "training_step" in done.stdout


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("timing")


def test_a_round_is_whole_blocks_of_steps_and_waits_once(timing, monkeypatch):
    cuda, made = torch.device("cuda"), []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: made.append("wait"))
    assert [timing.whole_blocks(ahead, cuda) for ahead in (2, 16, 32, 40)] == [32, 32, 32, 40]
    assert timing.whole_blocks(16, torch.device("cpu")) == 1
    timing.round_of(lambda: made.append("step"), cuda, 3)()
    assert made == ["step", "step", "step", "wait"]


def test_a_gpus_peak_is_what_was_reserved_since_before_the_first_call(timing, monkeypatch):
    cuda, told = torch.device("cuda"), []
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: told.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 7)
    timing.forget_peak(cuda)
    assert told == ["empty_cache", "reset_peak_memory_stats"]
    assert timing.peak(cuda) == 7


def test_what_was_measured_is_written_with_the_machine(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    measure = importlib.import_module("measure")
    step = {"model": "cnn", "device": "cuda", "precision": "bf16", "ms": 1.25, "images": 64}
    step |= {"share_of_flops": 0.254, "peak_bytes": 3 * 2**20}
    step |= {"ceiling_flops": 8e14, "ceiling_bytes": 3e12}
    found = {
        "machine_info": {"gapfill": {"torch": "2.14.1", "device_name": "a card"}},
        "benchmarks": [
            {"name": "test_training_step[cnn]", "extra_info": step},
            {"name": "test_step[cnn]", "extra_info": {"model": "cnn", "ms": 2.0}},
        ],
    }
    page = measure.page(found, "12 passed")
    assert "- device_name: a card\n- checks: 12 passed\n" in page
    assert "- ceilings of cuda: 800 TFLOP/s in bf16, 3000 GB/s\n" in page
    assert "| cnn | cuda | bf16 | 64 | 1.25 | 25% | 3 |\n" in page
    assert "| model | ms |\n|---|---|\n| cnn | 2 |\n" in page
