"""Closing the seam around a filled hole."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def poisson_blend(filled: Tensor, known: Tensor, mask: Tensor, steps: int | None = None) -> Tensor:
    """Shift a fill so that it meets the known pixels and keeps its own gradients as they are.

    Solves Poisson's equation for the pixels of the hole alone, by conjugate gradients on each
    picture for itself: known pixels are its boundary and stay bit for bit, and nothing is asked of
    what the hole hid. Where the hole reaches the picture's border nothing holds the fill there.

    Source: Pérez et al. 2003, "Poisson Image Editing", guided by the fill's gradients.

    Args:
        filled: whole pictures [N, C, H, W], of which the hole counts and the pixels around it.
        known: pictures [N, C, H, W]; what is under the mask is never looked at.
        mask: [N, 1, H, W], 1 = missing.
        steps: of the solver; by default as many as a hole of half the picture takes.

    Returns:
        float32 [N, C, H, W].
    """
    if filled.is_meta:
        return filled.float()  # a shape alone has nothing to solve
    hole = mask.bool()
    filled, known = filled.float(), torch.where(hole, 0, known.float())
    degree = _neighbours(torch.ones_like(mask, dtype=torch.float32))
    # The shift has no Laplacian in the hole, and is what closes the seam at its border.
    residual = torch.where(hole, _neighbours(torch.where(hole, 0, known - filled)), 0)
    shift, direction, size = torch.zeros_like(filled), residual, _dot(residual, residual)
    enough = 1e-12 * size
    for _ in range(steps or 2 * sum(mask.shape[-2:])):
        image = torch.where(hole, degree * direction - _neighbours(direction), 0)
        steep = _dot(direction, image)
        length = torch.where(size > enough, size / steep, 0)
        shift = shift + length * direction
        residual = residual - length * image
        before, size = size, _dot(residual, residual)
        direction = residual + torch.where(before > enough, size / before, 0) * direction
    return torch.where(hole, filled + shift, known)


def _neighbours(x: Tensor) -> Tensor:
    """The sum of the four pixels around each; those beyond the border are zero."""
    wide = F.pad(x, (1, 1, 1, 1))
    rows = wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1]
    return rows + wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)
