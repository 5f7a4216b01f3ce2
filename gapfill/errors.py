"""The errors that a user is meant to read: one line each, with an exit code."""


class GapfillError(Exception):
    """Something failed that the user can understand and mend; the message is one line."""

    exit_code = 1


class UsageError(GapfillError, ValueError):
    """What was asked for makes no sense as it stands: a name, a setting, a shape, a range."""

    exit_code = 2
