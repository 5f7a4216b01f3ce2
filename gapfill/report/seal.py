"""Whether the files of a comparison are those that were written, and belong to each other.

results.json carries the SHA-256 of its own content and of every file that it was written with. A
changed number would otherwise be another page, in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gapfill.errors import GapfillError

NAME = "results.json"
_AGAIN = "Run the comparison again into the same folder: what it has trained is kept."


def seal(results: dict[str, Any], folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return `results` with the hashes of the files `names` in `folder`, and with its own."""
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    found = {key: value for key, value in results.items() if key != "digest"} | {"files": files}
    return found | {"digest": _digest(found)}


def results_of(folder: Path) -> dict[str, Any]:
    """Read results.json, as it was written.

    Raises:
        GapfillError: The file is missing, damaged, changed, or no comparison's.
    """
    path = folder / NAME
    data = _read(path, f"Run a comparison into {folder} first.")
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise GapfillError(f"{path} is no valid JSON ({error}). {_AGAIN}") from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise GapfillError(f"{path} holds a {kind}, not the results of a comparison.")
    return found


def check(results: dict[str, Any], path: Path) -> None:
    """Refuse results that are not what was written.

    Raises:
        GapfillError: Their hash is another one, or missing.
    """
    try:
        right = results.get("digest") == _digest(results)
    except (ValueError, RecursionError):  # NaN is none of what was written
        right = False
    if not right:
        raise GapfillError(
            f"{path} was changed or damaged after it was written (sha256 mismatch). {_AGAIN}"
        )


def content(results: dict[str, Any], folder: Path, name: str) -> bytes:
    """Read the file `name` in `folder`, which must be the one that `results` were written with.

    Raises:
        GapfillError: The file is missing, or another one.
    """
    path = folder / name
    data = _read(path, _AGAIN)
    if hashlib.sha256(data).hexdigest() != results["files"].get(name):
        raise GapfillError(
            f"{path} is not the file that {NAME} was written with (sha256 mismatch): it was "
            f"changed, or another comparison's. {_AGAIN}"
        )
    return data


def _digest(results: dict[str, Any]) -> str:
    whole = {key: value for key, value in results.items() if key != "digest"}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _read(path: Path, cure: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise GapfillError(f"{path} is no regular file.")
        return path.read_bytes()
    except OSError as error:
        raise GapfillError(f"{path} cannot be read ({error.strerror}). {cure}") from error
