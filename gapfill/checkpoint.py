"""Files that survive: written in one piece, with their own SHA-256 inside, never unpickled.

A run's checkpoint is a short header and what `torch.save` writes; published weights are
safetensors with the hash and the configuration in the metadata.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gapfill.errors import GapfillError, UsageError

_MAGIC = b"gapfill checkpoint 1\n"
_TEMPORARY = ".partial-"
_LONGEST_HEADER = 100_000_000  # bytes; what safetensors itself allows


class DamagedError(GapfillError):
    """A file's content is not what was written."""


def write_atomic(path: Path, *pieces: bytes | memoryview) -> None:
    """Write `pieces` to `path` so that the file is there whole or not at all.

    Raises:
        GapfillError: the disk is full or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp would make the file private; what a run writes is as readable as any other file.
        beside = path.parent / (_TEMPORARY + secrets.token_hex(8))
        try:
            with beside.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GapfillError(f"cannot write {path}: {error.strerror or error}.") from error


def write_named(path: Path, data: bytes | memoryview) -> None:
    """Write to a file that a person named, whatever it is.

    A regular or new file is written in one piece, at the end of links; into a device or a pipe it
    is written straight, so that it stays what it is.

    Raises:
        GapfillError: it cannot be written to.
    """
    try:
        path = Path(os.path.realpath(path))
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) or 0 :]
            return
    except OSError as error:
        raise GapfillError(f"cannot write {path}: {error.strerror or error}.") from error
    write_atomic(path, data)


def check_file(path: Path) -> None:
    """Make sure, before any work, that `write_named` can write there; nothing is left behind.

    Raises:
        UsageError: a folder is there, or something on the way that is none, or it cannot be
            written to.
    """
    try:
        if path.is_dir():
            raise UsageError(f"cannot write {path}: it is a folder. Give the name of a file.")
        path = Path(os.path.realpath(path))
        if path.is_file() or not path.exists():  # and no device or pipe
            _check_folder(path.parent)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)[:200]}: {error.strerror or error}.") from error


def check_folder(path: Path) -> None:
    """Make sure, before any work, that files can be written into the folder `path`.

    Raises:
        UsageError: a file is there or on the way, or it cannot be written to.
    """
    try:
        _check_folder(path)
    except OSError as error:
        raise UsageError(
            f"cannot write into {str(path)[:200]}: {error.strerror or error}."
        ) from error


def _check_folder(path: Path) -> None:
    """Write a file into the folder, or into the nearest one on the way that there is."""
    while not path.exists() and path != path.parent:
        path = path.parent
    with tempfile.TemporaryFile(prefix=_TEMPORARY, dir=path):
        pass


def write_text(path: Path, text: str) -> None:
    r"""Write a UTF-8 text file in one piece.

    A name in it whose bytes are no text, of a file from another system, is spelt `\udcff`, which
    JSON reads as the same name.
    """
    write_atomic(path, _encoded(text))


def write_json(path: Path, value: Any, named: bool = False) -> None:
    """Write `value` as indented JSON in one piece; see `write_named` for what a person named."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (write_named if named else write_atomic)(path, _encoded(text))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file, and nothing else.

    Raises:
        DamagedError: the file holds something else.
        GapfillError: it cannot be read.
    """
    return parse_json(_read(path), str(path))


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object in a text; NaN, infinities and whatever is no object are refused.

    Raises:
        DamagedError: names `where` it stands.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{where} is damaged ({error}).") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{where} is damaged (a {type(value).__name__}, not an object).")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def digest_json(value: Any) -> str:
    """The SHA-256 of a JSON value, the same before and after it was written and read."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sweep(*folders: Path) -> None:
    """Delete what an interrupted `write_atomic` left behind in these folders."""
    for folder in folders:
        for path in folder.glob(_TEMPORARY + "*"):
            path.unlink(missing_ok=True)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint: tensors and plain values, nothing that needs code to load."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with buffer.getbuffer() as data:  # given back whatever happens: a buffer in use is not closed
        write_atomic(path, _MAGIC, hashlib.sha256(data).hexdigest().encode() + b"\n", data)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `save` wrote, onto the CPU.

    Raises:
        DamagedError: the file is cut short or a bit of it has changed.
    """
    data = _read(path)
    head = len(_MAGIC) + 65
    if not data.startswith(_MAGIC) or len(data) < head:
        raise DamagedError(f"checkpoint {path} is damaged (no gapfill header).")
    body = memoryview(data)[head:]
    if hashlib.sha256(body).hexdigest().encode() + b"\n" != data[len(_MAGIC) : head]:
        raise DamagedError(f"checkpoint {path} is damaged (sha256 mismatch).")
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises depends on what stands there instead
        raise DamagedError(
            f"checkpoint {path} holds something else than tensors and plain values."
        ) from error
    if not isinstance(state, dict):
        raise DamagedError(f"checkpoint {path} holds a {type(state).__name__}, not a run's state.")
    return state


def save_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Write tensors as safetensors with `about` (JSON values) inside, and return their digest."""
    from safetensors.torch import save as serialise

    # safetensors refuses what is not contiguous, such as weights kept in channels_last.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    found = digest(tensors, text)
    data = serialise(tensors, metadata={"gapfill": text, "sha256": found})
    write_atomic(path, data)
    return found


def holds(path: Path, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file of weights holds these and no others; True where there is no file."""
    if not path.is_file():
        return True
    try:
        found, _ = load_weights(path)
    except GapfillError:
        return False
    own = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    same = found.keys() == own.keys()
    return same and all(
        found[name].dtype == own[name].dtype and torch.equal(found[name], own[name]) for name in own
    )


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_weights` wrote: the tensors and `about`.

    Raises:
        DamagedError: the file is no safetensors file, or its content has changed.
        GapfillError: it was not written by gapfill.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as deserialise

    if not path.is_file():
        raise GapfillError(f"there are no weights at {path}.")
    # Read here and not by safetensors, which opens no file whose name is not UTF-8.
    data = _read(path)
    try:
        tensors, metadata = deserialise(data), _metadata(io.BytesIO(data))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise DamagedError(f"weights {path} are damaged ({error}).") from error
    if "gapfill" not in metadata or "sha256" not in metadata:
        raise GapfillError(f"{path} was not written by gapfill: it says nothing of its model.")
    if digest(tensors, metadata["gapfill"]) != metadata["sha256"]:
        raise DamagedError(f"weights {path} are damaged (sha256 mismatch).")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.float().isfinite().all()):
            raise DamagedError(f"weights {path} hold NaN or infinity in '{name}'.")
    return tensors, parse_json(metadata["gapfill"], f"what {path} says of its model")


def digest_of(path: Path) -> str | None:
    """The digest that a file of weights carries inside, or None where there is no file."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return _metadata(file).get("sha256")
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"weights {path} are damaged ({error}).") from error


def _metadata(file: BinaryIO) -> dict[str, Any]:
    """What a safetensors file says of itself: in its header, JSON after its own length.

    Raises:
        ValueError: there is no such header.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER:
        raise ValueError("its header is too long")
    header = json.loads(file.read(length))
    found = header.get("__metadata__") if isinstance(header, dict) else None
    return found if isinstance(found, dict) else {}


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """The SHA-256 of named tensors: of their names, types, shapes and values, and of `text`."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _read(path: Path) -> bytes:
    """What stands in a regular file; a pipe under its name would never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise GapfillError(f"cannot read {path}: it is no regular file.")
        return path.read_bytes()
    except OSError as error:
        raise GapfillError(f"cannot read {path}: {error.strerror or error}.") from error
