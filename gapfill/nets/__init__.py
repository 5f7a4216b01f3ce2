"""Blocks that several models are made of; nothing here knows a model or a trainer."""

from gapfill.nets.blend import poisson_blend
from gapfill.nets.critics import Critic, Critics, TwoEyed, View
from gapfill.nets.crops import crop_around
from gapfill.nets.encoders import EncoderDecoder, Unpooling
from gapfill.nets.generators import Generator
from gapfill.nets.initial import initialise, initialise_relu
from gapfill.nets.layers import (
    BatchNorm2d,
    convolution,
    down,
    plain,
    pooled,
    up,
    upsample,
    with_mask,
)

__all__ = [
    "BatchNorm2d",
    "Critic",
    "Critics",
    "EncoderDecoder",
    "Generator",
    "TwoEyed",
    "Unpooling",
    "View",
    "convolution",
    "crop_around",
    "down",
    "initialise",
    "initialise_relu",
    "plain",
    "poisson_blend",
    "pooled",
    "up",
    "upsample",
    "with_mask",
]
