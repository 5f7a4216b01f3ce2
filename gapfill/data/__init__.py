"""Pictures in: tables, splits and batch streams."""

from gapfill.data.stream import Replay, Stream
from gapfill.data.table import Table, open_table

__all__ = ["Replay", "Stream", "Table", "open_table"]
