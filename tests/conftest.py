"""What every test gets: a cache folder of its own, and one thread.

Tolerances: `assert_close` and `approx` without one allow float32's rounding in sums of a few
thousand terms, which every CPU, number of threads and order of summation keeps. Any other says
beside it where it comes from. No test compares weights after several steps of Adam, which turns a
rounding into a whole step, but those of one machine that must be equal to the bit. No time stands
in an assertion.
"""

import os
import random
import tempfile

import numpy as np
import pytest
import torch
from hypothesis import settings

collect_ignore = ["torture"]  # programs, which test_torture.py runs
settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")
_empty = tempfile.TemporaryDirectory()  # for what asks before a test begins, such as for a skip
for _place in ("GAPFILL_HOME", "TORCH_HOME"):
    os.environ[_place] = _empty.name


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Nothing that a test does may read or write the user's cache or data."""
    monkeypatch.setenv("GAPFILL_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("GAPFILL_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


@pytest.fixture(autouse=True)
def same_numbers():
    """What a test draws without a seed of its own is the same each time."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True, scope="session")
def few_threads():
    """Tiny tensors: more threads only wait for each other."""
    torch.set_num_threads(1)
