"""The parts of a drawn face: each function paints one part of a whole chunk of faces at once.

Lengths are in 64ths of the picture's width whatever its size, with x to the right and y down from
the middle of the face; colours are linear light. A trait is an array `[N, 1, 1]`, a colour
`[N, 3, 1, 1]`.
"""

from copy import copy
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Spot = tuple[float | Array, float | Array, float | Array, float | Array, float | Array]


class Canvas:
    """The pictures of a chunk, and where each pixel lies in its own face's coordinates.

    Parts that are painted early leave planes here for those that follow.
    """

    across: Array  # -1 … 1 from one side of the head to the other
    down: Array  # -1 … 1 from crown to chin
    inside: Array  # how far inside the head's outline, in lengths
    lit: Array  # how squarely the skin faces the light
    ragged: Array  # cloudy noise, coarse
    grain: Array  # cloudy noise, fine
    hair_outer: Array  # how far inside the hair's outline
    hair_fibre: Array  # the pattern of strands
    hair_light: Array  # the hair's colour, [N, 3, size, size]

    def __init__(self, size: int, t: SimpleNamespace) -> None:
        self.size = size
        self.unit = 64 / size
        self.t = t
        self.grid = (np.arange(size, dtype=np.float32) + 0.5) * self.unit
        u = (self.grid[None, None, :] - t.centre_x) / t.zoom
        v = (self.grid[None, :, None] - t.centre_y) / t.zoom
        self.x = u * t.cos + v * t.sin
        self.y = v * t.cos - u * t.sin
        self.image = np.empty((len(t.zoom), 3, size, size), np.float32)

    def step(self, distance: NDArray[np.floating], softness: float = 1.0) -> Array:
        """1 inside (distance > 0), 0 outside, with an edge `softness` pixels wide."""
        edge: Array = distance * (1 / (softness * max(self.unit, 0.6)))
        edge += 0.5
        return np.clip(edge, 0, 1, out=edge)

    def paint(self, mask: Array, colour: Array) -> None:
        """Lay `colour` over the picture where `mask` is 1."""
        delta = colour - self.image
        delta *= mask[:, None]
        self.image += delta

    def part(self, left: float, top: float, width: float, height: float) -> "Canvas":
        """A view of a rectangle of every picture; painting on it paints on this canvas."""
        cols = slice(round(left / self.unit), round((left + width) / self.unit))
        rows = slice(round(top / self.unit), round((top + height) / self.unit))
        view = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and value.ndim == 3:
                setattr(view, name, value[:, rows, cols])
        view.x, view.y = np.ascontiguousarray(view.x), np.ascontiguousarray(view.y)
        view.image = self.image[:, :, rows, cols]
        return view

    def some(self, chosen: Array) -> tuple["Canvas", NDArray[np.intp]]:
        """Copies of the pictures whose trait `chosen` is not 0, and which those are."""
        which = np.flatnonzero(chosen)
        few = copy(self)
        for name, value in vars(self).items():
            setattr(few, name, value[which] if getattr(value, "ndim", 0) > 1 else value)
        few.t = SimpleNamespace(**{name: value[which] for name, value in vars(self.t).items()})
        return few, which

    def bumps(self, spots: list[Spot]) -> tuple[Array, Array, Array]:
        """A sum of soft round bumps and its slopes along x and y, each `[N, size, size]`.

        A spot is (x, y, radius_x, radius_y, height). Each bump is a product of two bells, so the
        whole sum is one small matrix product a face.
        """
        t, count = self.t, len(self.t.zoom)
        table = np.empty((5, count, len(spots), 1), np.float32)
        for k, spot in enumerate(spots):
            for row, value in zip(table, spot, strict=True):
                row[:, k, 0] = value if isinstance(value, float | int) else value[:, 0, 0]
        x, y, rx, ry, height = table
        middle_x = t.centre_x + t.zoom * (x * t.cos - y * t.sin)
        middle_y = t.centre_y + t.zoom * (y * t.cos + x * t.sin)
        rx, ry = rx * t.zoom, ry * t.zoom
        dx, dy = (self.grid - middle_x) / rx, (self.grid - middle_y) / ry
        bell_x, bell_y = np.exp(-0.5 * dx * dx), height * np.exp(-0.5 * dy * dy)
        down = bell_y.transpose(0, 2, 1)
        slope_y = (-dy / ry * bell_y).transpose(0, 2, 1)
        return down @ bell_x, down @ (-dx / rx * bell_x), slope_y @ bell_x


def head_shape(c: Canvas) -> None:
    """Work out, once, the head's outline that most parts refer to."""
    t = c.t
    x = c.x + t.yaw * 2.5
    down = c.y + 4.0
    below = np.maximum(down, 0) / t.chin
    along = below + np.minimum(down, 0) / t.skull
    across = x / t.width * (1 + t.taper * below * below)
    squared = along * along
    radius = np.sqrt(across * across + squared * (1 - t.jaw + t.jaw * squared) + 1e-6)
    c.across, c.down = across, along
    c.inside = (1 - radius) * t.width


def ears(c: Canvas) -> None:
    """Both ears, the far one mostly behind the head."""
    t = c.t
    for side, left in ((-1, 2), (1, 44)):
        part = c.part(left, 18, 18, 30)
        dx = (part.x - side * (t.width - 0.3) + t.yaw * (2.5 + 1.5 * side * np.sign(t.yaw))) / 3.2
        dy = (part.y - 1 + dx * side) / 6.4
        r = np.sqrt(dx * dx + dy * dy)
        mask = part.step((1 - r) * 3.8)
        bowl = 0.72 - 0.45 * np.clip(1.25 - 2.2 * r, 0, 1) + 0.25 * side * t.light_x
        part.paint(mask, t.skin * t.key * ((t.ambient + 0.5) * np.maximum(bowl, 0.1))[:, None])


def face(c: Canvas) -> None:
    """Skin: an egg with bumps for nose, sockets, cheeks, lips and chin, lit from one side."""
    t = c.t
    nose, m = t.yaw * 2.6, t.yaw * 1.6
    eye, mouth = t.eye_gap, t.mouth_y
    spots: list[Spot] = [
        (nose * 0.3, -4, 1.7, 4.5, 1.5 * t.nose_out),
        (nose * 0.7, 2, 2.0, 4.0, 1.8 * t.nose_out),
        (nose, t.nose_y - 1.5, 2.3 * t.nose_wide, 2.4, 2.6 * t.nose_out),
        (nose - 3.3 * t.nose_wide, t.nose_y, 1.5, 1.6, 1.1),
        (nose + 3.3 * t.nose_wide, t.nose_y, 1.5, 1.6, 1.1),
        (-13 + m, 5 - t.smile, 4.6, 4.2, 1.5 + t.smile * 0.9),
        (13 + m, 5 - t.smile, 4.6, 4.2, 1.5 + t.smile * 0.9),
        (m, mouth, 7.0, 4.5, 1.6),
        (m, mouth - 2, 5.0, 1.3, 0.5),
        (m, mouth + 2.4 + t.open, 4.6, 1.4, 0.8),
        (m, mouth + 5.6 + t.open, 5.0, 1.3, -0.8),
        (m, t.chin - 8, 4.5, 3.2, 1.6),
        (m * 0.7, -16, 10, 5, 1.6),
    ]
    for side in (-1, 1):
        spots += [
            (side * eye + t.yaw * 0.5, t.eye_y - 0.4, 4.3, 2.6, -1.5),
            (side * (eye - 4.6), t.eye_y - 0.6, 1.7, 2.4, -0.9),
            (side * eye, t.eye_y, 2.8, 1.6, 0.7),
            (side * (eye - 0.5), t.eye_y - 5.5, 5.5, 1.9, t.brow_ridge),
            (side * (7.0 + t.smile) + m, mouth - 5, 1.2, 2.2, -t.folds),
            (side * (9.6 + t.smile) + m, mouth - 1.5, 1.2, 2.4, -t.folds),
            (side * (t.width - 1.5), -13, 4.0, 5.0, -1.2),
        ]
    spots += [(m * 0.5, height, 8.5, 0.55, -t.lines) for height in (-18.0, -15.5, -13.0)]
    _, slope_x, slope_y = c.bumps(spots)
    nx = c.across * 0.92 - slope_x * t.relief
    ny = c.down * 0.68 - slope_y * t.relief
    flat = nx * nx
    flat += ny * ny
    nz = np.sqrt(np.maximum(1 - c.across * c.across * 0.85 - c.down * c.down * 0.46, 0.06))
    scale = 1 / np.sqrt(flat + nz * nz)
    facing = (nx * t.light_x + ny * t.light_y + nz * t.light_z) * scale
    gloss = np.maximum((nx * t.half_x + ny * t.half_y + nz * t.half_z) * scale, 0)
    for _ in range(4):
        gloss *= gloss
    tone, _, _ = c.bumps(
        [
            (-eye, t.eye_y - 1.5, 4.2, 2.4, -0.2 - 0.15 * t.makeup),
            (eye, t.eye_y - 1.5, 4.2, 2.4, -0.2 - 0.15 * t.makeup),
            (-eye + 1, t.eye_y + 3.6, 3.4, 1.0, -t.tired),
            (eye - 1, t.eye_y + 3.6, 3.4, 1.0, -t.tired),
            (-eye + 5.0, t.eye_y, 1.4, 2.2, -0.12),
            (eye - 5.0, t.eye_y, 1.4, 2.2, -0.12),
            (nose - t.light_x * 3.5, t.nose_y + 2.4, 3.2, 1.2, -0.3),
            (m, mouth + 5 + t.open, 4.0, 1.1, -0.16),
            (m, t.chin - 3.4, 12, 2.2, -0.2),
            (0, -12, 12, 6, 0.06),
        ]
    )
    blush, _, _ = c.bumps(
        [
            (-12.5 + m, 6, 4.5, 3.5, 1.0),
            (12.5 + m, 6, 4.5, 3.5, 1.0),
            (nose, t.nose_y - 1, 2.6, 2.4, 0.8),
            (m, t.chin - 7, 4, 3, 0.4),
        ]
    )
    tone += 1
    tone += c.grain * t.rough
    blush *= t.blush
    skin = np.empty_like(c.image)
    for k, (wrap, redden) in enumerate(((0.3, 0.12), (0.22, -0.2), (0.18, -0.12))):
        lit = np.maximum(facing + wrap, 0) * 1 / (1 + wrap)
        lit *= t.key[:, k]
        lit += t.fill[:, k]
        lit *= tone
        lit *= t.skin[:, k]
        lit *= 1 + redden * blush
        lit += gloss * (t.shine * t.key[:, k])
        skin[:, k] = lit
    c.paint(c.step(c.inside, 1.3), skin)
    c.lit = facing


def eyes(c: Canvas) -> None:
    """Whites, iris, pupil, highlight, lids and crease, then the brow above."""
    t = c.t
    for side, left in ((-1, 11), (1, 31)):
        part = c.part(left, 17, 22, 19)
        far = 1 - 0.14 * np.maximum(t.yaw * side, 0)
        wide = t.eye_wide * far
        # x runs outwards from the middle of the eye, 1 at its outer corner
        x = (part.x - side * t.eye_gap) * side / wide
        y = part.y - t.eye_y + x * t.eye_tilt
        bow = np.maximum(1 - x * x, 0)
        upper = y + t.eye_open * bow * (1.0 - 0.16 * x)
        lower = t.eye_open * 0.62 * bow * (1.0 + 0.2 * x) - y
        mask = part.step(np.minimum(np.minimum(upper, lower), (1 - np.abs(x)) * wide))
        shade = np.clip(0.3 + 0.2 * upper, 0, 0.75) * (1 - 0.4 * x * x)
        part.paint(mask, t.key * t.white * shade[:, None])
        dx, dy = x * wide - t.gaze_x * side, y - t.gaze_y + 0.15
        r = np.sqrt(dx * dx + dy * dy)
        part.paint(mask * part.step(t.iris_size - r, 1.0), t.iris * (0.55 + 0.16 * dy)[:, None])
        part.paint(mask * part.step(t.iris_size * 0.46 - r, 0.9), t.iris * 0.06)
        gx, gy = dx - side * t.light_x * 0.9, dy + 0.8
        glint = np.maximum(1 - (gx * gx + gy * gy) * 1.1, 0) * t.glint
        part.paint(mask * glint, t.key * t.white)
        edge = np.abs(upper) / t.lash + np.maximum(np.abs(x) - 1, 0) * 8
        part.paint(np.maximum(1 - edge, 0) * t.lash_dark, t.lid)
        under = np.abs(lower + 0.2) + np.maximum(np.abs(x) - 0.95, 0) * 6
        part.paint(np.maximum(0.42 - 0.4 * under, 0), t.lid)
        crease = np.abs(upper + t.crease) + np.maximum(np.abs(x) - 0.8, 0) * 4
        part.paint(np.maximum(1 - crease, 0) * t.crease_dark, t.skin * 0.2)
        brow(part, side)


def brow(part: Canvas, side: int) -> None:
    """One eyebrow, thick at the nose and tapering outwards."""
    t = part.t
    x = (part.x * side - t.eye_gap - 0.3) / 6.6
    middle = t.eye_y - t.brow_up + t.brow_tilt * x + t.brow_arch * x * x
    thick = t.brow_thick * np.clip(1.15 - 0.55 * (x + 0.4), 0.25, 1.2)
    off = np.abs(part.y - middle + side * t.brow_uneven)
    mask = np.clip(thick - off * 1.0 + 0.35, 0, 1) * np.clip((1.02 - np.abs(x)) * 4, 0, 1)
    part.paint(mask * t.brow_dense, t.brow)


def nose(c: Canvas) -> None:
    """Nostrils and the line under the wings; the shading comes with the skin."""
    t = c.t
    part = c.part(18, 32, 28, 16)
    x, y = part.x - t.yaw * 2.6, part.y - t.nose_y
    for side in (-1, 1):
        dx = (x - side * 2.2 * t.nose_wide) / (1.5 * t.nose_wide)
        dy = (y - 1.5 + dx * side * 0.2) / 0.85
        hole = np.maximum(1.25 - dx * dx - dy * dy, 0)
        part.paint(np.minimum(hole, 1) * 0.85, t.skin * t.nostril)
        dx = (x - side * 4.3 * t.nose_wide) / 0.8
        dy = (y - 0.1) / 1.8
        wing = np.maximum(1 - dx * dx - dy * dy, 0)
        part.paint(wing * 0.4, t.skin * 0.15)


def mouth(c: Canvas) -> None:
    """Lips, and teeth or a dark gap when the mouth is open."""
    t = c.t
    part = c.part(14, 36, 36, 26)
    lit = np.clip(part.lit, 0, 1)
    x = (part.x - t.yaw * 1.6) / t.mouth_wide
    sq = x * x
    bow = np.maximum(1 - sq, 0)
    y = part.y - t.mouth_y + t.mouth_curve * (sq - 0.35) + x * t.smirk
    cupid = 1 - 0.35 * np.maximum(1 - sq * 30, 0)
    top = y + t.open * 0.35 * bow
    bottom = t.open * 0.65 * bow - y
    ends = (1.02 - np.abs(x)) * t.mouth_wide
    rim = np.minimum(y + (t.lip_up * cupid + t.open * 0.35) * bow, ends)
    upper = part.step(np.minimum(rim, -top))
    rim = np.minimum((t.lip_down + t.open * 0.65) * bow - y, ends)
    lower = part.step(np.minimum(rim, -bottom), 1.1)
    shade = 0.32 + 0.6 * lit
    part.paint(upper * t.lip_dense, t.lips * t.key * (shade * 0.75)[:, None])
    shine = np.maximum(1 - np.abs(y - t.open * 0.65 - t.lip_down * 0.45) * 1.2 - sq * 3, 0)
    shade = shade + shine * t.lip_shine
    part.paint(lower * t.lip_dense, t.lips * t.key * shade[:, None])
    gap = part.step(np.minimum(np.minimum(top, bottom), ends)) * np.minimum(t.open, 1)
    part.paint(gap, t.skin * 0.05 + 0.004)
    teeth = part.step(np.minimum(top - 0.25, t.teeth - top), 1.0) * gap
    ridges = 0.9 - 0.1 * np.cos(x * t.mouth_wide * 3.0)
    fade = np.clip(1.15 - sq * 1.1, 0, 1) * ridges * (0.75 + 0.45 * lit)
    part.paint(teeth * t.has_teeth, t.key * t.white * fade[:, None])
    line = np.maximum(1 - np.abs(y) * 1.3, 0) * np.clip((1.06 - np.abs(x)) * 6, 0, 1)
    part.paint(line * (0.75 - 0.6 * np.minimum(t.open, 1)), t.skin * 0.07)
    corner = np.maximum(1 - ((np.abs(x) - 1) * t.mouth_wide / 1.3) ** 2 - (y / 1.2) ** 2, 0)
    part.paint(corner * 0.5, t.skin * 0.1)
