"""How models are chosen whose fills are to look real and not to be right on average."""

from __future__ import annotations

from collections.abc import Mapping

from gapfill.inpainter import Inpainter


class Lifelike(Inpainter):
    """An inpainter that PSNR alone would choose too early, when its fills are still blurred."""

    by_lpips = True
    chosen_by = "hole_psnr and sharpness"
    watched = 128
    """So that a look costs no more with LPIPS than it did without, on 200 pictures."""

    def selection(self, scores: Mapping[str, float]) -> float:
        """LPIPS, or without it hole PSNR, less 4 dB for each unit of sharpness that is missing."""
        if "lpips" in scores:
            return -scores["lpips"]
        return scores["hole_psnr"] - 4 * max(0.0, 1 - scores["sharpness"])
