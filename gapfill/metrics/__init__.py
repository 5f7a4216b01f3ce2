"""Metrics: pure functions that score filled pictures against the true ones."""

from gapfill.metrics.features import Features, load_features
from gapfill.metrics.perceptual import Distance, load_lpips, lpips_missing
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
from gapfill.metrics.sets import frechet_distance, kernel_distance, kernel_distances

__all__ = [
    "METRICS",
    "Distance",
    "Features",
    "Metric",
    "diversity",
    "frechet_distance",
    "kernel_distance",
    "kernel_distances",
    "l1",
    "l1_hole",
    "load_features",
    "load_lpips",
    "lpips_missing",
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
