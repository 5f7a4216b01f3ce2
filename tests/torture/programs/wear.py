"""Thousands of calls, threads, and connections that nobody asked for."""

from __future__ import annotations

import gc
import resource
import socket
import threading
from pathlib import Path
from random import Random

import torch

from tests.torture.harness import program


@program("thousands of fills, reads and loads: handles and memory", short=2, long=12, share=1)
def wear(chance: Random, folder: Path):
    """After hundreds of calls no file is open and memory has not grown with their number."""
    import gapfill
    from gapfill import testing
    from gapfill.pictures import read_picture

    model = testing.trained(gapfill.create("cnn", size=32, width=4))
    model.save(folder / "saved")
    image, mask = testing.pictures(model, 4), testing.holes(model, 4)
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(folder / "a.png")

    def call() -> None:
        model.inpaint(image, mask)
        read_picture(folder / "a.png")
        gapfill.load(folder / "saved")

    def handles() -> int:
        open_ones = Path("/proc/self/fd")
        return len(list(open_ones.iterdir())) if open_ones.is_dir() else 0

    def resident() -> int:
        pages = Path("/proc/self/statm")
        return int(pages.read_text().split()[1]) * resource.getpagesize() if pages.is_file() else 0

    for _ in range(20):
        call()
    while True:
        gc.collect()
        before, memory = handles(), resident()
        for _ in range(150):
            call()
        gc.collect()
        if handles() > before:
            yield f"{handles() - before} handles more after 150 calls"
        elif resident() - memory > 64 * 2**20:
            yield f"{(resident() - memory) / 2**20:.0f} MiB more after 150 calls"
        else:
            yield None


@program("connections attempted by what needs none", short=1, long=3, share=0.3)
def no_connections(chance: Random, folder: Path):
    """Listing, creating, fitting, filling and scoring try to reach nobody."""
    import gapfill
    from gapfill import metrics, testing

    tried: list[object] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def noted(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            tried.append(address)
        return connect(self, address)  # type: ignore[arg-type]

    def asked(*words: object, **more: object):
        tried.append(words[:2])
        return resolve(*words, **more)  # type: ignore[arg-type]

    while True:
        socket.socket.connect, socket.getaddrinfo = noted, asked  # type: ignore[method-assign]
        try:
            for name in ("unet", "cnn", "mean"):
                narrow = {} if name == "mean" else {"width": 8}
                model = testing.trained(gapfill.create(name, size=32, **narrow))
                model.inpaint(testing.pictures(model, 2), testing.holes(model, 2))
            metrics.load_lpips("cpu")
            gapfill.list_models()
        finally:
            socket.socket.connect, socket.getaddrinfo = connect, resolve  # type: ignore[method-assign]
        yield f"{tried}" if tried else None


@program("fills in several threads at once", short=4, long=60, share=0.5)
def threads(chance: Random, folder: Path):
    """Threads that fill with one model get what one alone gets."""
    import gapfill
    from gapfill import testing

    models = [
        testing.trained(gapfill.create(name, size=32, **({} if name == "mean" else {"width": 4})))
        for name in ("cnn", "flow", "gan", "mean")
    ]
    while True:
        model = chance.choice(models)
        image, mask = testing.pictures(model, 4), testing.holes(model, 4)
        expected = [model.inpaint(image, mask, seed=seed) for seed in range(4)]
        found: list[torch.Tensor | None] = [None] * 4
        start = threading.Barrier(4)

        def work(seed: int, model=model, image=image, mask=mask, found=found, start=start) -> None:
            start.wait()
            for _ in range(5):
                found[seed] = model.inpaint(image, mask, seed=seed)

        crew = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for one in crew:
            one.start()
        for one in crew:
            one.join()
        same = all(
            other is not None and torch.equal(one, other)
            for one, other in zip(expected, found, strict=True)
        )
        yield None if same else f"{model.name}: another fill beside three other threads"
