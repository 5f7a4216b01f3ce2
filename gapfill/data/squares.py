"""Many pictures as squares of one size: cropped, resized and read on all CPUs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from gapfill.errors import UsageError
from gapfill.pictures import damage, read_picture, reason_of
from gapfill.reading.formats import check_size, jpeg_size
from gapfill.reading.noise import quiet

_CHUNK = 64  # pictures a thread takes at a time
_LARGE = 1 << 18  # bytes of a JPEG beyond which Pillow decodes it
_IN_FLIGHT = 64_000_000  # pixels that all threads together decode; a larger picture waits alone
CELEBA_SIZE = (178, 218)
# The 128×128 box centred on (89, 121) that the PGGAN and StyleGAN dataset tools take.
CELEBA_BOX = (25, 57, 153, 185)


def check_crop(crop: str) -> str:
    """Return `crop` if it names a crop: "auto", "celeba", "center", or a number of pixels.

    >>> check_crop("108")
    '108'

    Raises:
        UsageError: it names none.
    """
    if crop in ("auto", "celeba", "center") or (crop.isdecimal() and int(crop) > 0):
        return crop
    raise UsageError(
        f"crop is {crop!r}; allowed are 'auto', 'celeba', 'center', or the side of a centred "
        "square in pixels such as '108'."
    )


def crop_for(picture_size: tuple[int, int]) -> str:
    """Say what "auto" means for a picture of this (width, height).

    >>> crop_for((178, 218)), crop_for((640, 480))
    ('celeba', 'center')
    """
    return "celeba" if picture_size == CELEBA_SIZE else "center"


def crop_and_resize(picture: Image.Image | np.ndarray, size: int, crop: str) -> np.ndarray:
    """Cut a square out of an RGB picture and resize it to uint8 `[size, size, 3]`.

    A side that is a multiple of `size` is reduced by the exact mean over its area; any other is
    resampled bicubically, with antialiasing where it shrinks.

    Raises:
        UsageError: no such crop, or the picture is too small for it.
    """
    left, top, right, bottom = box = _box(_size(picture), check_crop(crop))
    factor, rest = divmod(right - left, size)
    if isinstance(picture, np.ndarray):
        if (factor, rest) == (2, 0):
            return _halved(picture[top:bottom, left:right])
        picture = Image.fromarray(picture)
    if rest == 0:
        picture = picture.reduce(factor, box=box)
    else:
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture)


def _halved(square: np.ndarray) -> np.ndarray:
    """The exact mean of every 2×2 pixels, halves rounded up, as Pillow's `reduce` has it."""
    import cv2

    height, width = square.shape[:2]
    return cv2.resize(square, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def _size(picture: Image.Image | np.ndarray) -> tuple[int, int]:
    """Width and height."""
    return picture.shape[1::-1] if isinstance(picture, np.ndarray) else picture.size  # type: ignore[return-value]


def _plain_jpeg(data: bytes) -> np.ndarray | None:
    """A colour JPEG as RGB [H, W, 3] from OpenCV, in half of Pillow's time and with its pixels.

    None is for whatever may need more care: other formats, CMYK, a picture that may be turned,
    one that ends early, a large file. Pillow knows what to do with it, or what to say of it.
    """
    import cv2

    whole = data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    turned = b"Exif\0" in data or b"tiff:Orientation" in data
    if not whole or len(data) > _LARGE or turned or b"Adobe" in data:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


class _Room:
    """Lets threads decode as many pixels at once as memory is meant for."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, wanted: int) -> int:
        """Wait until there is room, and return what to give back."""
        wanted = min(wanted, self._pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + wanted <= self._pixels)
            self._taken += wanted
        return wanted

    def give(self, taken: int) -> None:
        """Make room."""
        with self._changed:
            self._taken -= taken
            self._changed.notify_all()


@dataclass(frozen=True)
class Squares:
    """Many pictures cut to one size: uint8 `[N, 3, S, S]`, with rows in `failures` left undefined.

    `crop` is the one that all had, or "auto" where they differ. `remarks` has what decoders said of
    pictures that they read all the same.
    """

    images: torch.Tensor
    failures: dict[int, str]
    crop: str
    remarks: dict[int, str] = field(default_factory=dict)


def read_squares(
    read: Callable[[str], bytes],
    names: Sequence[str],
    size: int,
    crop: str,
    title: str = "pictures",
    progress: bool | None = None,
) -> Squares:
    """Read, cut and resize many pictures on all CPUs; decoders release the GIL while they work.

    `read` gives a file's content by its name and must bear several threads. With `progress` None
    there is a bar in a terminal only.
    """
    from tqdm import tqdm

    images = torch.empty((len(names), 3, size, size), dtype=torch.uint8)
    rows = images.numpy()
    crops: set[str] = set()
    failures: dict[int, str] = {}
    remarks: dict[int, str] = {}
    suspects: set[int] = set()
    room = _Room(_IN_FLIGHT)

    def read_one(i: int) -> None:
        taken = 0

        def admit(width: int, height: int) -> None:
            nonlocal taken
            if not taken:
                taken = room.take(width * height)

        try:
            data = read(names[i])
            header = jpeg_size(data)  # before OpenCV, which takes whatever it says
            if header is not None:
                check_size(*header)
                admit(*header)
            picture = _plain_jpeg(data) if header is not None else None
            if picture is None:
                picture = read_picture(data, names[i], admit)
            rows[i] = crop_and_resize(picture, size, crop).transpose(2, 0, 1)
            crops.add(crop_for(_size(picture)) if crop == "auto" else crop)
        except Exception as error:  # One bad picture, whatever it raises, costs only itself.
            failures[i] = reason_of(error)
        finally:
            room.give(taken)

    def fill(chunk: range) -> int:
        for i in chunk:
            before = quiet.said
            read_one(i)
            if quiet.said != before:  # this one's decoder said something, or another thread's did
                suspects.add(i)
        return len(chunk)

    def hear(i: int) -> None:
        """Read one picture again, alone, to know what its decoder says."""
        failures.pop(i, None)
        before = quiet.said
        read_one(i)
        lines = quiet.lines(before)
        if i not in failures and lines:
            if (reason := damage(lines)) is not None:
                failures[i] = reason
            else:
                remarks[i] = lines[0]

    if progress is None and os.environ.get("CI"):
        progress = False
    pool = ThreadPoolExecutor(cpus())
    try:
        hidden = None if progress is None else not progress
        chunks = [range(len(names))[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]
        with (
            quiet,
            quiet.terminal() as terminal,
            tqdm(
                total=len(names), desc=f"reading {title}", unit="img", disable=hidden, file=terminal
            ) as bar,
        ):
            for done in pool.map(fill, chunks):
                bar.update(done)
            for i in sorted(suspects):
                hear(i)
    finally:
        pool.shutdown(cancel_futures=True)
    return Squares(images, failures, crops.pop() if len(crops) == 1 else "auto", remarks)


def cpus() -> int:
    """How many processors this process may use."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _box(size: tuple[int, int], crop: str) -> tuple[int, int, int, int]:
    width, height = size
    if crop == "auto":
        crop = crop_for(size)
    if crop == "celeba":
        if size != CELEBA_SIZE:
            raise UsageError(f"crop 'celeba' needs pictures of 178×218; this is {width}×{height}")
        return CELEBA_BOX
    side = min(size) if crop == "center" else int(crop)
    if side > min(size):
        raise UsageError(f"crop '{side}' is larger than the picture of {width}×{height}")
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
