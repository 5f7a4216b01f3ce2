"""Dilated convolutions at full resolution, trained to reconstruct."""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from gapfill import Batch, Inpainter, Terms, Update, losses, nets, register
from gapfill.about import About
from gapfill.config import Range
from gapfill.optim import optimizer


@register("dilated")
class Dilated(Inpainter):
    """Dilated convolutions at full resolution: few weights, many multiplications."""

    about = About(read="nothing: an example of ours")

    @dataclass(frozen=True)
    class Config:
        """Settings of `dilated`.

        Attributes:
            size: side of the pictures.
            width: channels of every layer.
            lr: learning rate of Adam.
        """

        size: Annotated[int, Range(16, 256)] = 64
        width: Annotated[int, Range(4, 256)] = 32
        lr: Annotated[float, Range(1e-7, 1)] = 1e-3

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        layers: list[nn.Module] = [nn.Conv2d(4, config.width, 3, padding=1), nn.ReLU()]
        for rate in (1, 2, 4, 8, 16):
            layers += [nn.Conv2d(config.width, config.width, 3, padding=rate, dilation=rate)]
            layers += [nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Conv2d(config.width, 3, 3, padding=1), nn.Tanh())

    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole picture in one pass."""
        return self.network(nets.with_mask(known, mask))

    def updates(self) -> list[Update]:
        """One: all weights, down the error in the hole."""
        return [Update("network", optimizer(self, self.config.lr), self.loss)]

    def loss(self, batch: Batch) -> Terms:
        """L1 in the hole."""
        return {"l1": losses.l1(self.filled(batch), batch.image, batch.mask)}
