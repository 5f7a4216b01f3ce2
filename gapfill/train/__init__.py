"""The one trainer. It carries out a list of updates and has never heard of inpainting."""

from gapfill.train.mode import resolve_mode
from gapfill.train.settings import Training
from gapfill.train.signals import InterruptedRun
from gapfill.train.trainer import DivergedError, Trainer

__all__ = ["DivergedError", "InterruptedRun", "Trainer", "Training", "resolve_mode"]
