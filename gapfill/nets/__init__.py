"""Blocks that several models are made of; nothing here knows a model or a trainer."""

from gapfill.nets.critics import Critic, Critics, View
from gapfill.nets.crops import crop_around
from gapfill.nets.encoders import EncoderDecoder
from gapfill.nets.initial import initialise, initialise_relu
from gapfill.nets.layers import BatchNorm2d, down, pooled, up, upsample, with_mask

__all__ = [
    "BatchNorm2d",
    "Critic",
    "Critics",
    "EncoderDecoder",
    "View",
    "crop_around",
    "down",
    "initialise",
    "initialise_relu",
    "pooled",
    "up",
    "upsample",
    "with_mask",
]
