"""What every program of the suite is: tries without end, each of which says how it failed, if so.

A program is a generator under `@program`. It gets a seeded random generator and an empty folder,
and yields once for each try: None where all held, or a sentence that says what broke.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Program = Callable[[random.Random, Path], Iterator[str | None]]


@dataclass(frozen=True)
class Entry:
    """A program and how long it is worth running.

    Attributes:
        title: what is tried.
        run: the program.
        short: tries in the short suite.
        long: tries that the long suite wants to make.
        share: of the long suite's time.
    """

    title: str
    run: Program
    short: int
    long: int
    share: float


@dataclass
class Count:
    """What came of a program."""

    title: str
    tried: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def row(self) -> str:
        """A row of the table in docs/reliability.md."""
        first = f" First: {self.failed[0]}" if self.failed else ""
        return f"| {self.title} | {self.tried:,} | {len(self.failed)}{first} |"


PROGRAMS: dict[str, Entry] = {}


def program(title: str, *, short: int, long: int, share: float) -> Callable[[Program], Program]:
    """Add the generator below it to the suite."""

    def decorate(run: Program) -> Program:
        PROGRAMS[run.__name__] = Entry(title, run, short, long, share)
        return run

    return decorate


def carry_out(
    entry: Entry, folder: Path, tries: int, seed: int = 0, seconds: float = float("inf")
) -> Count:
    """Make so many tries, or as many as the time allows, and count what failed."""
    count, begin = Count(entry.title), time.monotonic()
    tried = entry.run(random.Random(f"{entry.title} {seed}"), folder)
    while count.tried < tries and time.monotonic() - begin < seconds:
        try:
            failure = next(tried)
        except StopIteration:
            break
        except Exception:
            failure = "the program itself broke: " + traceback.format_exc(limit=-4)
            count.tried += 1
            count.failed.append(failure)
            break
        count.tried += 1
        if failure is not None:
            count.failed.append(failure)
    tried.close()
    count.seconds = time.monotonic() - begin
    return count


def refused(call: Callable[[], object], *allowed: type[BaseException]) -> str | None:
    """Call; a failure is an exception that is not of the library's own, or of several lines."""
    from gapfill.errors import GapfillError

    try:
        call()
    except GapfillError as error:
        text = str(error)
        return None if text and "\n" not in text else f"no single line: {text!r}"
    except allowed:
        return None
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"{type(error).__name__} at {where}: {str(error)[:200]}"
    return None


def mutated(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """The bytes with one damage, and its name: never the bytes as they were."""
    kinds = ("bit", "byte", "cut", "zeros", "insert", "swap", "empty", "double")
    while True:
        kind, raw = chance.choice(kinds) if data else "insert", bytearray(data)
        place = chance.randrange(max(1, len(raw)))
        span = chance.choice((1, 2, 8, 64, 1024))
        if kind == "bit":
            raw[place] ^= 1 << chance.randrange(8)
        elif kind == "byte":
            raw[place] = chance.randrange(256)
        elif kind == "cut":
            del raw[place:]
        elif kind == "zeros":
            raw[place : place + span] = bytes(len(raw[place : place + span]))
        elif kind == "insert":
            raw[place:place] = chance.randbytes(span)
        elif kind == "swap":
            other = chance.randrange(len(raw))
            raw[place], raw[other] = raw[other], raw[place]
        elif kind == "empty":
            raw.clear()
        else:
            raw += raw[place : place + span]
        if bytes(raw) != data:
            return bytes(raw), f"{kind} at {place}"
