"""Metrics: pure functions that score filled pictures against the true ones."""

from gapfill.metrics.perceptual import frechet_distance, kernel_distance, load_lpips
from gapfill.metrics.pixel import (
    METRICS,
    Metric,
    diversity,
    l1,
    l1_hole,
    metric,
    psnr,
    psnr_hole,
    score,
    seam,
    sharpness,
    ssim,
    ssim_hole,
    summary,
)

__all__ = [
    "METRICS",
    "Metric",
    "diversity",
    "frechet_distance",
    "kernel_distance",
    "l1",
    "l1_hole",
    "load_lpips",
    "metric",
    "psnr",
    "psnr_hole",
    "score",
    "seam",
    "sharpness",
    "ssim",
    "ssim_hole",
    "summary",
]
