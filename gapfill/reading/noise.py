"""What decoders print on their own: Pillow's warnings and logs, libtiff's and libjpeg's lines."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TextIO

# How libtiff, libjpeg, libpng and OpenCV begin what they print.
_DECODERS = re.compile(
    r"(tempfile\.tif|_?TIFF\w*|O?JPEG\w*|(Fax|LZW|ZIP|PackBits|Pixar|Log|Luv|LERC|LZMA|ZSTD|WEBP"
    r"|Thunder|NeXT|Dump|JBIG|Predictor|horizontal|hor|fp|swab)\w*): "
    r"|Corrupt JPEG|Premature end of JPEG|Invalid (SOS|component|JPEG)|Inconsistent progression"
    r"|Warning: unknown JFIF|Unknown Adobe|libpng (warning|error)|\[ ?(WARN|ERROR)",
    re.IGNORECASE,
)


class _Quiet:
    """Keeps decoders quiet while any thread is inside, and what they said.

    C libraries write to the process's second file descriptor, and warning filters belong to the
    whole process too. So the first thread in diverts them and the last one out restores them.
    `lines` reads what comes in between. What was not read and is not as decoders speak is handed
    on, as it is somebody else's.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._saved = warnings.catch_warnings()
        self._logger = logging.getLogger("PIL")
        self._level = logging.NOTSET
        self._sink: IO[bytes] | None = None
        self._stderr = -1
        self._claimed: set[str] = set()

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._level = self._logger.level
                self._logger.setLevel(logging.CRITICAL + 1)
                self._divert()
            self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._restore()
                self._logger.setLevel(self._level)
                self._saved.__exit__(None, None, None)

    def _divert(self) -> None:
        self._claimed = set()
        if not hasattr(os, "pread"):  # Windows cannot read beside the libraries that write
            return
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            self._stderr = os.dup(2)
        except (OSError, ValueError):  # there is no stderr to be quiet on
            self._stderr = -1
            return
        try:
            self._sink = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, closed in _restore
            os.dup2(self._sink.fileno(), 2)
        except OSError:  # no place for a temporary file: then the noise is heard
            self._sink = None

    def _restore(self) -> None:
        if self._stderr < 0:
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        self._stderr = -1
        if self._sink is None:
            return
        sink, self._sink = self._sink, None
        sink.seek(0)
        for line in sink.read().decode("utf-8", "replace").splitlines():
            known = line in self._claimed or _DECODERS.match(line)
            if line and not known and sys.stderr is not None:
                sys.stderr.write(f"{line}\n")
        sink.close()

    @property
    def said(self) -> int:
        """How many bytes were printed since the first thread went in."""
        return os.fstat(self._sink.fileno()).st_size if self._sink is not None else 0

    def lines(self, start: int) -> list[str]:
        """The lines printed from byte `start` on; they count as decoders', and stay here."""
        if self._sink is None or self.said == start:
            return []
        with self._lock:
            text = os.pread(self._sink.fileno(), self.said - start, start)
            found = [line for line in text.decode("utf-8", "replace").splitlines() if line]
            self._claimed.update(found)
        return found

    @contextmanager
    def terminal(self) -> Iterator[TextIO | None]:
        """A stream to the real stderr for a progress bar; None where `sys.stderr` is one."""
        try:
            diverted = self._sink is not None and sys.stderr.fileno() == 2
        except (OSError, ValueError, AttributeError):
            diverted = False
        if not diverted:
            yield None
            return
        with os.fdopen(os.dup(self._stderr), "w", encoding=sys.stderr.encoding) as stream:
            yield stream


quiet = _Quiet()
