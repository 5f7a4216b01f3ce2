"""What surrounds a drawn face: wall, clothes, hair, beard, glasses and hat."""

import numpy as np

from gapfill.data._face_parts import Array, Canvas


def background(c: Canvas, noise: Array) -> None:
    """A wall with a gradient, out-of-focus blobs and perhaps a darker panel."""
    t = c.t
    u, v = c.grid[None, None, :] - 32, c.grid[None, :, None] - 32
    light = t.wall_light + (u * t.wall_x + v * t.wall_y) / 64
    light += noise * t.wall_blobs
    panel = c.step((u - t.panel_at) * t.panel_side, 1.5) * t.panel_depth
    light = np.maximum(light * (1 - panel), 0.01)
    np.multiply(t.wall, light[:, None], out=c.image)


def neck(c: Canvas) -> None:
    """Neck in the chin's shadow, shoulders and clothes."""
    t = c.t
    part = c.part(0, 44, 64, 20)
    x, y = part.x, part.y
    flare = np.maximum(y - 27, 0)
    skin = part.step(t.neck + flare * flare * 0.12 - np.abs(x + t.yaw * 1.5), 1.5)
    shade = np.clip((y - t.chin + 5) * 0.045 + 0.25, 0.2, 0.7) + x * t.light_x * 0.014
    part.paint(skin, t.skin * t.key * np.maximum(shade, 0.08)[:, None])
    side = np.abs(x)
    cloth = part.step(y - t.shoulder - side * t.slope + t.collar * np.maximum(0, 12 - side), 1.2)
    folds = 0.55 + x * t.light_x * 0.012 + np.sin(x * 0.9 + y * 0.5) * 0.06
    part.paint(cloth, t.cloth * folds[:, None])


def hair_behind(c: Canvas) -> None:
    """The mass of hair seen around and behind the head."""
    t = c.t
    x, down = c.x + t.yaw * 2.0, c.y + 6
    span = t.width + t.hair_side + t.hair_flare * np.maximum(down, 0)
    across = x / span
    along = np.maximum(down, 0) / t.hair_long + np.minimum(down, 0) / (t.skull + t.hair_top - 2)
    squared = along * along
    radius = np.sqrt(across * across + squared * (1 - t.hair_round + t.hair_round * squared))
    outer = (1 - radius) * t.width
    c.hair_outer = outer + c.ragged * t.curl
    reach = 26 / (c.y + t.strand_focus)
    strand = (x - t.part_x + c.y * t.strand_lean) * reach
    rows = (c.grid[:, None] - 32) * t.wave_often + t.phase
    wave = strand + np.sin(rows) * t.wave
    fibre = np.sin(wave * 1.5 + t.phase) * 0.5
    fibre += np.sin(wave * 2.9 + t.phase * 3) * 0.35
    fibre += np.sin(wave * 0.6 + t.phase * 2) * 0.4
    fibre *= 1 - t.curly
    fibre += c.ragged * (t.curly * 1.1)
    facing = across * t.light_x + along * t.light_y
    band = np.maximum(1 - np.abs(along + 0.62 - t.light_x * across * 0.4) * 3.2, 0)
    shade = np.maximum(0.46 + 0.34 * facing + fibre * t.fibre, 0.05)
    c.hair_fibre = fibre
    shine = np.maximum(band * (0.8 + fibre), 0) * t.hair_shine
    c.hair_light = t.hair * t.key * shade[:, None] + shine[:, None] * (t.hair + 0.12)
    mask = c.step(c.hair_outer, 1.6) * t.has_hair
    c.paint(mask, c.hair_light * 0.5)


def hair_in_front(c: Canvas) -> None:
    """Hair over the forehead and temples, and the curtains of long hair."""
    t = c.t
    x = c.x + t.yaw * 2.0
    off = x - t.part_x
    line = t.hairline + t.hairline_v * np.abs(off) + t.hairline_tilt * x
    line += t.hairline_bow * x * x * 0.02
    inner = t.width - t.curtain + np.maximum(c.y + 14, 0) * t.curtain_in
    above = line - c.y + c.hair_fibre * t.jagged * 0.35 + 6
    beside = np.abs(x) - inner + c.hair_fibre * 0.4 + 6
    # the two regions meet in a rounded corner
    front = np.maximum(above, 0) ** 2 + np.maximum(beside, 0) ** 2
    front = np.sqrt(front) - 6
    reach = np.minimum(front, c.hair_outer)
    cast = c.step(reach + 2.0, 5.0) * c.step(c.inside, 2.0)
    c.image *= 1 - 0.45 * (cast * t.has_hair)[:, None]
    mask = c.step(reach, 1.5) * t.has_hair
    depth = np.clip(0.62 + front * 0.07, 0.4, 1.05)
    c.paint(mask, c.hair_light * depth[:, None])


def beard(c: Canvas) -> None:
    """Stubble, moustache or a full beard, in the colour of the hair."""
    t = c.t
    x = c.x + t.yaw
    jaw = np.clip((c.y - t.beard_top + x * x * 0.045) * 0.35, 0, 1)
    bare = np.maximum(1 - (x / 5.5) ** 2 - ((c.y - t.mouth_y - 3.5) / 2.6) ** 2, 0)
    lip = np.clip(1.5 - np.abs(c.y - t.mouth_y + 3.4) * 0.6 - (x / 9) ** 2, 0, 1)
    mask = np.maximum(jaw * t.full * (1 - bare), lip * t.moustache)
    mask *= np.clip(c.inside * 0.6 + 0.9, 0, 1) * (0.95 + 0.08 * c.grain)
    shade = (0.3 + 0.45 * np.maximum(c.lit, 0)) * (1 + 0.12 * c.grain)
    c.paint(np.clip(mask, 0, 1) * t.beard_dense, t.hair * t.key * shade[:, None])


def glasses(c: Canvas) -> None:
    """Two rounded rims, a bridge and the arms; dark lenses for some."""
    t = c.t
    x, y = c.x - t.yaw * 0.8, c.y - t.eye_y - 0.6
    wide, high = t.lens_wide, t.lens_high
    dx = np.maximum(np.abs(np.abs(x) - t.eye_gap) - wide + t.lens_round, 0)
    dy = np.maximum(np.abs(y) - high + t.lens_round, 0)
    outside = np.sqrt(dx * dx + dy * dy) - t.lens_round
    lens = c.step(-outside)
    glare = np.clip(0.5 + (x * 0.6 - y) * 0.05, 0, 1) * 0.12
    c.paint(lens * t.tinted, t.lens * (1 + glare[:, None] * 4) + glare[:, None] * 0.25 * t.key)
    c.paint(lens * (1 - t.tinted) * glare * 0.8, t.key)
    rim = c.step(t.rim - np.abs(outside), 0.9)
    bridge = c.step(t.rim - np.abs(y + 0.8 + x * x * -0.03)) * c.step(t.eye_gap - wide - np.abs(x))
    arm = c.step(t.rim - np.abs(y + 1.2)) * c.step(np.abs(x) - t.eye_gap - wide)
    arm *= c.step(t.width + 0.5 - np.abs(x))
    c.paint(np.maximum(np.maximum(rim, bridge), arm), t.frame)


def hat(c: Canvas) -> None:
    """A knitted hat, a cap or a brim, with its shadow on the forehead."""
    t = c.t
    x = c.x + t.yaw * 1.5
    line = t.hat_line + x * x * 0.012 + x * t.hairline_tilt
    below = c.y - line
    c.image *= 1 - (0.5 * c.step(4.5 - below, 6.0) * c.step(c.inside, 2.0))[:, None]
    span = t.width + 2.6 + t.hat_wide * np.maximum(0, 4 + below)
    crown = c.step(np.minimum(-below, span - np.abs(x) - 0.012 * (c.y + 20) ** 2))
    facing = x / span
    shade = 0.45 + 0.4 * facing * t.light_x - 0.25 * facing * facing
    ribs = 1 + t.ribs * np.sin(x * 2.4)
    c.paint(crown, t.cloth * t.key * (shade * ribs)[:, None])
    band = c.step(t.band - np.abs(below + t.band), 1.2)
    band = band * c.step(span + t.brim - np.abs(x))
    c.paint(band, t.cloth * t.key * (shade * t.band_shade)[:, None])
