"""Distances of fills from the truth, pixel by pixel.

Each takes a share of the picture's own hole, not of the batch's, so that a picture weighs the
same whatever its neighbours' masks are and however the batch is divided over processes.
"""

from __future__ import annotations

from torch import Tensor


def masked_mean(error: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of `error` in each picture, then over pictures.

    Args:
        error: [N, C, H, W].
        weight: [N, 1, H, W], zero where a pixel does not count.
    """
    error, weight = error.float(), weight.float()
    total = (error * weight).sum((1, 2, 3))
    return (total / (weight.sum((1, 2, 3)).clamp_min(1e-6) * error.shape[1])).mean()


def l1(filled: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error where `weight` counts, in units of [-1, 1]."""
    return masked_mean((filled.float() - image).abs(), weight)


def l2(filled: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error where `weight` counts, in units of [-1, 1] squared."""
    return masked_mean((filled.float() - image).square(), weight)


def gradient(filled: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, along x plus along y.

    A difference counts where both of its pixels do. Source: the gradient loss that the paper
    names without a formula; the L1 form of Vitoria et al. 2018's.
    """
    error = filled.float() - image
    x = masked_mean((error[..., 1:] - error[..., :-1]).abs(), weight[..., 1:] * weight[..., :-1])
    y = masked_mean(
        (error[..., 1:, :] - error[..., :-1, :]).abs(), weight[..., 1:, :] * weight[..., :-1, :]
    )
    return x + y
