"""Numbers as people read them, and what may be called best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

NOTHING = "–"
"""What stands where there is no number."""
BEYOND = "†"
"""What marks a model that was scored under masks that it was not built for."""


class Score(NamedTuple):
    """A mean with its standard error over `n` pictures; `reason` says why there is none."""

    mean: float | None
    se: float | None
    n: int
    reason: str | None

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean, or None where it is unknown."""
        if self.mean is None or self.se is None:
            return None
        return self.mean - 1.96 * self.se, self.mean + 1.96 * self.se

    def text(self, digits: int) -> str:
        """Write the score as `mean ± standard error`.

        >>> Score(20.5, 0.114, 400, None).text(2)
        '20.50 ± 0.11'
        """
        mean = number(self.mean, digits)
        return mean if self.mean is None or self.se is None else f"{mean} ± {self.se:.{digits}f}"


def finite(value: Any) -> float | None:
    """Return `value` as a float, or None where it is null, NaN, infinite or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def score(model: Mapping[str, Any], kind: str, key: str) -> Score:
    """Read one score of one model from results.json; what is absent reads as null."""
    entry = model["scores"].get(kind, {}).get(key) or {}
    mean, se = finite(entry.get("mean")), finite(entry.get("se"))
    return Score(mean, se, int(entry.get("n") or 0), entry.get("reason"))


def beyond(results: Mapping[str, Any], model: Mapping[str, Any], kind: str) -> str:
    """Return the mark of a model built for one square hole where `kind` has others, or nothing."""
    square = {mask["kind"]: mask.get("square", True) for mask in results["protocol"]["masks"]}
    return BEYOND if model.get("holes") == "square" and not square[kind] else ""


def floor(results: Mapping[str, Any]) -> str:
    """Return the label of the model that all must beat, or what stands for it in a sentence."""
    roles = {model.get("baseline"): model["label"] for model in results["models"]}
    return roles.get("floor", "the mean picture")


def footnotes(results: Mapping[str, Any]) -> list[str]:
    """Say, a line each, what the marks mean, what a row's note is, and which were left out."""
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    models = results["models"]
    strange = [kind for kind in kinds if any(beyond(results, model, kind) for model in models)]
    said = []
    if strange:
        said = [f"{BEYOND} built for one square hole; the holes of {listing(strange)} are others"]
    said += _floors(results)
    said += [f"{model['label']}: {model['note']}" for model in models if model.get("note")]
    left_out = results.get("left_out") or {}
    return said + [f"{label} is left out: {reason}" for label, reason in left_out.items()]


def _floors(results: Mapping[str, Any]) -> list[str]:
    """Say how far real pictures are from real ones, which a perfect fill would reach."""
    real = (results.get("sets") or {}).get("real") or {}
    said = []
    for column in results["columns"]:
        if entry := real.get(column["key"]):
            mean, se = finite(entry.get("mean")), finite(entry.get("se"))
            text = Score(mean, se, int(entry.get("n") or 0), None).text(column["digits"])
            said.append(f"{column['title']} between real pictures, training and test: {text}")
    return said


def number(value: float | None, digits: int) -> str:
    """Write a number with a fixed count of decimals, and a dash for none.

    >>> number(21.066, 2), number(-0.5, 1), number(None, 2)
    ('21.07', '−0.5', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,.{digits}f}".replace("-", "−")


def quantity(value: float | None) -> str:
    """Write a count to three significant digits.

    >>> [quantity(v) for v in (7_900_000, 213.04, 6.1, 256_000, 999_600, 0, None)]
    ['7.90 M', '213', '6.10', '256 k', '1.00 M', '0', '–']
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    value = float(f"{value:.3g}")
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")):
        if abs(value) >= size:
            return f"{value / size:#.3g}".removesuffix(".") + letter
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    """Write a length of time with the unit that suits it.

    >>> [duration(v) for v in (42.3, 1200, 8000, None)]
    ['42 s', '20 min', '2 h 13 min', '–']
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if hours == 0 else f"{hours} h {rest} min"


def listing(names: list[str]) -> str:
    """Join names as a sentence does.

    >>> listing(["cnn"]), listing(["cnn", "gan", "dcgan"])
    ('cnn', 'cnn, gan and dcgan')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def contenders(results: Mapping[str, Any], kind: str, key: str) -> list[str]:
    """Return the models, best first, that the paired intervals cannot tell from the best.

    A model whose difference to the best is not known stays a contender. Without per-picture scores
    nothing is known of any difference, and the list is empty.

    >>> ahead = {"cnn": [0.5, 0.4, 0.6], "gan": [0.7, -0.1, 1.5]}
    >>> lead = {"center": {"hole_psnr": {"best": "unet", "ahead": ahead}}}
    >>> models = [{"label": name, "scores": {"center": {"hole_psnr": {"mean": mean}}}}
    ...           for name, mean in (("gan", 20.3), ("cnn", 20.5), ("unet", 21.0))]
    >>> contenders({"models": models, "paired": {"lead": lead}}, "center", "hole_psnr")
    ['unet', 'gan']
    """
    lead = ((results.get("paired") or {}).get("lead") or {}).get(kind, {}).get(key)
    if not lead:
        return []
    measured = [m["label"] for m in results["models"] if score(m, kind, key).mean is not None]
    order = [lead["best"], *lead["ahead"]]
    order += [label for label in measured if label not in order]
    beaten = {label for label, (_, low, _) in lead["ahead"].items() if low > 0}
    return [label for label in order if label not in beaten]


def winner(results: Mapping[str, Any], kind: str, key: str) -> str | None:
    """Return the one model that is better than each other one beyond doubt, or None."""
    measured = sum(score(model, kind, key).mean is not None for model in results["models"])
    first = contenders(results, kind, key)
    return first[0] if len(first) == 1 and measured > 1 else None
