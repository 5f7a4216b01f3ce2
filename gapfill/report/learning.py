"""What the page says of each model's training: of what was kept with its weights, no more."""

from __future__ import annotations

from typing import Any

from gapfill.report.scores import NOTHING, finite, listing, number


def table(results: dict[str, Any]) -> dict[str, Any] | None:
    """Return the table of how each model came to be what it is, if any learned."""
    rows = []
    for model in results["models"]:
        facts = model.get("learned_from")
        if facts is None:
            continue
        times = facts["trainings"] or 1
        steps = number(finite(facts["steps"]), 0)
        rows.append(
            (
                model["label"],
                [
                    facts["where"],
                    steps + (f", after {times - 1} earlier" if times > 1 else ""),
                    facts["mask"] or NOTHING,
                    _seeds(results, model),
                    _pictures(facts),
                    _among(facts),
                ],
            )
        )
    headings = ("trained", "steps", "under masks", "seed", "pictures", "test pictures among them")
    return {"headings": headings, "rows": rows} if rows else None


def notes(results: dict[str, Any]) -> list[str]:
    """Say which models were trained elsewhere, and which saw test pictures, a line each."""
    said, spoilt = [], {}
    for model in results["models"]:
        facts = model.get("learned_from")
        if facts is None:
            continue
        if facts["where"] == "elsewhere":
            said.append(f"{model['label']} was trained elsewhere: {_how(facts)}")
        among = (facts["test_pictures"] or {}).get("among")
        if among:
            spoilt.setdefault(among, []).append(model["label"])
    total = results["data"]["test"]
    said += [
        f"{count:,} of the {total:,} test pictures were among the training pictures of "
        f"{listing(labels)}: these scores are not those of unseen pictures"
        for count, labels in spoilt.items()
    ]
    return said


def under(results: dict[str, Any]) -> str:
    """Say under which masks the models were trained, where all is known."""
    kind = results["protocol"].get("trained_under")
    here, others = trained_here(results)
    if not kind or not (here or others):
        return ""
    facts = {model["label"]: model.get("learned_from") or {} for model in results["models"]}
    by_kind: dict[str, list[str]] = {}
    for label in here:
        by_kind.setdefault(facts[label].get("mask") or kind, []).append(label)
    if list(by_kind) == [kind] and not others:
        return f"Every model was trained under {kind} masks."
    said = [f"{listing(who)} {_were(who)} trained under {k} masks" for k, who in by_kind.items()]
    if others:
        said.append(f"{listing(others)} {_were(others)} trained elsewhere, as said below")
    return f"{'; '.join(said)}."


def own(results: dict[str, Any]) -> str:
    """Say in what single models were trained otherwise than the rest: ` (but cnn: 9 steps)`."""
    said = [
        f"{model['label']}: {', '.join(model['own'])}"
        for model in results["models"]
        if model.get("own")
    ]
    return f" (but {'; '.join(said)})" if said else ""


def trained_here(results: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the models with an optimiser: those trained here, and those trained elsewhere."""
    here: list[str] = []
    elsewhere: list[str] = []
    for model in results["models"]:
        if model["learned"]:
            facts = model.get("learned_from") or {"where": "here"}
            (elsewhere if facts["where"] == "elsewhere" else here).append(model["label"])
    return here, elsewhere


def _were(labels: list[str]) -> str:
    return "was" if len(labels) == 1 else "were"


def _how(facts: dict[str, Any]) -> str:
    """Write what is known of a training: `900 steps under center masks, seed 0`."""
    steps = finite(facts["steps"])
    parts = [f"{steps:,.0f} steps" if steps is not None else ""]
    parts.append(f"under {facts['mask']} masks" if facts["mask"] else "")
    known = " ".join(part for part in parts if part)
    if facts["seed"] is not None:
        known += f", seed {facts['seed']}"
    if (facts["trainings"] or 1) > 1:
        known += f", after {facts['trainings'] - 1} earlier"
    said = known or "how is not known"
    if facts["test_pictures"] is None or facts["others"]:
        said += "; nobody can say that no test picture was among its training pictures"
    return said


def _seeds(results: dict[str, Any], model: dict[str, Any]) -> str:
    facts = model["learned_from"]
    if facts["where"] == "here" and len(model["runs"] or []) > 1:
        return ", ".join(str(run["seed"]) for run in model["runs"])
    return NOTHING if facts["seed"] is None else str(facts["seed"])


def _pictures(facts: dict[str, Any]) -> str:
    count = finite(facts["count"])
    if not count:
        return "not known"
    return f"{count:,.0f}" + (" and others" if facts["others"] else "")


def _among(facts: dict[str, Any]) -> str:
    found = facts["test_pictures"]
    if found is None or (facts["others"] and not found["among"]):
        return "not known"
    if not found["among"]:
        return "none"
    more = ", …" if found["among"] > len(found["names"]) else ""
    return f"{found['among']:,} of {found['of']:,} ({', '.join(found['names'])}{more})"
