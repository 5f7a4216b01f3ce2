"""What the numbers say, in sentences that they bear."""

from __future__ import annotations

from typing import Any

from gapfill.report.learning import own, trained_here
from gapfill.report.scores import (
    Score,
    contenders,
    finite,
    floor,
    listing,
    number,
    score,
    winner,
)

_MEANINGS = {
    "hole_psnr": "hole PSNR, SSIM and L1 look only at the pixels that were missing",
    "psnr": "plain PSNR and SSIM look at the whole picture, known pixels included",
    "lpips": "LPIPS is a learned distance between whole pictures (0 is identical)",
    "kid": "KID is the kernel distance of all fills, as a set, from real pictures",
    "fid": "FID is the Fréchet distance of all fills, as a set, from real pictures",
    "kd_vgg16": "KD-VGG16 is the kernel distance of all fills, as a set, from real pictures, on "
    "features of VGG16",
    "fd_vgg16": "FD-VGG16 is the Fréchet distance of the same",
    "sharpness": "sharpness is the gradient energy in the hole, filled over real (1 is as sharp as "
    "the truth, a blurry fill is below)",
    "seam": "seam is the mean jump across the hole's border, filled over real",
    "diversity": "diversity is the mean distance between fills of the same hole",
}


def finding(results: dict[str, Any], kind: str) -> str:
    """Say in one sentence who fills the hole best, and no more than the differences allow."""
    scores = {model["label"]: score(model, kind, "hole_psnr") for model in results["models"]}
    scores = {name: entry for name, entry in scores.items() if entry.mean is not None}
    if not scores:
        return "No model could be scored."
    ranked = sorted(scores, key=lambda name: -(scores[name].mean or 0.0))
    if len(scores) == 1:
        return (
            f"{ranked[0]} restores the missing pixels to {_psnr(scores[ranked[0]])} hole PSNR; "
            "no other model stood beside it."
        )
    level = contenders(results, kind, "hole_psnr")
    if len(level) == 1:
        said = (
            f"{level[0]} restores the missing pixels best, with {_psnr(scores[level[0]])} "
            f"hole PSNR, {_ahead(results, kind, ranked[1])} ahead of {ranked[1]}"
        )
    elif level:
        shown = level if len(level) <= 4 else [*level[:3], f"{len(level) - 3} more"]
        said = (
            f"{listing(shown)} restore the missing pixels equally well as far as these pictures "
            f"can tell ({level[0]} has the highest hole PSNR, {_psnr(scores[level[0]])})"
        )
    else:
        said = f"{ranked[0]} has the highest hole PSNR, {_psnr(scores[ranked[0]])}"
    return said + _sharpest(results, kind, level) + "."


def headline(results: dict[str, Any]) -> str:
    """Return the finding for the first kind of mask, which is named where there are several."""
    kinds = [mask["kind"] for mask in results["protocol"]["masks"]]
    said = finding(results, kinds[0])
    return said if len(kinds) == 1 else f"Under {kinds[0]} masks, {said}"


def _ahead(results: dict[str, Any], kind: str, label: str) -> str:
    """Write how far the best is ahead of a model, with the interval of the difference."""
    found = results["paired"]["lead"][kind]["hole_psnr"]["ahead"][label]
    mean, low, high = (number(value, 2) for value in found)
    return f"{mean} dB (95 % interval {low} to {high})"


def _psnr(entry: Score) -> str:
    return f"{entry.text(2)} dB"


def _sharpest(results: dict[str, Any], kind: str, level: list[str]) -> str:
    """Add who comes closest to the sharpness of real pictures, where that is certain."""
    best = winner(results, kind, "sharpness")
    if best is None:
        return ""
    scores = {model["label"]: score(model, kind, "sharpness") for model in results["models"]}
    value = number(scores[best].mean, 2)
    if level == [best]:
        return f"; it is also the closest to real sharpness ({value}, where 1 is real)"
    return f"; {best} comes closest to real sharpness ({value}, where 1 is real)"


def caveats(results: dict[str, Any], kind: str) -> list[str]:
    """Say what stands between the finding and a general truth: diverged runs, too few seeds."""
    data = results["data"]
    said = [f"Pictures: {note}." for note in data.get("notes", [])]
    said += [f"Test pictures: {note}." for note in data.get("test_notes", [])]
    learned = [model for model in results["models"] if model["learned"] and model["runs"]]
    for model in learned:
        failed = ((_diverged, "diverged"), (_below, f"ended below {floor(results)}"))
        parts = [(sum(map(has, model["runs"])), what) for has, what in failed]
        runs = len(model["runs"])
        words = [
            f"its only run {what}" if runs == 1 else f"{count} of {runs} runs {what}"
            for count, what in parts
            if count
        ]
        if words:
            said.append(f"{model['label']}: {listing(words)}.")
    looked = [model["label"] for model in learned if (model["config"] or {}).get("perceptual")]
    if looked:
        said.append(
            f"{listing(looked)} had a perceptual distance in the training loss (its setting "
            "perceptual): a low LPIPS is in part what was asked for."
        )
    if len(learned) > 1 and max(len(model["runs"]) for model in learned) == 1:
        said.append("Each model was trained once; another seed could change close places.")
    elif (close := _within_spread(results, kind)) is not None:
        said.append(close)
    return said


def _diverged(run: dict[str, Any]) -> bool:
    return bool(run["diverged"])


def _below(run: dict[str, Any]) -> bool:
    """Whether a run came to its end, and that is worse than the floor."""
    return bool(run["below_floor"]) and not run["diverged"]


def _within_spread(results: dict[str, Any], kind: str) -> str | None:
    """Warn where the two best models lie closer together than their own training runs do."""
    entries = []
    for model in results["models"]:
        entry = score(model, kind, "hole_psnr")
        spread = finite(((model["stability"] or {}).get("hole_psnr") or {}).get("sd"))
        if entry.mean is not None:
            entries.append((entry.mean, model["label"], spread or 0.0))
    if len(entries) < 2:
        return None
    (best, first, a), (next_best, second, b) = sorted(entries, reverse=True)[:2]
    widest = max(a, b)
    if widest == 0.0 or best - next_best > 2 * widest:
        return None
    return (
        f"{first} and {second} lie {number(best - next_best, 2)} dB apart, while training runs of "
        f"one model differ by {number(widest, 2)} dB (standard deviation)."
    )


def protocol(results: dict[str, Any]) -> str:
    """Tell in one paragraph how the numbers were made."""
    data, rules = results["data"], results["protocol"]
    size = f"{data['size']}×{data['size']}"
    crop = f", crop “{data['crop']}”" if data["crop"] else ""
    masks = listing(
        [
            f"{mask['kind']} ({number(100 * mask['area'], 0)} % missing, seed {mask['seed']}, "
            f"sha256 {mask['digest'][:12]}…)"
            if mask["area"] is not None
            else f"{mask['kind']} (seed {mask['seed']}, sha256 {mask['digest'][:12]}…)"
            for mask in rules["masks"]
        ]
    )
    keys = {column["key"] for column in results["columns"]}
    meanings = "; ".join(text for key, text in _MEANINGS.items() if key in keys)
    here, others = trained_here(results)
    who = f"{listing(here)} learned here," if others else "The learned models were trained"
    seeds = listing([str(seed) for seed in rules["seeds"]])
    kept = (
        f"{data['val']:,} validation pictures, none of them a test picture, chose the weights that "
        "were kept, by each model's own criterion."
        if data["val"]
        else "the last averaged weights were kept."
    )
    under = f" under {rules['trained_under']} masks" if rules.get("trained_under") else ""
    several = " A picture's score is its mean over the runs." if len(rules["seeds"]) > 1 else ""
    trained = (
        f" {who} on {data['train']:,} pictures{under}, with "
        f"{rules['limit']}, batches of {rules['batch_size']}{own(results)}, "
        f"seed{'s' if len(rules['seeds']) > 1 else ''} {seeds}; {kept}{several}"
        if here
        else ""
    )
    source = data.get("test_title") or data["title"]
    elsewhere = f" of {source}" if source != data["title"] else ""
    if elsewhere and data.get("test_split"):
        elsewhere += f" (its test split, by {data['test_split']})"
    tested = f"{data['test']:,} test pictures{elsewhere}"
    split = f" Its pictures are split by {data['split']}." if data.get("split") else ""
    return (
        f"{data['title']} at {size}{crop}.{split}{trained} All models fill the same {tested} under "
        f"the same masks: {masks}. What a mask hides is removed before a model sees "
        "the picture, known pixels come back unchanged, and the result is scored after rounding to "
        f"{rules['rounding']}, as a saved picture would be. Measured per picture: {meanings}. ± is "
        "the standard error of the mean over the test pictures; it does not hold the spread "
        "between training runs, which stands under stability."
    )
