"""Loss terms as pure functions: means over pictures, in float32, free of host synchronisation.

Each takes a share of the picture's own hole, not of the batch's, so that a picture weighs the
same whatever its neighbours' masks are and however the batch is divided over processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gapfill.types import REPORTED, Terms


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


def matching(made: Sequence[Tensor], image: Sequence[Tensor]) -> Tensor:
    """Mean squared distance between feature maps of made and of true pictures, over the maps.

    Source: the feature matching of Salimans et al. 2016 and Wang et al. 2018, with L2.
    """
    distances = [F.mse_loss(a.float(), b.float()) for a, b in zip(made, image, strict=True)]
    return torch.stack(distances).mean()


def real(logits: Tensor, target: float = 1.0) -> Tensor:
    """Cross-entropy of logits against the answer "real"."""
    return F.binary_cross_entropy_with_logits(
        logits.float(), torch.full_like(logits.float(), target)
    )


def fake(logits: Tensor) -> Tensor:
    """Cross-entropy of logits against the answer "made"."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.zeros_like(logits.float()))


def saturating(logits: Tensor) -> Tensor:
    """The generator's loss as first printed, log(1 - D(G)), to be made small.

    Its gradient dies where the discriminator is sure. Source: Goodfellow et al. 2014, equation 1.
    """
    return -fake(logits)


def discrimination(on_real: Tensor, on_fake: Tensor) -> Terms:
    """The discriminator's terms from its logits on real and on made pictures.

    With them goes the share of pictures that it tells apart, half of them real.
    """
    right = (on_real > 0).float().mean() + (on_fake <= 0).float().mean()
    return {
        "real": real(on_real) / 2,
        "fake": fake(on_fake) / 2,
        REPORTED + "accuracy": right.detach() / 2,
    }
