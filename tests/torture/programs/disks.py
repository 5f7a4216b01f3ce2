"""Disks that are full or not to be written, at every write of a run."""

from __future__ import annotations

import builtins
import errno
import os
from pathlib import Path
from random import Random

import torch

from tests.torture.harness import program, refused


class _Disk:
    """Counts what is written and fails from the n-th call on."""

    def __init__(self, left: int, code: int) -> None:
        self.left, self.code = left, code
        self._replace, self._fsync, self._fdopen = os.replace, os.fsync, os.fdopen

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(self.code, os.strerror(self.code))

    def __enter__(self) -> None:
        def fsync(handle: int) -> None:
            self._spend()
            self._fsync(handle)

        os.fsync = fsync  # type: ignore[assignment]
        self._mkdir = os.mkdir
        self._open = builtins.open

        def mkdir(*words: object, **more: object) -> None:
            self._spend()
            self._mkdir(*words, **more)  # type: ignore[arg-type]

        os.mkdir = mkdir  # type: ignore[assignment]

    def __exit__(self, *error: object) -> None:
        os.fsync, os.mkdir = self._fsync, self._mkdir


@program("disks that are full or read-only at some write of a run", short=8, long=200, share=1)
def full_disks(chance: Random, folder: Path):
    """A write that fails is one line, and the run goes on from where it was when there is room."""
    import gapfill
    from gapfill import testing
    from gapfill.data import Stream
    from gapfill.randomness import seeded

    def fit(out: Path):
        with seeded(0):
            model = gapfill.create("cnn", size=32, width=4)
        images = testing.pictures(model, 8)
        settings = {"steps": 6, "precision": "fp32", "device": "cpu", "quiet": True, "watch": 2}
        settings |= {"log_every": 2, "save_seconds": 0.0, "val": images[:4], "mask": "rect"}
        model.fit(Stream(images, 4), out=out, **settings)
        model.save(out / "model")
        return model

    expected = fit(folder / "whole").state_dict()
    number = 0
    while True:
        number += 1
        out = folder / f"run-{number}"
        code = chance.choice((errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES))
        left = chance.randrange(12)
        with _Disk(left, code):
            failure = refused(lambda: fit(out))  # noqa: B023
        if failure is None:
            again = []
            failure = refused(lambda: again.append(fit(out)))  # noqa: B023
            if failure is None:
                found = again[0].state_dict()
                same = all(torch.equal(expected[key], found[key]) for key in expected)
                failure = None if same else "other weights after it went on"
        yield failure and f"{errno.errorcode[code]} at write {left}: {failure}"
