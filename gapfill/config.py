"""One strict door for settings: YAML, command line and keywords all go through `build`."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gapfill.errors import UsageError

T = TypeVar("T")

_SHOWN = 100


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may take, both ends included; use inside `Annotated`."""

    low: float
    high: float = float("inf")
    multiple: int = 1

    def __str__(self) -> str:
        low, high = _readable(self.low), _readable(self.high)
        text = f"{low} to {high}" if self.high < float("inf") else f">= {low}"
        return text + (f", a multiple of {self.multiple}" if self.multiple > 1 else "")

    def holds(self, value: float) -> bool:
        """Whether `value` is allowed."""
        fits = self.low <= value <= self.high and (isinstance(value, int) or math.isfinite(value))
        return fits and (self.multiple == 1 or not value % self.multiple)


def _readable(number: float) -> str:
    """A bound, written out where a person would not count its zeros."""
    return f"{number:,.0f}" if 10**6 <= number < 10**15 else f"{number:g}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest of `known` and names them all.

    >>> nearest("dcgam", ["cnn", "dcgan"])
    "Did you mean 'dcgan'? Known: cnn, dcgan"
    """
    known, word = list(known), str(word)[:_SHOWN]
    close = difflib.get_close_matches(word, known, n=1)
    offer = f"Did you mean '{close[0]}'? " if close else ""
    return f"{offer}Known: {', '.join(known)}"


def build(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make the dataclass `cls` from `values`, refusing what does not fit.

    Args:
        cls: a dataclass; its annotations say what is allowed (`Literal`, `Annotated[…, Range]`,
            unions with None, tuples, nested dataclasses).
        values: settings by name; what is missing takes the dataclass's default.
        where: the place to name in an error, a file or a model.

    Raises:
        UsageError: an unknown key, a wrong type or a value out of range, in one line.
    """
    prefix = f"{where}: " if where else ""
    if not isinstance(values, Mapping):
        raise UsageError(f"{prefix}expected settings by name, got {_show(values)}.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    hints = get_type_hints(cls, include_extras=True)
    for key in values:
        if key not in fields:
            raise UsageError(f"{prefix}unknown setting {_name(key)}. {nearest(str(key), fields)}")
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UsageError(f"{prefix}the setting '{name}' is missing.")
    return cls(**{key: _fit(value, hints[key], f"{prefix}{key}") for key, value in values.items()})


def read_yaml(text: str | bytes) -> Any:
    """The value that YAML says.

    Raises:
        UsageError: the text is no YAML, or says a value that Python cannot hold, in some words.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise UsageError("it is nested too deeply") from error
    # PyYAML leaves to Python what looks like a date or is marked as a number, and is none.
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"it holds a value that is none ({type(error).__name__})") from error


def plain(settings: Any) -> dict[str, Any]:
    """The settings of a dataclass as plain JSON values, so that `build` makes it again."""
    return {key: _plain(value) for key, value in dataclasses.asdict(settings).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _fit(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type `hint` wants it, or raise in one line."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = _fit(value, arguments[0], where)
        for rule in arguments[1:]:
            if isinstance(rule, Range) and value is not None and not rule.holds(value):
                raise UsageError(f"{where} must be {rule}; got {_show(value)}.")
        return value
    if origin is Literal:
        if not any(value == each and type(value) is type(each) for each in arguments):
            raise UsageError(f"{where}: {_show(value)}? {nearest(str(value), map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [argument for argument in arguments if argument is not type(None)]
        return _first_fit(value, choices, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{where} must be a list; got {_show(value)}.")
        return tuple(_fit(item, arguments[0], where) for item in value)
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where} must be settings by name; got {_show(value)}.")
        return dict(value)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)  # type: ignore[arg-type]
    return _fit_plain(value, hint, where)


def _first_fit(value: Any, choices: list[Any], where: str) -> Any:
    for choice in choices[:-1]:
        try:
            return _fit(value, choice, where)
        except UsageError:
            continue
    return _fit(value, choices[-1], where)


def _fit_plain(value: Any, hint: Any, where: str) -> Any:
    if hint is Any or hint is None:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UsageError(f"{where} is too large a number; got {_show(value)}.") from None
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    cure = ""
    if hint is float and isinstance(value, str) and is_number(value):
        cure = f" YAML reads this as text: write {_with_point(value)}."
    raise UsageError(f"{where} must be {kinds.get(hint, hint)}; got {_show(value)}.{cure}")


def is_number(text: str) -> bool:
    """Whether `text` is a finite number as Python writes them."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _with_point(text: str) -> str:
    """The same number, spelt so that YAML reads a number: 2e-4 becomes 2.0e-4."""
    mantissa, e, exponent = text.lower().partition("e")
    if not e:
        return f"{text} without quotes"
    if "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}e{exponent if exponent[:1] in '+-' else '+' + exponent}"


def _show(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = "a number of thousands of digits"
    return f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'} ({type(value).__name__})"


def _name(key: Any) -> str:
    text = str(key)
    return f"'{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}'"
