"""The benchmarks, as far as they can be held without timing anything."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the repository's benchmarks are not here")
def test_benchmarks_have_settings_of_their_own_which_no_warning_ends():
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q"]
    command += ["--models", "cnn", "--devices", "cuda", "-k", "training_step", "-v"]
    done = subprocess.run(command, cwd=BENCHMARKS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "configfile: pytest.ini" in done.stdout
    assert "training_step" in done.stdout
