"""Charts as plain geometry: the page's template draws them as inline SVG that follows its theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gapfill.report.load import Curve

FEW = 8  # points that a chart of half the page's width has room for
_LETTER = 7.6  # the mean width of a bold letter at the charts' 12 px, rounded up


@dataclass(frozen=True)
class Tick:
    """A position on an axis, in pixels, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve: its style and its points as SVG writes them."""

    style: str
    points: str


@dataclass(frozen=True)
class Mark:
    """A labelled point with its error bar; `leader` says that its label needs a line to it."""

    x: float
    y: float
    low: float
    high: float
    text: str
    text_x: float
    text_y: float
    anchor: str
    leader: bool
    style: str


@dataclass(frozen=True)
class Chart:
    """All that the template needs to draw one chart; the frame is (left, top, right, bottom)."""

    width: float
    height: float
    frame: tuple[float, float, float, float]
    described: str
    x_title: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    """One model in a scatter: where it stands, its interval, and whether it was trained."""

    name: str
    x: float
    y: float
    spread: float
    learned: bool


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers (1, 2 or 5 times a power of ten) from low to high.

    >>> ticks(0.0, 4000.0), ticks(15.2, 21.4)
    ([0.0, 1000.0, 2000.0, 3000.0, 4000.0], [16.0, 18.0, 20.0])
    """
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis.

    >>> log_ticks(0.7, 30), log_ticks(0.5, 2e4), log_ticks(180, 600)
    ([1, 2, 5, 10, 20], [1, 10, 100, 1000, 10000], [200, 300, 500])
    """
    ratio = high / low
    multiples = (1, 2, 3, 5, 7) if ratio < 10 else (1, 2, 5) if ratio < 300 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10**p if p >= 0 else m / 10**-p for p in powers for m in multiples]
    return [value for value in found if low <= value <= high]


def curves(
    groups: Sequence[tuple[str, Curve]],
    *,
    described: str,
    y_range: tuple[float, float] | None = None,
) -> Chart:
    """Draw curves over training steps: long ones smoothed, with the raw curve faint behind.

    Args:
        groups: Curves with their style; a style ending in `other` gets no raw curve.
        described: What the chart shows, for those who cannot see it.
        y_range: The vertical range; by default that of the smooth curves and nearly all raw points.
    """
    width, height, frame = 360.0, 190.0, (46.0, 10.0, 350.0, 158.0)
    low, high = y_range or value_range([curve for _, curve in groups])
    first = min(float(curve.steps[0]) for _, curve in groups)
    last = max(float(curve.steps[-1]) for _, curve in groups)
    across = _axis(0.0 if first < last / 10 else first, max(last, first + 1), frame[0], frame[2])
    up = _axis(low, high, frame[3], frame[1])
    lines = []
    for style, curve in groups:
        smooth = curve.smooth()
        if smooth is not curve and not style.endswith("other"):
            lines.append(Line(f"{style} raw", _path(curve.thin(), across, up)))
    lines += [Line(style, _path(curve.smooth().thin(120), across, up)) for style, curve in groups]
    start = 0.0 if first < last / 10 else first
    return Chart(
        width, height, frame, described, "steps", "",
        [Tick(across(v), f"{v:,.0f}") for v in ticks(start, max(last, start + 1), 4)],
        [Tick(up(v), f"{v:g}".replace("-", "−")) for v in ticks(low, high, 4)],
        lines=lines,
    )  # fmt: skip


def value_range(found: Sequence[Curve]) -> tuple[float, float]:
    """Return a range that shows all smooth curves and nearly all raw points, with some air."""
    raw = np.concatenate([curve.values for curve in found])
    smooth = np.concatenate([curve.smooth().values for curve in found])
    low = min(float(np.quantile(raw, 0.01)), float(smooth.min()))
    high = max(float(np.quantile(raw, 0.99)), float(smooth.max()))
    air = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - air, high + air


def scatter(points: Sequence[Point], *, x_title: str, y_title: str, described: str) -> Chart:
    """Draw quality (upwards) against cost (logarithmic), every point with its name beside it.

    Many points get a chart of the page's whole width.
    """
    width, height = (520.0, 340.0) if len(points) <= FEW else (1100.0, 560.0)
    frame = (52.0, 14.0, width - 14, height - 54)
    xs, lows, highs = zip(*((p.x, p.y - p.spread, p.y + p.spread) for p in points), strict=True)
    air = 0.09 * (max(highs) - min(lows)) or 1.0
    low, high = min(lows) - air, max(highs) + air
    cheap, dear = min(xs) / 1.6, max(xs) * 1.6
    log_across = _axis(math.log(cheap), math.log(dear), frame[0], frame[2])
    up = _axis(low, high, frame[3], frame[1])
    spots = [(log_across(math.log(p.x)), up(p.y)) for p in points]
    bars = [(up(p.y - p.spread), up(p.y + p.spread)) for p in points]
    taken = [
        (x - 7, min(y - 7, top), x + 7, max(y + 7, bottom))
        for (x, y), (bottom, top) in zip(spots, bars, strict=True)
    ]
    marks = []
    for point, (x, y), (bottom, top) in zip(points, spots, bars, strict=True):
        place = _place(point.name, x, y, taken, frame)
        style = "learned" if point.learned else "classical"
        marks.append(Mark(x, y, bottom, top, point.name, *place, style))
    return Chart(
        width, height, frame, described, x_title, y_title,
        [Tick(log_across(math.log(v)), f"{v:,g}") for v in log_ticks(cheap, dear)],
        [Tick(up(v), f"{v:g}") for v in ticks(low, high, 6)],
        marks=marks,
    )  # fmt: skip


_Box = tuple[float, float, float, float]
_EDGES = {-1: (1, "end"), 0: (0, "middle"), 1: (-1, "start")}


def _place(
    text: str, x: float, y: float, taken: list[_Box], frame: _Box
) -> tuple[float, float, str, bool]:
    """Find a free place for a label, the nearer the better, and take it.

    Returns:
        Where the text goes (x, y), which of its ends lies at x, and whether it is so far from its
        point that it needs a line to it.
    """
    half = len(text) * _LETTER / 2 + 2
    least, chosen = math.inf, ((x, y, x, y), x, "middle", False)
    for ring in (0, 14, 28, 44, 62, 84):
        reach_x, reach_y = half + 11 + ring, 17 + ring
        for way_x, way_y in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)):
            # On the diagonal only one of the two distances is needed to clear the point.
            centre_x = x + way_x * (reach_x if way_y == 0 else half * 0.6 + ring)
            centre_y = y + way_y * reach_y
            box = (centre_x - half, centre_y - 8, centre_x + half, centre_y + 8)
            hidden = sum(_overlap(box, other) for other in taken) + _outside(box, frame)
            if hidden < least:
                edge, anchor = _EDGES[way_x]
                least, chosen = hidden, (box, centre_x + edge * half, anchor, ring > 0)
        if least == 0:
            break
    box, text_x, anchor, leader = chosen
    taken.append(box)
    return round(text_x, 1), round((box[1] + box[3]) / 2, 1), anchor, leader


def _overlap(a: _Box, b: _Box) -> float:
    """Return the area that two boxes share."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    up = min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(up, 0.0)


def _outside(box: _Box, frame: _Box) -> float:
    """Return the area of `box` that lies outside the frame."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, frame)


def _axis(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return the map from values (low to high) to pixels (start to end)."""
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def _path(curve: Curve, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    """Write a curve's points for an SVG polyline."""
    pairs = zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
    return " ".join(f"{across(x):g},{up(y):g}" for x, y in pairs)
