"""How a run is watched: averaged weights are scored on validation pictures now and then."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gapfill import checkpoint, masks, metrics
from gapfill.data.stream import check_images
from gapfill.randomness import mix

_SCORES = ("hole_psnr", "hole_l1", "sharpness")


class Watcher:
    """Scores an inpainter on the same pictures and holes each time it is called.

    Args:
        pictures: [N, 3, S, S], uint8 or float in [0, 1].
        kind: of the masks.
        seed: names the masks.
        folder: where a sheet of samples is left each time, if anywhere.
        lpips: LPIPS, of which there is a score too where it is given.

    Attributes:
        samples: rows "corrupted, filled, real" of the last look, uint8 [N, 3, S, 3·S].
    """

    def __init__(
        self,
        pictures: Tensor,
        kind: str,
        seed: int,
        folder: Path | None,
        lpips: metrics.Distance | None = None,
    ) -> None:
        check_images(pictures)
        whole = pictures.dtype == torch.uint8
        self.pictures = pictures if whole else (pictures * 255).round().byte()
        index = torch.arange(len(pictures))
        self.masks = masks.draw(kind, index, pictures.shape[-1], mix(seed, "validation masks"))
        self.folder, self.lpips = folder, lpips
        self.samples = samples(self.pictures, self.pictures, self.masks)

    def __call__(self, model: Any, step: int) -> dict[str, float]:
        """The scores of an inpainter's weights after `step`; "score" is what it is chosen by."""
        model.trained = True
        # On a GPU they stay where the model is, and only means come back.
        device = model.device if model.device.type == "cuda" else torch.device("cpu")
        self.pictures, self.masks = self.pictures.to(device), self.masks.to(device)
        filled = model.inpaint(self.pictures, self.masks)
        found = metrics.score(filled, self.pictures, self.masks, _SCORES)
        if self.lpips is not None:
            found["lpips"] = self.lpips(filled, self.pictures)
        means = torch.stack([values.mean() for values in found.values()]).tolist()
        scores = dict(zip(found, means, strict=True))
        self.samples = samples(filled, self.pictures, self.masks)
        if self.folder is not None and step:
            write_samples(self.folder / "samples" / f"step-{step:07d}.png", self.samples)
        return {"score": model.selection(scores)} | scores


def samples(filled: Tensor, real: Tensor, mask: Tensor, count: int = 8) -> Tensor:
    """The first pictures as rows "corrupted, filled, real", uint8 [N, 3, S, 3·S] on the CPU."""
    filled, real, mask = (each[:count].cpu() for each in (filled, real, mask))
    broken = torch.where(mask.bool(), torch.tensor(200, dtype=torch.uint8), real)
    return torch.cat([broken, filled, real], dim=3)


def write_samples(path: Path, rows: Tensor) -> None:
    """Write rows of samples below one another as PNG."""
    sheet = torch.cat(list(rows), dim=1).permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(sheet)
    buffer = BytesIO()
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(
        buffer, "PNG"
    )
    checkpoint.write_atomic(path, buffer.getvalue())
