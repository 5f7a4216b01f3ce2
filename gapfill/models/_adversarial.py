"""What a generator and a discriminator of composites have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from gapfill import losses
from gapfill.models._lifelike import Lifelike
from gapfill.optim import optimizer
from gapfill.types import Batch, Terms, Update

Judge = Callable[[Tensor, Tensor], Tensor]
"""From pictures and masks to logits."""


class Adversarial(Lifelike):
    """A `generator` against a `critic` of composites; a subclass builds both and gives `loss`.

    Its `Config` has `lr` and `lr_critic`, the learning rates of Adam.
    """

    generator: nn.Module
    critic: nn.Module
    """From pictures and masks to logits, such as `nets.Critics`."""
    critics = ("critic",)
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)
    """Adam's, of both players."""

    @abstractmethod
    def loss(self, batch: Batch) -> Terms:
        """The generator's terms."""

    @property
    def objective(self) -> losses.Objective:
        """What the two players want."""
        return losses.NON_SATURATING

    def updates(self) -> list[Update]:
        """Two: the discriminator, then the generator, on the same generated pictures."""
        critic = optimizer(self.critic, self.config.lr_critic, betas=self.betas)
        generator = optimizer(self.generator, self.config.lr, betas=self.betas)
        return [
            Update("critic", critic, self.critic_loss),
            Update("generator", generator, self.loss),
        ]

    def critic_loss(self, batch: Batch, critic: Judge | None = None) -> Terms:
        """What `critic`, if not the only one, has to learn: composites are not real."""
        critic = critic or self.critic
        made = batch.paste(self.filled(batch).detach())
        on_real = critic(batch.image, batch.mask)
        return self.objective.critic(on_real, critic(made, batch.mask))

    def fooling(self, batch: Batch, critic: Judge | None = None) -> Tensor:
        """The generator's adversarial loss: `critic` is to take composites for real."""
        critic = critic or self.critic
        return self.objective.generator(critic(batch.paste(self.filled(batch)), batch.mask))
