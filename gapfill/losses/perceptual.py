"""Distances of pictures as a network sees them: LPIPS, feature maps, their correlations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Look = Callable[[Tensor], Sequence[Tensor]]
"""From pictures [N, 3, H, W] in [-1, 1] to feature maps."""


def matching(made: Sequence[Tensor], image: Sequence[Tensor]) -> Tensor:
    """Mean squared distance between feature maps of made and of true pictures, over the maps.

    Source: the feature matching of Salimans et al. 2016 and Wang et al. 2018, with L2.
    """
    distances = [F.mse_loss(a.float(), b.float()) for a, b in zip(made, image, strict=True)]
    return torch.stack(distances).mean()


def perceptual(look: Look, heads: Sequence[Tensor], filled: Tensor, image: Tensor) -> Tensor:
    """LPIPS between made and true pictures, [N, 3, H, W] in [-1, 1].

    The network's convolutions follow autocast; what is made of its features is kept in float32.
    Source: Zhang et al. 2018, version 0.1.

    Args:
        look: the frozen network.
        heads: the weight of each channel of each of its maps, [C].
        filled: made pictures.
        image: the true ones, through which no gradient goes.
    """
    return _apart(_seen(look, filled), _true(look, image), heads)


def perceptual_score(
    look: Look, heads: Sequence[Tensor], one: Tensor, other: Tensor, image: Tensor, spread: float
) -> Tensor:
    """LPIPS of two samples from the true pictures, less a share of LPIPS between the two; halved.

    With a `spread` of 1 it judges the mean of the samples' features alone, however far apart they
    are; with 0 it is least where the samples are the same. Source: the energy score (Gneiting and
    Raftery 2007) of squared distances, by two samples.

    Args:
        look: the frozen network.
        heads: the weight of each channel of each of its maps, [C].
        one: a fill of each picture, [N, 3, H, W] in [-1, 1].
        other: another fill of each.
        image: the true pictures, through which no gradient goes.
        spread: weight of the samples' distance from each other.
    """
    both = [each.chunk(2) for each in _seen(look, torch.cat([one, other]))]
    true = _true(look, image)
    first, second = ([pair[which] for pair in both] for which in (0, 1))
    from_true = _apart(first, true, heads) + _apart(second, true, heads)
    return (from_true - spread * _apart(first, second, heads)) / 2


def _seen(look: Look, pictures: Tensor) -> list[Tensor]:
    return [_directions(each) for each in look(pictures)]


def _true(look: Look, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return _seen(look, image)


def _apart(some: Sequence[Tensor], others: Sequence[Tensor], heads: Sequence[Tensor]) -> Tensor:
    """The weighted squared distance of a place's features, the mean over places, all maps added."""
    distance = torch.zeros((), device=some[0].device)
    for one, other, head in zip(some, others, heads, strict=True):
        error = (one - other).square() * head[:, None, None]
        distance = distance + error.sum(1).mean()
    return distance


def _directions(features: Tensor) -> Tensor:
    """The features of each place as a vector of length one; where there are none, zero."""
    features = features.float()
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + 1e-10)


def features(made: Sequence[Tensor], image: Sequence[Tensor]) -> Tensor:
    """Mean absolute distance between feature maps, added up over the maps.

    Source: the perceptual loss of Liu et al. 2018, equation 3.
    """
    pairs = zip(made, image, strict=True)
    return torch.stack([F.l1_loss(a.float(), b.float()) for a, b in pairs]).sum()


def style(made: Sequence[Tensor], image: Sequence[Tensor]) -> Tensor:
    """Mean absolute distance between the correlations of channels, added up over the maps.

    Source: the style loss of Liu et al. 2018, equations 4 and 5, after Gatys et al. 2016.
    """
    pairs = zip(made, image, strict=True)
    return torch.stack([F.l1_loss(gram(a), gram(b)) for a, b in pairs]).sum()


def gram(features: Tensor) -> Tensor:
    """How the channels of [N, C, H, W] go together: [N, C, C], by the number of features."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat[0].numel()
