"""A masked autoencoder: transformers over the patches of a picture."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gapfill.nets.layers import pixel_shuffle


class MaskedAutoencoder(nn.Module):
    """An encoder that attends to known patches alone, and a decoder that guesses the others.

    A patch that is partly known is a known one, with the mask beside its pixels. Places are told
    by sines and cosines, so that pictures may have other sides than those of training. The blocks
    are timm's. Source: He et al. 2022; there, hidden patches are not in the encoder at all, which
    gives the same tokens.

    Args:
        patch: side of a patch.
        width: length of a token, a multiple of 4.
        depth: blocks of the encoder.
        decoder_depth: blocks of the decoder.
        hidden: share of the patches that training hides besides those in the hole.
    """

    def __init__(
        self, patch: int, width: int, depth: int, decoder_depth: int, hidden: float = 0.0
    ) -> None:
        from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
        from timm.models.vision_transformer import Block

        super().__init__()
        self.patch, self.hidden = patch, hidden
        block = partial(Block, width, max(1, width // 64), qkv_bias=True)
        self.places = partial(build_sincos2d_pos_embed, dim=width)
        self.embed = nn.Conv2d(4, width, patch, patch)
        self.encoder = nn.ModuleList(block() for _ in range(depth))
        self.between = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.decoder = nn.ModuleList(block() for _ in range(decoder_depth))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * patch**2))
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)

    def forward(self, masked: Tensor) -> Tensor:
        """From known pixels and the mask, [N, 4, H, W], to whole pictures [N, 3, H, W]."""
        grid = self.embed(masked)
        places = self.places(grid.shape[-2:], device=grid.device)
        tokens = grid.flatten(2).transpose(1, 2) + places
        seen = self._seen(masked[:, 3:])
        # Beside the known ones each sees itself: where none is known, attention to none is NaN.
        own = torch.eye(seen.shape[1], dtype=torch.bool, device=seen.device)
        sees = (seen[:, None, :] | own)[:, None]
        for block in self.encoder:
            tokens = block(tokens, attn_mask=sees)
        tokens = torch.where(seen[..., None], self.between(tokens), self.token) + places
        for block in self.decoder:
            tokens = block(tokens)
        pixels = self.head(tokens).transpose(1, 2).unflatten(2, grid.shape[-2:])
        return pixel_shuffle(pixels, self.patch)

    def _seen(self, mask: Tensor) -> Tensor:
        """Which patches the encoder sees, [N, patches]: any of whose pixels are known."""
        seen = F.avg_pool2d(mask.float(), self.patch).flatten(1) < 1
        if self.training and self.hidden:
            seen = seen & (torch.rand(seen.shape, device=seen.device) >= self.hidden)
        return seen
