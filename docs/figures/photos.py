"""The figure and the numbers of docs/photos.md: `python docs/figures/photos.py runs/photos`.

Trains two models on crops of ten photos in the public domain, each on those of the half that it
will not fill, and writes photos.jpg and table.md into the folder. Needs scikit-image and the
network of LPIPS; takes 12 minutes of a core, and goes on where it was when started again.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from torch import Tensor

import gapfill
from gapfill import metrics

SHORTER = 384  # photos are reduced to this shorter side, so that they are sharp pixel by pixel
HALVES = (
    ("astronaut", "coffee", "camera", "grass", "clock"),
    ("chelsea", "rocket", "brick", "gravel", "hubble_deep_field"),
)
WAYS = {
    "one window": {"context": "whole", "grain": False},
    "a window for each hole": {"grain": False},
    "with grain": {},
}
AROUND = 32  # pixels beside the holes that LPIPS looks at too
FACE = (105, 31, 124)  # left, top and side of the astronaut's face, cut as CelebA's are
PANEL, LINE = 200, 18  # pixels of the figure

Draw = Callable[[ImageDraw.ImageDraw, np.random.Generator, int, int], None]


def photo(name: str) -> np.ndarray:
    """A photo as RGB, uint8 [H, W, 3]."""
    pixels = getattr(data, name)()
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, 2)
    scale = SHORTER / min(pixels.shape[:2])
    if scale < 1:
        height, width = (round(scale * side) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return pixels


def crops(names: tuple[str, ...], count: int = 3000) -> torch.Tensor:
    """Squares of photos, from 64 pixels to the whole, as uint8 [count, 3, 64, 64]."""
    random = np.random.default_rng(0)
    photos = [photo(name) for name in names]
    made = []
    for _ in range(count):
        pixels = photos[random.integers(len(photos))]
        side = round(np.exp(random.uniform(np.log(64), np.log(min(pixels.shape[:2])))))
        top, left = (random.integers(length - side + 1) for length in pixels.shape[:2])
        square = pixels[top : top + side, left : left + side]
        made.append(cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA))
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous()


def trained(names: tuple[str, ...], folder: Path) -> gapfill.Inpainter:
    """`unet@any`, trained further on crops of these photos."""
    model = gapfill.create("unet", pretrained="any", lr=5e-4)
    stream = gapfill.Stream(crops(names), batch_size=16, seed=0)
    return model.fit(stream, mask="rect+brush", steps=1500, out=folder)


def spot(draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int) -> None:
    """A round hole of 20 pixels."""
    draw.circle([int(random.integers(40, side - 40)) for side in (width, height)], 10, 1)


def scratches(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int
) -> None:
    """Six lines, 2 to 4 pixels wide."""
    for _ in range(6):
        ends = random.random((2, 2)) * (width, height)
        draw.line([tuple(end) for end in ends], 1, int(random.integers(2, 5)))


def wire(draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int) -> None:
    """A line of 3 pixels from side to side."""
    left, right = random.uniform(0.1, 0.9, 2) * height
    draw.line([(0, left), (width, right)], 1, 3)


def two(draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int) -> None:
    """Round holes of 50 and 60 pixels in opposite corners."""
    draw.circle((60, 60), 25, 1)
    draw.circle((width - 60, height - 60), 30, 1)


def ellipse(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, width: int, height: int
) -> None:
    """A third by a fifth of the shorter side."""
    side = min(width, height)
    left, top = random.integers(20, width - side // 3 - 20), random.integers(20, height * 3 // 4)
    draw.ellipse((left, top, left + side // 3, top + side // 5), 1)


KINDS: dict[str, Draw] = {
    "a spot of 20 pixels": spot,
    "six scratches, 2 to 4 pixels wide": scratches,
    "a wire from side to side": wire,
    "two holes, 50 and 60 pixels": two,
    "an ellipse, a third by a fifth of the shorter side": ellipse,
}


def removed(*shapes: tuple[str, tuple, int]) -> Draw:
    """What hides an object: shapes of ImageDraw with their places and widths."""

    def drawn(draw: ImageDraw.ImageDraw, *_: object) -> None:
        for shape, place, width in shapes:
            getattr(draw, shape)(place, 1, *([width] if shape == "line" else []))

    return drawn


# What the figure shows of each photo: a name, the hole, and the square of the photo.
FIGURE: dict[str, tuple[str, Draw, tuple[int, int, int]]] = {
    "chelsea": ("scratches", scratches, (70, 20, 200)),
    "brick": ("scratches", scratches, (60, 60, 240)),
    "rocket": ("a wire", wire, (180, 90, 200)),
    "clock": ("a wire", wire, (80, 30, 240)),
    "grass": ("two holes", two, (0, 0, 384)),
    "gravel": ("two holes", two, (0, 0, 384)),
    "coffee": (
        "a spoon removed",
        removed(("ellipse", (300, 212, 404, 322), 0), ("line", (396, 62, 362, 230), 30)),
        (192, 0, 384),
    ),
    "camera": ("a tower removed", removed(("rectangle", (304, 88, 330, 152), 0)), (234, 60, 150)),
    "hubble_deep_field": (
        "a galaxy removed",
        removed(("ellipse", (306, 194, 334, 222), 0)),
        (250, 138, 140),
    ),
    "astronaut": ("a face", removed(("rectangle", (136, 62, 197, 123), 0)), (85, 15, 165)),
}


def hole(draw: Draw, seed: int, pixels: np.ndarray) -> np.ndarray:
    """A mask [H, W], 1 = missing."""
    height, width = pixels.shape[:2]
    image = Image.new("L", (width, height))
    draw(ImageDraw.Draw(image), np.random.default_rng(seed), width, height)
    return np.array(image)


def scores(made: Tensor, real: Tensor, mask: Tensor, lpips: metrics.Distance) -> list[float]:
    """Hole PSNR, LPIPS around the holes, and the seam."""
    rows, columns = (np.flatnonzero(mask[0, 0].numpy().any(axis)) for axis in (1, 0))
    part = (
        ...,
        slice(max(0, rows[0] - AROUND), rows[-1] + 1 + AROUND),
        slice(max(0, columns[0] - AROUND), columns[-1] + 1 + AROUND),
    )
    found = metrics.psnr_hole(made, real, mask), lpips(made[part], real[part])
    return [float(each) for each in (*found, metrics.seam(made, real, mask))]


def tensors(pixels: np.ndarray, marked: np.ndarray) -> tuple[Tensor, Tensor]:
    """A photo [1, 3, H, W] and its mask [1, 1, H, W]."""
    real = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    return real, torch.from_numpy(marked)[None, None].float()


def table(models: dict[str, gapfill.Inpainter], lpips: metrics.Distance) -> Iterator[str]:
    """Means over the ten photos, a line for each kind of holes and each way."""
    for kind, draw in KINDS.items():
        for way, options in WAYS.items():
            found = []
            for seed, name in enumerate(FIGURE):
                pixels = photo(name)
                real, mask = tensors(pixels, hole(draw, seed, pixels))
                made = gapfill.fill_any_size(models[name], real, mask, **options)
                found.append(scores(made, real, mask, lpips))
            decibels, distance, seam = np.mean(found, 0)
            yield f"| {kind} | {way} | {decibels:.1f} | {distance:.3f} | {seam:.1f} |"


def rows(models: dict[str, gapfill.Inpainter], lpips: metrics.Distance) -> Iterator[Image.Image]:
    """The figure, a photo a row: the hole, one window, the new way, the photo."""
    for seed, (name, (what, draw, view)) in enumerate(FIGURE.items()):
        pixels = photo(name)
        real, mask = tensors(pixels, hole(draw, seed, pixels))
        new = {"context": ",".join(map(str, FACE)), "grain": False} if what == "a face" else {}
        known = torch.where(mask.bool(), torch.tensor(128, dtype=torch.uint8), real)
        panels = [(known, f"{name.split('_')[0]}: {what}")]
        for way in (WAYS["one window"], new):
            made = gapfill.fill_any_size(models[name], real, mask, **way)
            decibels, distance, seam = scores(made, real, mask, lpips)
            text = f"{decibels:.1f} dB · {distance:.3f} · {seam:.1f}"
            panels.append((made, "no truth to score" if "removed" in what else text))
        yield row([*panels, (real, "photo")], view)


def row(panels: list[tuple[Tensor, str]], view: tuple[int, int, int]) -> Image.Image:
    """Squares of pictures side by side, each above its words."""
    left, top, side = view
    image = Image.new("RGB", (len(panels) * (PANEL + 4) - 4, PANEL + LINE + 4), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for number, (picture, text) in enumerate(panels):
        cut = Image.fromarray(picture[0].permute(1, 2, 0).numpy())
        cut = cut.crop((left, top, left + side, top + side))
        at = number * (PANEL + 4)
        image.paste(cut.resize((PANEL, PANEL), Image.Resampling.LANCZOS), (at, 0))
        draw.text((at, PANEL + 1), text, "black", font)
    return image


def main(folder: Path) -> None:
    """Train, or take what was trained; write the table and the figure."""
    lpips, missing = metrics.load_lpips()
    if lpips is None:
        sys.exit(missing)
    models = {}
    for number, names in enumerate(HALVES):
        model = trained(HALVES[1 - number], folder / f"half-{number}")
        models |= dict.fromkeys(names, model)
    lines = list(table(models, lpips))
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    models["astronaut"] = gapfill.create("unet", pretrained="any")  # knows faces
    shown = list(rows(models, lpips))
    figure = Image.new("RGB", (shown[0].width, sum(each.height for each in shown)), "white")
    top = 0
    for each in shown:
        figure.paste(each, (0, top))
        top += each.height
    figure.save(folder / "photos.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
