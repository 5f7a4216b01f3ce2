"""The errors that a user is meant to read: one line each, with an exit code."""

from collections.abc import Sequence


class GapfillError(Exception):
    r"""Something failed that the user can understand and mend; the message is one line.

    What cannot be seen, such as a line end in a file's name, is spelt out.

    >>> str(GapfillError("there is no 'a\nb'."))
    "there is no 'a\\nb'."
    """

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


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


def one_line(text: str) -> str:
    r"""The text with what is no character to be seen, such as a name's line end, spelt out.

    >>> one_line("a\nb")
    'a\\nb'
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode()
        for each in text
    )
