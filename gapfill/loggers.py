"""Where the lines and looks of a run go beside its folder: TensorBoard."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

from gapfill.console import LOGGERS
from gapfill.errors import UsageError
from gapfill.reading.regular import expand
from gapfill.types import Look


def require(name: str) -> None:
    """Make sure that a logger can be had here.

    Raises:
        UsageError: an unknown name, or a library that is not installed.
    """
    if name not in LOGGERS:
        raise UsageError(f"unknown logger '{name}'. Known: {', '.join(LOGGERS)}.")
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "the logger tensorboard needs TensorBoard, which is not installed: "
            "pip install tensorboard"
        )


def opened(name: str | None, folder: Path) -> AbstractContextManager[TensorBoard | None]:
    """The logger of this name for one run; None where none was asked for."""
    return nullcontext() if name is None else TensorBoard(folder)


class TensorBoard:
    """Writes the losses, scores and sample pictures of a run for TensorBoard.

        with gapfill.loggers.TensorBoard("runs/mine/tensorboard") as board:
            model.fit(loader, val=val, out="runs/mine", on_log=board.log, on_look=board.look)

    Whatever it is handed is in the file before the next step. A run that is resumed makes the steps
    since its last checkpoint again: what the folder holds of them is replaced by what comes now.

    Args:
        folder: of one run, made with the first line.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        require("tensorboard")
        self.folder = expand(folder)
        self._made: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def log(self, line: Mapping[str, Any]) -> None:
        """Write the numbers of a line, as `fit(on_log=…)` hands them over."""
        self._scalars(line["step"], {name: line[name] for name in line if name != "step"})

    def look(self, look: Look) -> None:
        """Write the scores and pictures of a look, as `fit(on_look=…)` hands them over."""
        writer = self._writer(look.step)
        writer.add_images("val/samples", look.samples, look.step)
        self._scalars(look.step, {f"val/{name}": look.scores[name] for name in look.scores})

    def table(self, text: str, sheet: Any) -> None:
        """Write the table of a comparison, as Markdown, and its pictures, uint8 [H, W, 3]."""
        writer = self._writer(0)
        writer.add_text("table", text, 0)
        writer.add_image("pictures", sheet, 0, dataformats="HWC")
        writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._made is not None:
            self._made.close()
            self._made = None

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        writer = self._writer(step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def _writer(self, step: int) -> Any:
        """The writer, of which TensorBoard forgets what earlier ones wrote from `step` on."""
        if self._made is None:
            from torch.utils.tensorboard import SummaryWriter

            self._made = SummaryWriter(str(self.folder), purge_step=step)
        return self._made
