"""Runs on loaders that are not gapfill's: known again, resumed, rehearsed, interrupted."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from common import message
from torch.utils.data import DataLoader, Dataset

import gapfill
from gapfill import testing
from gapfill.randomness import seeded

SETTINGS = {"precision": "fp32", "device": "cpu", "log_every": 1, "save_seconds": 0}


def fresh():
    with seeded(0):
        return gapfill.create("cnn", size=32, width=4)


class Pictures(Dataset):
    """Pictures, and how often each was read; they are cropped by chance on request."""

    def __init__(self, seed=0, count=12, random=False):
        self.images = testing.pictures(fresh(), count, seed)
        self.random = random
        self.read = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        self.read += 1
        turn = int(torch.rand(()) < 0.5) if self.random else 0
        return self.images[number].flip(-1) if turn else self.images[number]


def fit(loader, out=None, quiet=True, **more):
    return fresh().fit(loader, out=out, quiet=quiet, **(SETTINGS | {"steps": 8} | more))


def same(one, two):
    return all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("random", [False, True])
def test_a_loader_with_other_pictures_is_another_run(tmp_path, shuffle, random):
    fit(DataLoader(Pictures(random=random), 4, shuffle=shuffle), tmp_path)
    fit(DataLoader(Pictures(random=random), 4, shuffle=shuffle), tmp_path)
    other = DataLoader(Pictures(seed=1, random=random), 4, shuffle=shuffle)
    assert "holds a run with other settings (loader." in message(fit, other, tmp_path)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: DataLoader(Pictures(count=16), 4), "batches: 3 there, 4 now"),
        (lambda: DataLoader(Pictures(), 6), "batches: 3 there, 2 now"),
        (lambda: list(Pictures().images.float().div(255).split(4)), "dtype: torch.uint8 there"),
        (lambda: list(Pictures().images.flip(0).split(4)), "samples: "),
    ],
)
def test_what_can_be_known_of_a_loader_belongs_to_the_run(tmp_path, other, said):
    fit(list(Pictures().images.split(4)), tmp_path)
    assert f"(loader.{said}" in message(fit, other(), tmp_path)


def test_to_ask_a_loader_what_it_holds_changes_nothing():
    loader = DataLoader(Pictures(), 4, shuffle=True, generator=torch.Generator().manual_seed(3))
    first = [batch.sum().item() for batch in loader]
    again = DataLoader(Pictures(), 4, shuffle=True, generator=torch.Generator().manual_seed(3))
    before = torch.get_rng_state()
    fresh().identity(again, **(SETTINGS | {"steps": 1}))
    assert torch.equal(torch.get_rng_state(), before)
    assert first != [batch.sum().item() for batch in again]  # one pass was begun, no more
    second = [batch.sum().item() for batch in loader]
    assert second != first


@pytest.mark.parametrize("random", [False, True])
def test_a_run_on_a_shuffling_loader_is_resumed_exactly_and_says_what_it_reads(
    tmp_path, capfd, random
):
    whole = fit(DataLoader(Pictures(random=random), 4, shuffle=True))

    class Killed(Exception):  # noqa: N818
        pass

    class Ending(DataLoader):
        def __iter__(self):
            for batch in super().__iter__():
                if self.dataset.read > 40:
                    raise Killed
                yield batch

    with pytest.raises(Killed):
        fit(Ending(Pictures(random=random), 4, shuffle=True), tmp_path)
    done = int(max(tmp_path.glob("checkpoint-*.pt")).stem[-8:])
    assert 3 < done < 8  # beyond the first pass
    resumed = fit(DataLoader(Pictures(random=random), 4, shuffle=True), tmp_path, quiet=False)
    assert same(resumed, whole)
    said = capfd.readouterr().err
    assert f"reading {done} batches again, to come to where the run was" in said


def test_a_budget_on_a_loader_is_rehearsed_with_its_next_batches(tmp_path):
    pictures = Pictures(count=4 * 500)
    fit(DataLoader(pictures, 4), tmp_path, steps=None, budget="0.05s", log_every=10_000)
    made = int(max(tmp_path.glob("checkpoint-*.pt")).stem[-8:])
    assert pictures.read <= 4 * (made + 200)


PROGRAM = """
    import os, sys, torch
    from pathlib import Path
    torch.set_num_threads(1)
    sys.path.insert(0, {tests!r})
    import test_loaders
    from torch.utils.data import DataLoader

    class Slow(test_loaders.Pictures):
        def __getitem__(self, number):
            if {kill!r} and list(Path({out!r}).glob("checkpoint-*3.pt")):
                try:
                    Path({out!r}, "fired").touch(exist_ok=False)
                    os.killpg(0, {number})
                except FileExistsError:
                    pass
            return super().__getitem__(number)

    loader = DataLoader(Slow(count=64), 4, num_workers=2)
    try:
        test_loaders.fit(loader, {out!r}, steps=20).save({out!r} + "/model")
    except KeyboardInterrupt as error:
        print(error)
        raise SystemExit(error.exit_code)
"""


def program(out, number=0):
    tests = os.path.dirname(__file__)  # noqa: PTH120
    text = textwrap.dedent(PROGRAM).format(
        out=str(out), number=int(number), kill=bool(number), tests=tests
    )
    return subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
        timeout=200,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_loaders_workers_too_saves_the_run(number, tmp_path):
    ended = program(tmp_path, number)
    assert ended.returncode == 128 + number, ended.stderr[-3000:]
    assert "interrupted at step" in ended.stdout
    assert "saved in" in ended.stdout
    again = program(tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    whole = fit(DataLoader(Pictures(count=64), 4), steps=20)
    assert same(gapfill.load(tmp_path), whole)
