"""What the two players of an adversarial model want, and the penalties that keep a critic tame."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gapfill.compute import full_precision
from gapfill.types import REPORTED, Terms
from gapfill.untraced import untraced


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


def told_apart(on_real: Tensor, on_fake: Tensor, border: Tensor | float = 0.0) -> Tensor:
    """The share of pictures that a critic puts on the right side of `border`, half of them real."""
    right = (on_real > border).float().mean() + (on_fake <= border).float().mean()
    return right.detach() / 2


def discrimination(on_real: Tensor, on_fake: Tensor) -> Terms:
    """The discriminator's terms from its logits on real and on made pictures."""
    return {
        "real": real(on_real) / 2,
        "fake": fake(on_fake) / 2,
        REPORTED + "accuracy": told_apart(on_real, on_fake),
    }


def squares(logits: Tensor, label: float) -> Tensor:
    """Half the mean squared distance of a critic's outputs from a label."""
    return (logits.float() - label).square().mean() / 2


def squares_apart(on_real: Tensor, on_fake: Tensor) -> Terms:
    """The critic's least squares: real pictures are labelled 1, made ones 0."""
    return {
        "real": squares(on_real, 1),
        "fake": squares(on_fake, 0),
        REPORTED + "accuracy": told_apart(on_real, on_fake, 0.5),
    }


def score(logits: Tensor) -> Tensor:
    """What a generator wants to be large where a critic's output is no chance but a score."""
    return -logits.float().mean()


def scores_apart(on_real: Tensor, on_fake: Tensor) -> Terms:
    """The critic's estimate of the Wasserstein distance, negative.

    Such a critic has no border of its own between real and made: its mean output stands in.
    """
    on_real, on_fake = on_real.float(), on_fake.float()
    border = (on_real.mean() + on_fake.mean()) / 2
    return {
        "real": score(on_real),
        "fake": -score(on_fake),
        REPORTED + "accuracy": told_apart(on_real, on_fake, border),
    }


def margins_apart(on_real: Tensor, on_fake: Tensor) -> Terms:
    """The critic's hinge loss: what lies beyond the margin of 1 costs nothing more."""
    return {
        "real": F.relu(1 - on_real.float()).mean(),
        "fake": F.relu(1 + on_fake.float()).mean(),
        REPORTED + "accuracy": told_apart(on_real, on_fake),
    }


def ahead(first: Tensor, second: Tensor) -> Tensor:
    """The loss of a player who wants each `first` logit above the `second` beside it.

    Source: Jolicoeur-Martineau 2018, the relativistic GAN, as paired by Huang et al. 2024.
    """
    return F.softplus(second.float() - first.float()).mean()


class Objective(NamedTuple):
    """What the two players of an adversarial model want, a pure function of logits each."""

    critic: Callable[[Tensor, Tensor], Terms]
    """Terms from its logits on real and on made pictures."""
    generator: Callable[[Tensor], Tensor]
    """The loss from the critic's logits on made pictures."""


NON_SATURATING = Objective(discrimination, real)
"""Source: Goodfellow et al. 2014, section 3."""
SATURATING = Objective(discrimination, saturating)
"""Source: Goodfellow et al. 2014, equation 1."""
LEAST_SQUARES = Objective(squares_apart, partial(squares, label=1))
"""Source: Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 9."""
WASSERSTEIN = Objective(scores_apart, score)
"""Source: Arjovsky et al. 2017, "Wasserstein GAN"; needs `gradient_penalty` or the like."""
HINGE = Objective(margins_apart, score)
"""Source: Lim and Ye 2017, "Geometric GAN"."""


# Compiled code cannot be differentiated twice: in a compiled loss this stays as it is.
@untraced
def with_slope(critic: Callable[[Tensor], Tensor], pictures: Tensor) -> tuple[Tensor, Tensor]:
    """A critic's logits, and their slope [N, 3, H, W] at the pictures, in float32.

    The slope can be differentiated again: penalties are made of it. R1 is its square (Mescheder et
    al. 2018). Full precision is kept since a penalty is the square of a sum of small gradients.
    """
    with full_precision(pictures.device):
        given = pictures.detach().float().requires_grad_()
        logits = critic(given)
        (slope,) = torch.autograd.grad(logits.sum(), given, create_graph=True)
    return logits, slope


def gradient_penalty(critic: Callable[[Tensor], Tensor], on: Tensor, to: Tensor) -> Tensor:
    """How far the critic's slope is from 1, at a random place between pairs of pictures.

    It is computed in float32 whatever the precision, since it is the square of a difference of
    gradients. Source: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs".

    Args:
        critic: from pictures [N, 3, H, W] to logits; no BatchNorm in it, which would make a
            picture's slope depend on its neighbours.
        on: pictures.
        to: as many others.
    """
    share = torch.rand(len(on), 1, 1, 1, device=on.device)
    _, slope = with_slope(critic, torch.lerp(on.float(), to.float(), share))
    # The square root has no slope at zero.
    steepness = (slope.square().sum((1, 2, 3)) + 1e-12).sqrt()
    return (steepness - 1).square().mean()
