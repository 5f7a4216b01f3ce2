"""Where a method comes from and what it is for: facts that no code can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["classical", "paper", "foundations", "modern", "other"]

GROUPS: dict[Group, str] = {
    "classical": "no network: what a learned method has to beat",
    "paper": 'the three of "Image Semantic Inpainting with DCGAN"',
    "foundations": "the works that the paper builds on",
    "modern": "strong today",
    "other": "of another package",
}


@dataclass(frozen=True)
class About:
    """What the registry says of a model beyond what its class shows.

    Attributes:
        group: which family it belongs to, a key of `GROUPS`.
        title: the work that describes the method.
        authors: its authors, as one cites them in running text ("Pathak et al.").
        year: when it was published.
        read: where its specification was read, or what kept it from being read; a model whose
            specification could not be read claims no reproduction.
        licence: what its own code's or data's terms mean for who uses the model.
        holes: `any`, or `square` for a method built for one square hole, which fills others too
            but was not meant to.
        baseline: `line` for a model that stands in every comparison because anything has to beat
            it, `floor` for the one below which a trained run counts as failed, else empty.
        short_run: its settings in the comparison of minutes that needs no data, as they would stand
            behind its colon; chosen by LPIPS on validation pictures, and by eye.
    """

    group: Group = "other"
    title: str = ""
    authors: str = ""
    year: int | None = None
    read: str = ""
    licence: str = "Apache-2.0, as gapfill"
    holes: Literal["any", "square"] = "any"
    baseline: Literal["", "line", "floor"] = ""
    short_run: str = ""
