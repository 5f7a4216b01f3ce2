"""What every command has in common: the options' spelling, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from gapfill._version import __version__
from gapfill.errors import GapfillError, one_line

LOGGERS = ("tensorboard",)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that there are and that the text does not tell itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.help is None or "(default" in action.help
        nothing = action.default is None or action.default is False or action.default == []
        return action.help if told or nothing else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake in one line."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("formatter_class", _Help)
        super().__init__(*args, allow_abbrev=False, **settings)

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride], the overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Parse; of words that nobody knows, the sub-command that they were said to complains."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            complaining = getattr(options, "parser", self)
            message = f"unrecognized arguments: {' '.join(unknown)}"
            if hasattr(options, "set") and any(word[:1] != "-" and "=" in word for word in unknown):
                message += ". Each setting needs a --set of its own"
            complaining.error(message)
        return options

    def error(self, message: str) -> NoReturn:
        """Print the message and where help is, and leave with 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}. See {self.prog} --help.\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            _write(file or sys.stderr, message)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options that every command has."""
    parser.add_argument("--version", action="version", version=f"gapfill {__version__}")
    parser.add_argument("--quiet", action="store_true", help="no progress bars, no notes")
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks"
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """Where to compute, and how; where nothing is said, the recipe or the trainer decides."""
    parser.add_argument(
        "--device", help="auto, cpu, cuda, cuda:INDEX or mps, untested (default: auto)"
    )
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), help="of training (default: auto)"
    )
    parser.add_argument(
        "--mode",
        choices=("auto", "eager", "compile", "graph"),
        help="of training: PyTorch's calls, compiled losses, a CUDA graph (default: auto)",
    )
    parser.add_argument("--seed", type=int, help="names every random choice (default: 0)")
    parser.add_argument(
        "--no-flip",
        action="store_true",
        help="no mirrored pictures in training: for digits, text, medical pictures",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="pictures a step (default: 64)")
    parser.add_argument(
        "--logger", choices=LOGGERS, help="write losses, scores and samples for TensorBoard too"
    )
    parser.add_argument("--log", metavar="FILE", help="keep the notes and the progress there too")


def add_device(parser: argparse.ArgumentParser, use: str = "") -> None:
    """Where to compute what needs no training."""
    words = f"{use}auto, cpu, cuda, cuda:INDEX or mps, untested"
    parser.add_argument("--device", default="auto", help=words)


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the named options that were given."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def add_data(parser: argparse.ArgumentParser, learning: bool = True, size: str = "") -> None:
    """Which pictures, and which more to learn from; `size` says which one is the default."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="a folder or zip of pictures, or CelebA's own folder; without it $GAPFILL_DATA, "
        "else data/celeba, else generated faces",
    )
    if learning:
        parser.add_argument(
            "--extra", metavar="PATH", action="append", default=[], help="more training pictures"
        )
    parser.add_argument(
        "--size",
        type=int,
        default=None if size else 64,
        metavar="N",
        help=f"side of the pictures{size and f' (default: {size})'}",
    )
    parser.add_argument(
        "--crop", default="auto", help="auto, celeba, center, or the side of a centre square"
    )


def add_test(parser: argparse.ArgumentParser, what: str = "score on") -> None:
    """Other test pictures, and what is done with them."""
    parser.add_argument("--test", metavar="PATH", help=f"{what} these pictures instead")


def add_masks(parser: argparse.ArgumentParser, what: str = "score under") -> None:
    """The kinds of masks, and what is done with them."""
    parser.add_argument(
        "--masks", nargs="+", metavar="MASK", help=f"{what} each of these (default: center)"
    )
    add_invert_mask(parser)


def add_invert_mask(parser: argparse.ArgumentParser) -> None:
    """Masks in files that are the other way round."""
    parser.add_argument(
        "--invert-mask", action="store_true", help="black = missing in the masks of file:PATH"
    )


def add_length(parser: argparse.ArgumentParser) -> None:
    """How long to train: one of three."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, metavar="N", help="passes over the pictures")
    length.add_argument("--steps", type=int, metavar="N", help="optimiser steps")
    length.add_argument("--budget", metavar="TIME", help="time for each, such as 90s, 10m, 1h")


def add_set(parser: argparse.ArgumentParser) -> None:
    """Settings by name."""
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="a model's setting"
    )


def parse_set(pairs: Sequence[str], where: str = "--set") -> dict[str, Any]:
    """The settings in `NAME=VALUE` texts, values read as YAML reads them, and `2e-4` as a number.

    Raises:
        UsageError: a text without `=`.
    """
    from gapfill.config import is_number, read_yaml
    from gapfill.errors import UsageError

    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{where} wants NAME=VALUE, such as width=32; got '{pair[:60]}'.")
        try:
            found = read_yaml(value)
        except UsageError as error:
            raise UsageError(f"{where} {pair[:60]}: the value is no YAML: {error}") from error
        # What a YAML file has to spell 2.0e-4 is a number on a command line.
        settings[name] = float(found) if isinstance(found, str) and is_number(found) else found
    return settings


def duration(seconds: float) -> str:
    """A time in words.

    >>> [duration(seconds) for seconds in (0.4, 75, 600, 7800)]
    ['1 s', '75 s', '10 min', '2 h 10 min']
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def say(text: str, quiet: bool = False) -> None:
    """A note for the person at the terminal, on stderr, and for the logger `gapfill`."""
    if not quiet:
        logging.getLogger("gapfill").info(text.rstrip("\n"))
        _write(sys.stderr, text.rstrip("\n") + "\n")


def show(text: str) -> None:
    """A result, on stdout."""
    _write(sys.stdout, text.rstrip("\n") + "\n")


def write_json(path: str, value: Any) -> None:
    """A result as JSON into the file `path`, or on stdout for `-`."""
    if path == "-":
        text = json.dumps(value, indent=1, ensure_ascii=False)
        whole = fitting(text, sys.stdout.encoding) == text
        show(text if whole else json.dumps(value, indent=1))
    else:
        from gapfill import checkpoint

        checkpoint.write_json(Path(path), value, named=True)


def fitting(text: str, encoding: str | None) -> str:
    """The text in characters that `encoding` has, its columns where they were if they can be.

    >>> fitting("27.31 ± 0.05  64×64", "ascii")
    '27.31 +-0.05  64x64'
    """
    encoding = encoding or "utf-8"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return re.sub(r"([^\x00-\x7f])( *)", lambda match: _stand_in(match, encoding), text)


_STAND_INS = {"±": "+-", "×": "x", "…": "..", "†": "+", "·": "|", "→": "->", "²": "2", "³": "3"}
_STAND_INS |= dict.fromkeys("–−", "-") | dict.fromkeys("“”„", '"') | dict.fromkeys("‘’", "'")


def _stand_in(match: re.Match[str], encoding: str) -> str:
    """What is shown for a character and the blanks behind it, as wide as they are if possible."""
    character, blanks = match.groups()
    try:
        character.encode(encoding)
        return match[0]
    except UnicodeEncodeError:
        bare = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        shown = _STAND_INS.get(character) or bare
        shown = shown or character.encode("ascii", "backslashreplace").decode()
        return shown + (blanks[1:] if len(shown) == 2 else blanks)


def _write(file: TextIO, text: str) -> None:
    file.write(fitting(text, getattr(file, "encoding", None)))
    file.flush()


def launch(
    command: Callable[[argparse.Namespace], int | None],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
) -> int:
    """Parse, run, and turn what goes wrong into one line and an exit code.

    0 done, 1 failed, 2 usage, 130 interrupted, 143 terminated.
    """
    options = parser.parse_args(arguments)
    try:
        _look_at_places(options)
        with _logging_to(getattr(options, "log", None)):
            return command(options) or 0
    except GapfillError as error:
        if getattr(options, "debug", False):
            raise
        say(f"{parser.prog}: {error}")
        return error.exit_code
    except KeyboardInterrupt as error:
        say(f"{parser.prog}: {str(error) or 'interrupted.'}")
        return getattr(error, "exit_code", 130)
    except BrokenPipeError:
        # The reader of stdout left; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # that of a name too long, of a disk that fails, wherever it came up
        if getattr(options, "debug", False):
            raise
        where = [str(error.filename)[:200]] if error.filename is not None else []
        say(f"{parser.prog}: {one_line(': '.join([*where, error.strerror or str(error)]))}.")
        return 1


def _look_at_places(options: argparse.Namespace) -> None:
    """Find a mistake in where results shall go before the work, and what `~` means.

    Raises:
        UsageError: a file that cannot be written, a home that nobody knows, or an empty word, which
            would mean the current folder or nothing.
    """
    from gapfill.errors import UsageError
    from gapfill.reading.regular import expand

    for value in vars(options).values():
        if "" in (value if isinstance(value, list) else [value]):
            raise UsageError("one of the words is empty; is a variable of the shell unset?")
    for name in ("out", "json", "log"):
        place = getattr(options, name, None)
        if place is not None and place != "-":
            setattr(options, name, str(expand(place)))
    place = getattr(options, "json", None)
    if place is not None and place != "-":
        from gapfill.checkpoint import check_file

        check_file(Path(place))


@contextmanager
def _logging_to(path: str | None) -> Iterator[None]:
    """Inside the block, the lines of the logger `gapfill` are added to the file `path`.

    Raises:
        GapfillError: the file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise GapfillError(f"--log: cannot write {path}: {error.strerror or error}.") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("gapfill")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
