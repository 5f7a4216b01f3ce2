"""The loop that tutorials write: the measure of what gapfill saves.

A DataLoader whose workers decode JPEGs in every epoch, float32 with PyTorch's defaults (which on
CUDA are TF32 in convolutions), PyTorch's calls, two optimisers, the losses fetched at every step.
The networks and the batch are gapfill's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

import gapfill
from gapfill.compute import autocast
from gapfill.data.faces import generate
from gapfill.nets.products import Conv2d, ConvTranspose2d


def write_jpegs(folder: Path, count: int) -> None:
    """Drawn faces as JPEGs of CelebA's size, framed as CelebA frames them."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = generate(count, 128).permute(0, 2, 3, 1).numpy()
    for number, face in enumerate(faces):
        page = np.pad(face, ((57, 33), (25, 25), (0, 0)), mode="edge")
        Image.fromarray(page).save(folder / f"{number:06d}.jpg", quality=90)


class Pictures(Dataset):
    """A folder of JPEGs, each decoded, cropped and resized when it is asked for."""

    def __init__(self, folder: Path, size: int) -> None:
        from torchvision.transforms import v2

        self.files = sorted(folder.rglob("*.jpg"))
        self.transform = v2.Compose(
            [
                v2.CenterCrop(128),
                v2.Resize(size),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as picture:
            return self.transform(picture.convert("RGB"))


def plain_networks(name: str, size: int, device: torch.device) -> nn.Module:
    """The model's networks, made of PyTorch's own layers."""
    model = gapfill.create(name, size=size)
    for part in model.modules():
        if isinstance(part, Conv2d):
            part.__class__ = nn.Conv2d  # type: ignore[assignment]
        elif isinstance(part, ConvTranspose2d):
            part.__class__ = nn.ConvTranspose2d  # type: ignore[assignment]
    return model.to(device).train()


class PlainLoop:
    """Trains `dcgan`'s or `cnn`'s networks, some epochs at a time.

    Args:
        folder: JPEGs.
        name: `dcgan`, with a discriminator, or `cnn`, without.
        batch: pictures a step.
        device: where to train.
        workers: of the DataLoader.
        size: side of the pictures.
        epochs: passes over the files in one turn, without a pause between them, such as few files
            in large batches would have.
        improved: measures that the plain loop does without, to be taken one by one:
            `channels_last`, `bf16`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        batch: int,
        device: torch.device,
        workers: int,
        size: int = 64,
        epochs: int = 1,
        improved: Sequence[str] = (),
    ) -> None:
        self.device = device
        self.precision = "bf16" if "bf16" in improved else "fp32"
        self.layout = torch.channels_last if "channels_last" in improved else torch.preserve_format
        self.loader = DataLoader(
            ConcatDataset([Pictures(folder, size)] * epochs),
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )
        model = plain_networks(name, size, device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.adversarial = hasattr(model, "critic")
        self.generator: nn.Module = model.generator  # type: ignore[assignment]
        self.generator_optimizer = torch.optim.Adam(
            self.generator.parameters(), 1e-3, betas=(0.5, 0.999)
        )
        if self.adversarial:
            self.critic: nn.Module = model.critic  # type: ignore[assignment]
            self.critic_optimizer = torch.optim.Adam(
                self.critic.parameters(), 1e-4, betas=(0.5, 0.999)
            )

    def turn(self) -> int:
        """Train the epochs of a turn and return how many pictures that were."""
        seen = 0
        for real in self.loader:
            real = real.to(self.device)
            self.step(real)
            seen += len(real)
        return seen

    def step(self, real: torch.Tensor) -> list[float]:
        """One step, and its losses."""
        with autocast(self.device, self.precision):
            return self._step(real.contiguous(memory_format=self.layout))

    def _step(self, real: torch.Tensor) -> list[float]:
        side = real.shape[-1]
        mask = torch.zeros(len(real), 1, side, side, device=self.device)
        mask[:, :, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 1
        known = real * (1 - mask)
        filled = self.generator(torch.cat([known, mask], 1))
        made = known + filled * mask
        losses = []
        if self.adversarial:
            self.critic_optimizer.zero_grad()
            on_real, on_made = self.critic(real, mask), self.critic(made.detach(), mask)
            loss = F.binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
            loss = loss + F.binary_cross_entropy_with_logits(on_made, torch.zeros_like(on_made))
            loss.backward()
            self.critic_optimizer.step()
            losses.append(loss.item())
        self.generator_optimizer.zero_grad()
        error = (filled - real) * mask
        loss = (error.abs().sum() + 2 * error.square().sum()) / (mask.sum() * 3)
        if self.adversarial:
            logits = self.critic(made, mask)
            fooled = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
            loss = loss + 0.0015 * fooled
        loss.backward()
        self.generator_optimizer.step()
        losses.append(loss.item())
        return losses
