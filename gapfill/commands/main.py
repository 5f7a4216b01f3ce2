"""The console command `gapfill`, strung together from its commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gapfill import console
from gapfill._version import __version__
from gapfill.commands import bank, card, demo, doctor, export, fill, fit, report, score
from gapfill.commands import list as list_command
from gapfill.compare import command as compare

COMMANDS = (list_command, card, fit, compare, report, fill, demo, export, bank, score, doctor)
"""In the order of `gapfill --help`; each has NAME, HELP, `add_options(parser)`, `run(options)`."""


def parser() -> console.Parser:
    """The command and its sub-commands."""
    made = console.Parser(prog="gapfill", description="A pluggable zoo of image inpainters.")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    made.add_argument("--version", action="version", version=f"gapfill {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for each in COMMANDS:
        own = commands.add_parser(each.NAME, help=each.HELP)
        each.add_options(own)
        own.set_defaults(run=each.run, parser=own)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return console.launch(lambda options: options.run(options), parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())
