"""Blocks that several models are made of; nothing here knows a model or a trainer."""

from gapfill.nets.backbones import Backbone
from gapfill.nets.critics import Critic
from gapfill.nets.encoders import EncoderDecoder
from gapfill.nets.ffc import FFCBlock
from gapfill.nets.gated import GatedConv
from gapfill.nets.initial import initialise, initialise_relu
from gapfill.nets.layers import (
    BatchNorm2d,
    down,
    group_norm,
    pooled,
    up,
    upsample,
    with_mask,
)
from gapfill.nets.patches import PatchCritic
from gapfill.nets.unet import UNet

__all__ = [
    "Backbone",
    "BatchNorm2d",
    "Critic",
    "EncoderDecoder",
    "FFCBlock",
    "GatedConv",
    "PatchCritic",
    "UNet",
    "down",
    "group_norm",
    "initialise",
    "initialise_relu",
    "pooled",
    "up",
    "upsample",
    "with_mask",
]
