"""Who a drawn face is: its random numbers, and everything that is decided before it is painted."""

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_THROWS = 160  # random numbers that one face may use for its traits
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class Dice:
    """Random numbers for a chunk of faces; throw k for face i is a hash of (seed, i, k)."""

    def __init__(self, seed: int, index: NDArray[np.int64]) -> None:
        self.key = _mix(index.astype(np.uint64) + _mix(np.array([seed & _MASK], np.uint64)))
        self.used = 0
        words = self._words(_THROWS)
        self.even = (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        quarters = words.view(np.uint16).reshape(*words.shape, 4)
        self.near = (quarters.sum(2, dtype=np.int64) - 131070) * np.float32(3**0.5 / 65536)
        self.near = self.near.astype(np.float32)
        self.throws = iter(range(_THROWS))

    def _words(self, count: int) -> NDArray[np.uint64]:
        steps = np.arange(self.used + 1, self.used + 1 + count, dtype=np.uint64)
        self.used += count
        return _mix(self.key[:, None] + steps * np.uint64(_GOLDEN))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Array:
        """[N, 1, 1], even between `low` and `high`."""
        return self.even[:, next(self.throws), None, None] * (high - low) + low

    def bell(self, middle: float, spread: float) -> Array:
        """[N, 1, 1], near normal (the sum of four even throws), within 3.5 spreads."""
        return self.near[:, next(self.throws), None, None] * spread + middle

    def chance(self, odds: float | Array) -> Array:
        """[N, 1, 1] of 0 and 1."""
        return (self.uniform() < odds).astype(np.float32)

    def field(self, rows: int, cols: int) -> Array:
        """[N, rows, cols] of even noise with mean 0 and deviation 1."""
        words = self._words(-(-rows * cols // 4))
        noise = words.view(np.uint16)[:, : rows * cols].astype(np.float32)
        noise -= 32767.5
        noise *= 12**0.5 / 65536
        return noise.reshape(len(words), rows, cols)

    def smooth(self, cells: int, size: int) -> Array:
        """[N, size, size] of cloudy noise, `cells` blobs across, deviation near 1."""
        at = (np.arange(size) + 0.5) / size * cells + 0.5
        weight = np.exp(-1.6 * (at[:, None] - np.arange(cells + 2)) ** 2)
        weight = (weight / np.sqrt((weight**2).sum(1, keepdims=True))).astype(np.float32)
        return weight @ self.field(cells + 2, cells + 2) @ weight.T


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finaliser: every bit out depends on every bit in."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _colour(at: NDArray[np.floating], stops: list[tuple[int, int, int]]) -> Array:
    """The colour, linear [N, 3, 1, 1], at `at` in 0 … 1 along evenly spaced sRGB `stops`."""
    table = (np.array(stops, np.float64) / 255) ** 2
    where = np.linspace(0, 1, len(stops))
    flat = at.reshape(-1)
    columns = [np.interp(flat, where, table[:, k]) for k in range(3)]
    return np.stack(columns, 1).astype(np.float32)[:, :, None, None]


def _paint(red: float, green: float, blue: float) -> Array:
    """One linear colour as [1, 3, 1, 1]."""
    return np.array([red, green, blue], np.float32)[None, :, None, None]


_SKIN = [
    (248, 212, 190),
    (236, 194, 166),
    (222, 172, 138),
    (186, 130, 94),
    (134, 88, 60),
    (84, 54, 38),
]
_HAIR = [(22, 18, 18), (44, 30, 24), (78, 52, 36), (124, 86, 54), (190, 148, 92), (232, 204, 150)]
_IRIS = [(44, 24, 14), (78, 48, 26), (106, 82, 44), (92, 110, 78), (88, 124, 152), (120, 150, 178)]
_CLOTH = [
    (20, 20, 26),
    (40, 56, 96),
    (140, 40, 44),
    (90, 110, 84),
    (180, 176, 170),
    (240, 240, 240),
]
_FRAME = [(14, 12, 12), (52, 34, 22), (128, 120, 112), (150, 40, 40)]
_WALL = [
    (26, 26, 32), (92, 74, 60), (60, 92, 132), (150, 142, 134), (84, 122, 88),
    (196, 120, 96), (170, 196, 212), (232, 230, 226),
]  # fmt: skip


def draw_traits(dice: Dice) -> SimpleNamespace:
    """Everything that makes one person and one photograph, thrown in a fixed order."""
    t = SimpleNamespace()
    one = np.float32(1)
    # camera and pose
    roll = dice.bell(0, 0.055)
    t.cos, t.sin = np.cos(roll), np.sin(roll)
    t.zoom = dice.bell(1.05, 0.04)
    t.centre_x, t.centre_y = 32 + dice.bell(0, 0.8), 32 + dice.bell(0, 0.8)
    t.yaw = dice.bell(0, 0.6)
    # who
    t.fine = dice.chance(0.55)  # finer features, more make-up, no beard
    age, melanin, fat = dice.uniform(), dice.uniform() ** 1.3, dice.bell(0, 1)
    bold = one - t.fine
    # light
    t.light_x = dice.uniform(-0.85, 0.85)
    t.light_y = dice.uniform(-0.65, 0.05)
    t.light_z = np.sqrt(np.maximum(1 - t.light_x**2 - t.light_y**2, 0.15))
    half = np.sqrt(t.light_x**2 + t.light_y**2 + (t.light_z + 1) ** 2)
    t.half_x, t.half_y, t.half_z = t.light_x / half, t.light_y / half, (t.light_z + 1) / half
    warm = dice.bell(0.02, 0.07)
    tint = np.concatenate([1 + warm, one + 0 * warm, 1 - warm], 1)[..., None]
    t.ambient = dice.uniform(0.12, 0.4)
    strength = dice.uniform(0.85, 1.15)[..., None]
    t.key = tint * (strength * (0.95 - 0.55 * t.ambient[..., None]))
    t.fill = t.ambient[..., None] * (2 - tint)
    # head
    t.width = 19.5 + fat * 0.9 - t.fine * 0.7
    t.chin = 31.5 + dice.bell(0, 1.1) - t.fine * 1.0
    t.skull = 32 + dice.bell(0, 1)
    t.jaw = np.clip(dice.bell(0.35, 0.15) + bold * 0.15, 0, 0.8)
    t.taper = np.clip(dice.bell(0.24, 0.1) - fat * 0.05 - bold * 0.06, 0, 0.5)
    t.skin = _colour(melanin, _SKIN) * (1 + dice.bell(0, 0.05)[..., None])
    t.rough = 0.012 + 0.022 * age
    t.shine = dice.uniform(0.02, 0.22)
    t.blush = dice.uniform(0.1, 0.8)
    t.relief = dice.uniform(0.75, 1.15)
    t.brow_ridge = 0.5 + bold * 0.7
    t.lines = np.maximum(age - 0.55, 0) * dice.uniform(0.2, 1.2)
    t.tired = 0.05 + 0.18 * age * dice.uniform()
    # expression
    t.smile = dice.uniform() ** 0.8 * dice.chance(0.75)
    t.open = np.maximum(dice.bell(-0.6, 1.2) + t.smile * 2.4, 0)
    t.has_teeth = (t.smile > 0.25) * one
    t.teeth = dice.uniform(1.6, 2.6) * (1 + 0.3 * t.smile)
    t.chin = t.chin + t.open * 0.35
    t.folds = 0.15 + t.smile * 0.65 + age * 0.4
    t.smirk = dice.bell(0, 0.16)
    t.gaze_x, t.gaze_y = dice.bell(0, 0.55) + t.yaw * 0.35, dice.bell(0, 0.25)
    # eyes and brows
    t.eye_gap = 10 + dice.bell(0, 0.35)
    t.eye_y = -4.6 + dice.bell(0, 0.4)
    t.eye_wide = 4.95 + dice.bell(0, 0.3) + t.fine * 0.25
    t.eye_open = np.maximum(2.15 + dice.bell(0, 0.4) + t.fine * 0.25 - t.smile * 0.35, 0.75)
    t.eye_tilt = dice.bell(0.2, 0.35)
    t.iris_size = 2.3 + dice.bell(0, 0.12)
    t.iris = _colour(dice.uniform() * (1 - np.sqrt(melanin) * 0.9), _IRIS)
    t.white = 0 * t.skin + _paint(0.8, 0.74, 0.7)
    t.glint = dice.uniform(0.5, 1.2)
    t.makeup = t.fine * dice.uniform()
    t.lash = 0.75 + 0.45 * t.makeup
    t.lash_dark = 0.7 + 0.3 * t.makeup
    t.lid = t.skin * 0.05
    t.crease = 1.5 + dice.bell(0, 0.25)
    t.crease_dark = dice.uniform(0.1, 0.45)
    # hair
    blond = dice.uniform() ** 0.8 * (1 - np.minimum(melanin * 1.6, 0.95))
    red = dice.chance(0.06)[..., None] * (melanin[..., None] < 0.4)
    grey = (dice.uniform() < age * age * 0.35)[..., None] * dice.uniform(0.4, 1)[..., None]
    t.hair = _colour(blond, _HAIR) * (1 - red) + red * _paint(0.26, 0.07, 0.02)
    t.hair = t.hair * (1 - grey) + grey * _paint(0.4, 0.4, 0.4)
    t.brow = t.hair * 0.35 + 0.004
    t.brow_up = 5.6 + dice.bell(0, 0.6) - bold * 0.5
    t.brow_tilt = dice.bell(0, 0.45) + bold * 0.1
    t.brow_arch = 0.3 + 0.7 * dice.uniform() * (0.5 + t.fine)
    t.brow_thick = 0.75 + dice.uniform() * 0.6 + bold * 0.4
    t.brow_dense = dice.uniform(0.5, 0.95)
    t.brow_uneven = dice.bell(0, 0.25)
    bald = dice.chance(0.14) * bold
    t.has_hair = 1 - bald * dice.chance(0.7)
    long = dice.chance(0.08 + 0.8 * t.fine)
    fringe = dice.chance(0.22 + 0.15 * long)
    receding = bold * dice.chance(0.15 + 0.3 * age) * (1 - fringe)
    t.part_x = dice.bell(0, 5)
    t.hairline = -23 + dice.bell(0, 1.4) + fringe * dice.uniform(5, 11) - bald * 5
    t.hairline_v = (1 - fringe) * long * dice.uniform(0.0, 0.5)
    t.hairline_tilt = dice.bell(0, 0.12)
    t.hairline_bow = dice.uniform(0.5, 1.9) * (1 - 0.7 * fringe) * (1 - 1.6 * receding)
    t.jagged = dice.uniform(0.2, 1.2) + fringe * dice.uniform(0, 3)
    t.curtain = 0.6 + long * dice.uniform(0.5, 3.5)
    t.curtain_in = long * dice.uniform(-0.06, 0.06) + (1 - long) * dice.uniform(0.12, 0.4)
    t.hair_side = 0.8 + long * dice.uniform(1.5, 6) + dice.uniform(0, 1.5)
    t.hair_top = dice.uniform(0.5, 5)
    t.hair_round = dice.uniform(0.3, 0.9)
    t.hair_flare = long * dice.uniform(-0.05, 0.25)
    t.hair_long = 14 + long * dice.uniform(26, 90)
    t.curly = dice.chance(0.2 + 0.2 * (melanin > 0.6)) * dice.uniform(0.4, 1)
    t.curl = 0.25 + t.curly * 1.2
    t.strand_focus = dice.uniform(46, 80)
    t.strand_lean = dice.bell(0, 0.25)
    t.wave, t.wave_often = dice.uniform(0, 1.6), dice.uniform(0.15, 0.4)
    t.phase = dice.uniform(0, 6.28)
    t.fibre = dice.uniform(0.08, 0.22)
    t.hair_shine = dice.uniform(0.03, 0.25)
    # nose and mouth
    t.nose_y = 7.6 + dice.bell(0, 0.7)
    t.nose_wide = 1 + dice.bell(0, 0.1) + melanin * 0.18 + bold * 0.06
    t.nose_out = dice.uniform(0.75, 1.25)
    t.nostril = dice.uniform(0.04, 0.12)[..., None]
    t.mouth_y = 15.6 + dice.bell(0, 0.6) - t.open * 0.15
    t.mouth_wide = 7.8 + dice.bell(0, 0.5) + t.smile * 2.4
    t.mouth_curve = dice.bell(0.1, 0.45) + t.smile * 2.0
    t.lip_up = 1.5 + dice.bell(0, 0.3) + melanin * 0.5 - t.smile * 0.2
    t.lip_down = 2.2 + dice.bell(0, 0.35) + melanin * 0.5
    red_lips = t.makeup[..., None] * dice.uniform(0, 1)[..., None]
    rosy = t.skin * _paint(0.88, 0.46, 0.46)
    t.lips = rosy * (1 - red_lips) + red_lips * _paint(0.5, 0.06, 0.08)
    t.lip_dense = 0.7 + 0.28 * t.makeup
    t.lip_shine = dice.uniform(0, 0.5)
    # beard, glasses, hat
    t.moustache = dice.chance(0.7)
    t.full = np.maximum(dice.chance(0.8), 1 - t.moustache)
    t.bearded = bold * dice.chance(0.5)
    thick = dice.uniform()
    t.beard_dense = 0.15 + 0.75 * thick * thick
    t.beard_top = 17 + dice.bell(0, 1.5)
    t.spectacled = dice.chance(0.06 + 0.12 * age)
    t.tinted = dice.chance(0.3) * dice.uniform(0.85, 1)
    t.lens_wide, t.lens_high = dice.uniform(5.2, 7), dice.uniform(3.4, 5.4)
    t.lens_round = np.minimum(t.lens_high, dice.uniform(1.5, 5.5))
    t.rim = dice.uniform(0.3, 0.75)
    t.frame = _colour(dice.uniform() ** 2, _FRAME)
    t.lens = t.frame * 0.2 + 0.01
    t.hatted = dice.chance(0.05)
    t.hat_line = dice.uniform(-19, -14)
    t.hat_wide = dice.chance(0.35) * dice.uniform(0.6, 2)
    t.ribs = dice.chance(0.5) * 0.12
    t.band, t.brim = dice.uniform(0.8, 2.2), dice.chance(0.6) * dice.uniform(0, 9)
    t.band_shade = dice.uniform(0.3, 1.3)
    # clothes and background
    t.neck = 12.5 + bold * 2.5 + fat * 0.7
    t.shoulder = 33 + dice.bell(0, 1.2)
    t.slope = dice.uniform(-0.35, -0.1)
    t.collar = dice.uniform(0, 0.5)
    t.cloth = _colour(dice.uniform(), _CLOTH)
    t.wall = _colour(dice.uniform(), _WALL) * (1 + 0.3 * dice.bell(0, 0.5)[..., None])
    t.wall_light = dice.uniform(0.5, 1.2)
    t.wall_x, t.wall_y = dice.bell(0, 0.5), dice.bell(0, 0.4)
    t.wall_blobs = dice.uniform(0, 0.35)
    t.panel_at, t.panel_side = dice.uniform(-30, 30), dice.chance(0.5) * 2 - 1
    t.panel_depth = dice.chance(0.3) * dice.uniform(0.2, 0.8)
    t.exposure = dice.uniform(0.95, 1.4)
    t.sensor = dice.uniform(0.003, 0.013)
    t.blur = np.maximum(dice.uniform(-0.15, 0.09), 0)
    t.vignette = dice.uniform(0, 0.3)
    return t
