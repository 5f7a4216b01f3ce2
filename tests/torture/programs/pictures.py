"""Pictures: mutated, monstrous, and things that are no pictures."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image

from tests.torture.harness import mutated, program, refused

_FORMATS = (
    ("JPEG", "RGB"),
    ("JPEG", "L"),
    ("JPEG", "CMYK"),
    ("PNG", "RGB"),
    ("PNG", "RGBA"),
    ("PNG", "P"),
    ("PNG", "I;16"),
    ("PNG", "1"),
    ("WEBP", "RGB"),
    ("TIFF", "RGB"),
    ("TIFF", "F"),
    ("BMP", "RGB"),
    ("GIF", "P"),
)


def _samples() -> list[tuple[str, bytes]]:
    values = np.random.default_rng(0).integers(0, 255, (40, 48, 4), dtype=np.uint8)
    found = []
    for kind, mode in _FORMATS:
        if mode == "I;16":
            picture = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
        elif mode == "F":
            picture = Image.fromarray(values[..., 0].astype(np.float32) / 255)
        else:
            picture = Image.fromarray(values).convert("RGB").convert(mode)
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        found.append((f"{kind} {mode}", buffer.getvalue()))
    return found


@program(
    "mutated pictures through the reader, the mask's reader and the table",
    short=250,
    long=10_000,
    share=2,
)
def mutated_pictures(chance: Random, folder: Path):
    """A damaged picture is a picture or one line."""
    from gapfill.data.squares import read_squares
    from gapfill.pictures import read_mask, read_picture

    samples = _samples()
    while True:
        title, whole = chance.choice(samples)
        data, what = mutated(whole, chance)
        for _ in range(chance.choice((0, 0, 1, 4))):
            data, more = mutated(data or whole, chance)
            what = f"{what}, {more}"
        way = chance.choice(("picture", "mask", "table"))
        if way == "picture":
            failure = refused(lambda: read_picture(data))  # noqa: B023
        elif way == "mask":
            failure = refused(lambda: read_mask(data))  # noqa: B023
        else:
            failure = refused(lambda: read_squares(lambda name: data, ["a.jpg"], 16, "auto"))  # noqa: B023
        yield failure and f"{title} as {way}, {what}: {failure}"


def _png(width: int, height: int, depth: int, colour: int) -> bytes:
    """A PNG of zeros, small as a file whatever its size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = 1 + width * channels * depth // 8
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(row)) for _ in range(height)]
    data = b"".join(parts) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _jpeg(width: int, height: int) -> bytes:
    """A JPEG of a few hundred bytes whose header says another size than its scan has."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@program("pictures whose header promises too much, in bounded memory", short=6, long=60, share=1)
def bombs(chance: Random, folder: Path):
    """A bomb is refused, and memory does not grow by more than a gibibyte and a half."""
    import resource

    from gapfill.data import open_table
    from gapfill.pictures import read_mask, read_picture

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2

    makers = {
        "JPEG of 32,000 × 32,000": lambda: _jpeg(32_000, 32_000),
        "JPEG of 65,000 × 65,000": lambda: _jpeg(65_000, 65_000),
        "JPEG cut short": lambda: _jpeg(3000, 3000),
        "PNG of 30,000 × 30,000, RGB": lambda: (
            _png(30_000, 3000, 8, 2)[:33] + _png(30_000, 30, 8, 2)[33:]
        ),
        "PNG of 60,000 × 60,000, 16 bits": lambda: _png(60_000, 60, 16, 0),
    }
    while True:
        title = chance.choice(sorted(makers))
        data, before = makers[title](), peak()
        taken: list[object] = []
        way = chance.choice(("picture", "mask", "table"))
        if way == "table":
            faces = folder / "faces"
            faces.mkdir(exist_ok=True)
            (faces / ("b.jpg" if "JPEG" in title else "b.png")).write_bytes(data)
            failure = refused(lambda: taken.append(open_table(faces, 16, cache=False)))  # noqa: B023
            for each in faces.iterdir():
                each.unlink()
        else:
            read = read_picture if way == "picture" else read_mask
            failure = refused(lambda: taken.append(read(data)))  # noqa: B023
        if failure is None and peak() - before > 1.5:
            failure = f"{peak() - before:.1f} GiB more"
        if failure is None and taken and "JPEG" in title:
            failure = "a scan cut short was taken as a picture"
        yield failure and f"{title} as {way}: {failure}"


@program("what is no picture, in a picture's place", short=12, long=60, share=0.3)
def strange_files(chance: Random, folder: Path):
    """Folders, pipes, devices and other formats under a picture's name are one line, at once."""
    import signal

    from gapfill.data import open_table
    from gapfill.fill.photo import fill_file
    from gapfill.pictures import read_picture

    def eps(path: Path) -> None:
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\n%%EOF\n")

    def web_page(path: Path) -> None:
        path.write_text("<!DOCTYPE html><title>Quota exceeded</title>", encoding="utf-8")

    makers = {
        "a folder": Path.mkdir,
        "a pipe": os.mkfifo,
        "an empty file": Path.touch,
        "an EPS": eps,
        "a web page": web_page,
        "a link to nowhere": lambda path: path.symlink_to("nowhere"),
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "noise": lambda path: path.write_bytes(chance.randbytes(2000)),
    }
    good = folder / "good.png"
    Image.new("RGB", (32, 32), "white").save(good)

    def late(number: int, frame: object) -> None:
        raise TimeoutError("it hung for ten seconds")

    before, number = signal.signal(signal.SIGALRM, late), 0
    try:
        while True:
            number += 1
            title = chance.choice(sorted(makers))
            place = folder / f"set-{number}"
            place.mkdir()
            makers[title](place / "a.png")
            way = chance.choice(("picture", "photo", "mask", "table"))
            signal.alarm(10)
            if way == "picture":
                failure = refused(lambda: read_picture(place / "a.png"))  # noqa: B023
            elif way == "table":
                failure = refused(lambda: open_table(place, 16, cache=False))  # noqa: B023
            else:
                pair = (place / "a.png", good) if way == "photo" else (good, place / "a.png")
                failure = refused(lambda: fill_file("telea", *pair, folder / "o.png"))  # noqa: B023
            signal.alarm(0)
            yield failure and f"{title} as {way}: {failure}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@program("masks of all kinds through inpaint's checks", short=60, long=600, share=0.3)
def strange_masks(chance: Random, folder: Path):
    """A mask is taken for what it is or refused; known pixels never change."""
    import gapfill

    model = gapfill.create("telea")
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 3, 24, 24), np.uint8))
    dtypes = (torch.bool, torch.uint8, torch.float32, torch.float64, torch.int64, torch.float16)
    while True:
        width = chance.choice((24, 24, 23))
        shape = [chance.choice((1, 2, 3)), chance.choice((1, 1, 1, 3)), 24, width]
        drawn = torch.rand(shape, generator=torch.Generator().manual_seed(chance.getrandbits(30)))
        mask = (drawn < chance.choice((0, 0.1, 0.5, 1.1))).float()
        if chance.random() < 0.2:
            mask *= chance.choice((255, 0.5, -1, float("nan"), float("inf")))
        given = mask.to(chance.choice(dtypes)) if mask.isfinite().all() else mask
        filled = []
        failure = refused(lambda: filled.append(model.inpaint(image, given)))  # noqa: B023
        if failure is None and filled:
            known = (given == 0).expand(2, 3, -1, -1)
            if not torch.equal(filled[0][known], image[known]):
                failure = "a known pixel changed"
        yield failure and f"{shape} {given.dtype}: {failure}"
