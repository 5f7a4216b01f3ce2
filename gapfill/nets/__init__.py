"""Blocks that several models are made of; nothing here knows a model or a trainer."""

from gapfill.nets.backbones import Backbone
from gapfill.nets.blend import poisson_blend
from gapfill.nets.critics import Critic, Critics, ResidualCritic, TwoEyed, View
from gapfill.nets.crops import crop_around
from gapfill.nets.encoders import EncoderDecoder, Unpooling
from gapfill.nets.ffc import FFCBlock
from gapfill.nets.gated import GatedConv
from gapfill.nets.generators import Generator
from gapfill.nets.initial import initialise, initialise_relu, initialise_residual
from gapfill.nets.layers import (
    BatchNorm2d,
    Upsample,
    convolution,
    down,
    pooled,
    up,
    upsample,
    upsampled,
    with_mask,
)
from gapfill.nets.padding import padded, rounded
from gapfill.nets.patches import PatchCritic, PatchGAN
from gapfill.nets.transformer import MaskedAutoencoder
from gapfill.nets.unet import UNet

__all__ = [
    "Backbone",
    "BatchNorm2d",
    "Critic",
    "Critics",
    "EncoderDecoder",
    "FFCBlock",
    "GatedConv",
    "Generator",
    "MaskedAutoencoder",
    "PatchCritic",
    "PatchGAN",
    "ResidualCritic",
    "TwoEyed",
    "UNet",
    "Unpooling",
    "Upsample",
    "View",
    "convolution",
    "crop_around",
    "down",
    "initialise",
    "initialise_relu",
    "initialise_residual",
    "padded",
    "poisson_blend",
    "pooled",
    "rounded",
    "up",
    "upsample",
    "upsampled",
    "with_mask",
]
