"""Where a run's weights come from: pictures, their terms, the weights that it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gapfill import checkpoint
from gapfill.data.seen import Seen

_FILE = "origin.json"


@dataclass(frozen=True)
class Origin:
    """What a run's folder says of it from its beginning, so that weights of a cut run have it too.

    Attributes:
        seen: the pictures of this training and of those before it.
        data: what this training's are and under which terms.
        began: name, digest and data of the weights that the run began with, if any.
    """

    seen: Seen
    data: str = ""
    began: Mapping[str, str] | None = None

    def save(self, folder: Path, run: str) -> None:
        """Write it into the folder of a run, named by the digest of its initial weights."""
        self.seen.save(folder, run)
        checkpoint.write_json(folder / _FILE, {"data": self.data, "began": self.began})

    @classmethod
    def load(cls, folder: Path, run: str) -> Self:
        """Read it; of a run that says nothing, nothing is known.

        Raises:
            GapfillError: a file is damaged.
        """
        path = folder / _FILE
        found = checkpoint.read_json(path) if path.is_file() else {}
        seen = Seen.load(folder, run) or Seen.unknown()
        return cls(seen, found.get("data", ""), found.get("began"))
