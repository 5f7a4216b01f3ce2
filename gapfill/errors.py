"""The errors that a user is meant to read: one line each, with an exit code."""

from collections.abc import Sequence


class GapfillError(Exception):
    """Something failed that the user can understand and mend; the message is one line."""

    exit_code = 1


class UsageError(GapfillError, ValueError):
    """What was asked for makes no sense as it stands: a name, a setting, a shape, a range."""

    exit_code = 2


def some(names: Sequence[str], most: int = 3) -> str:
    """Name the first few, and say how many more there are, so that a message stays one line.

    >>> some(["a", "b"]), some(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")
