"""The comparison that needs no data and is over within minutes: how long, and with what settings.

With their own settings the paper's models make 150 to 250 steps in that time on two cores, which
teaches an adversary next to nothing. Narrow ones on smaller batches make five to ten times as many.
"""

from __future__ import annotations

from dataclasses import replace

from gapfill.compare.plan import Contestant
from gapfill.compare.settings import read
from gapfill.recipe import Recipe
from gapfill.registry import model_class

BUDGET = "75s"


def shortened(entry: Contestant) -> Contestant:
    """The contestant as a comparison of minutes trains it, if it has no settings of its own."""
    recipe = entry.recipe
    if recipe is None or recipe != Recipe(recipe.model) or entry.said is not None:
        return entry
    if not (text := model_class(recipe.model).about.short_run):
        return entry
    return replace(entry, said=read(text, recipe, recipe.model), short=text)
