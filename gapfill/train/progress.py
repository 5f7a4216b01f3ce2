"""How far a run is: a bar in a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from tqdm import tqdm

from gapfill.console import duration

_PACE = 5  # steps after which the time of a run can be told; the first one is left out
_PAUSE = 5.0  # least seconds between two lines on the way
_BEHIND = 1.5  # times its budget that a run may take before it is said

_log = logging.getLogger("gapfill")


class Progress:
    """Shows how far a run is, on stderr.

    In a terminal it is a bar. Elsewhere it is a line when the run's pace is known, one every tenth
    of its steps, one at each look, and one at its end; lines on the way keep a distance. Every line
    also goes to the logger `gapfill`, which is what `--log FILE` keeps.

    Args:
        title: what the run is called.
        total: its steps.
        done: the steps made before.
        quiet: no bar and no line.
        budget: the seconds that the run was meant to take, if it has a budget.
        note: takes the lines.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        title: str,
        total: int,
        done: int = 0,
        *,
        quiet: bool = False,
        budget: float | None = None,
        note: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.title = title or "run"
        self.total = total
        self.done = self._first = done
        self._quiet = quiet
        self._budget = budget
        self._note = note
        self._clock = clock
        self._start = self._last = clock()
        self._paced: float | None = None
        self._best: tuple[int, Mapping[str, float]] | None = None
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=title,
            unit="step",
            disable=True if quiet else None,
            dynamic_ncols=True,
        )
        self._plain = self._bar.disable and not quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def step(self) -> None:
        """One step was made."""
        self.done += 1
        self._bar.update()
        made = self.done - self._first
        if made == 1:
            self._paced = self._clock()
        elif made == _PACE:
            left = self._pace() * (self.total - self.done)
            before = f", {self._first:,} of them made before" if self._first else ""
            # A look, or reading the first pictures, takes longer than a run of moments.
            when = f", about {duration(left)} to go" if left >= _PAUSE else ""
            self._say(f"{self.total:,} steps{before}{when}")
        elif made > _PACE and self.done < self.total and self._tenth():
            left = self._pace() * (self.total - self.done)
            self._on_the_way(f"step {self.done:,} of {self.total:,}, {duration(left)} to go")
        if made > _PACE and self._tenth():
            self._behind()

    def losses(self, line: Mapping[str, Any]) -> None:
        """A line of the log came; the bar shows the total loss of each update in it."""
        found = {key.removesuffix("/loss"): line[key] for key in line if key.endswith("/loss")}
        shown = {key: f"{value:.3f}" for key, value in found.items()}
        self._bar.set_postfix(shown | self._found())

    def look(self, step: int, scores: Mapping[str, float], best: bool) -> None:
        """The validation pictures were scored."""
        shown = {key: value for key, value in scores.items() if key != "score"} or scores
        if best:
            self._best = step, shown
        self._bar.set_postfix(self._found())
        self._on_the_way(f"step {step:,} of {self.total:,}, validation: {_words(shown)}")

    def end(self) -> None:
        """The run is complete."""
        words = "complete, nothing was trained"
        if self.done > self._first:
            words = f"{self.total:,} steps in {duration(self._clock() - self._start)}"
        if self._best is not None:
            words += f"; best at step {self._best[0]:,}: {_words(self._best[1])}"
        self._say(words, everywhere=True)

    def _found(self) -> dict[str, str]:
        """The first score of the best look, for the bar."""
        if self._best is None:
            return {}
        key, value = next(iter(self._best[1].items()))
        return {f"best {key}": f"{value:.4g}"}

    def _pace(self) -> float:
        """Seconds a step, the first step of this process left out."""
        assert self._paced is not None
        return (self._clock() - self._paced) / (self.done - self._first - 1)

    def _tenth(self) -> bool:
        return 10 * self.done // self.total > 10 * (self.done - 1) // self.total

    def _behind(self) -> None:
        """Say once that a run takes much longer than its budget."""
        if self._budget is None:
            return
        whole = self._pace() * self.total
        if whole > _BEHIND * self._budget:
            self._say(
                f"at this pace {duration(whole)} instead of {duration(self._budget)}; the number "
                "of steps stays as it was decided",
                everywhere=True,
            )
            self._budget = None

    def _on_the_way(self, text: str) -> None:
        if self._clock() - self._last >= _PAUSE:
            self._say(text)

    def _say(self, text: str, everywhere: bool = False) -> None:
        self._last = self._clock()
        if self._quiet:
            return
        line = f"{self.title}: {text}"
        _log.info(line)
        if self._plain or everywhere:
            if self._note is not None:
                self._note(line)
            else:
                tqdm.write(line, file=sys.stderr)


def _words(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in scores.items())
