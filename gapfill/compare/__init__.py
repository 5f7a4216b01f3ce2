"""The whole comparison: its command, its stages, its scores."""

from gapfill.compare.command import main

__all__ = ["main"]
