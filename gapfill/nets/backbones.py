"""Encoders of timm, untrained, as feature pyramids."""

from __future__ import annotations

import difflib
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gapfill.errors import UsageError
from gapfill.nets.layers import BatchNorm2d


class Backbone(nn.Module):
    """Any timm model that has `features_only`; its first convolution takes the mask too.

    Nothing is downloaded: it begins untrained. Where its finest feature map is a quarter of the
    picture's side, one strided convolution gives the half beside it.

    Args:
        name: a name that `timm.list_models()` knows.
        inputs: channels that come in.
        size: side of the pictures.
        width: channels of that strided convolution.

    Raises:
        UsageError: timm does not know the name, or its feature maps make no pyramid.
    """

    def __init__(self, name: str, inputs: int, size: int, width: int) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            close = difflib.get_close_matches(name, timm.list_models(), n=3)
            offer = f"Did you mean '{close[0]}'? " if close else ""
            raise UsageError(f"timm knows no encoder '{name}'. {offer}See timm.list_models().")
        config = timm.get_pretrained_cfg(name)
        self.fixed = bool(config and config.fixed_input_size)
        settings: dict[str, Any] = {"img_size": size} if self.fixed else {}
        try:
            body = timm.create_model(
                name, pretrained=False, features_only=True, in_chans=inputs, **settings
            )
            self.body = _sharing_statistics(body)
            found = self._probe(inputs, size)
        except Exception as error:  # timm's own, of any kind: what matters is that it does not fit
            reason = " ".join(str(error).split())
            raise UsageError(
                f"the encoder '{name}' gives no feature maps of {size}×{size} pictures: "
                f"{type(error).__name__}: {reason}"
            ) from error
        sides = [feature.shape[-1] for feature in found]
        # A map at full resolution would cost more than all the others.
        self.first = 1 if sides[0] == size else 0
        sides = sides[self.first :]
        self.channels = [feature.shape[1] for feature in found[self.first :]]
        self.reductions = [size // side for side in sides]
        halves = all(upper == 2 * lower for upper, lower in pairwise(sides))
        if sides[0] not in (size // 2, size // 4) or not halves or size % self.reductions[-1]:
            raise UsageError(
                f"the encoder '{name}' gives {size}×{size} pictures feature maps of the sides "
                f"{', '.join(map(str, sides))}; each must be half the one before, "
                f"the first {size // 2} or {size // 4}."
            )
        self.stem: nn.Module | None = None
        if self.reductions[0] == 4:
            self.stem = nn.Conv2d(inputs, width, 4, 2, 1)
            self.channels, self.reductions = [width, *self.channels], [2, *self.reductions]

    @torch.no_grad()
    def _probe(self, inputs: int, size: int) -> list[Tensor]:
        """The feature maps of an empty picture."""
        self.body.eval()
        found = self._maps(torch.zeros(1, inputs, size, size))
        self.body.train()
        return found

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The feature maps, with their channels where convolutions have them."""
        last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        return [y.permute(0, 3, 1, 2) if last else y for y in self.body(x)]

    def forward(self, x: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """The feature maps of all levels, from the finest; there is no time to listen to."""
        del code
        features = self._maps(x)[self.first :]
        return features if self.stem is None else [self.stem(x), *features]


class _NormAct(BatchNorm2d):
    """Timm's BatchNorm with the activation behind it, with the statistics of the global batch."""

    def __init__(self, source: Any) -> None:
        super().__init__(source.num_features, affine=source.affine)
        self.drop: nn.Module = source.drop
        self.act: nn.Module = source.act

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the parents' name
        """Normalise [N, C, H, W], and what follows."""
        return self.act(self.drop(super().forward(input)))


def _sharing_statistics(module: nn.Module) -> nn.Module:
    """The module with our BatchNorm in the place of torch's and of timm's, of the same weights."""
    for name, child in module.named_children():
        setattr(module, name, _sharing_statistics(child))
    if not isinstance(module, nn.BatchNorm2d):
        return module
    if hasattr(module, "act"):
        new = _NormAct(module)
    else:
        new = BatchNorm2d(module.num_features, affine=module.affine)
    new.eps, new.momentum = module.eps, module.momentum
    new.load_state_dict(module.state_dict(), assign=True)
    return new
