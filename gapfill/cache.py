"""Where gapfill keeps what it would otherwise make or fetch again."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of tables and trunks: `$GAPFILL_HOME`, else the user's cache folder.

    Where the user has no home, as in a container without an account, it is one of the machine's
    temporary folder.
    """
    try:
        return _cache_folder()
    except RuntimeError:
        user = getattr(os, "getuid", lambda: "user")()
        return Path(tempfile.gettempdir()) / f"gapfill-{user}"


def _cache_folder() -> Path:
    if home := os.environ.get("GAPFILL_HOME"):
        return Path(home).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gapfill"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "gapfill"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gapfill"
