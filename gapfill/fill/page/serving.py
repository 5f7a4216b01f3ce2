"""Starting the page: on this machine, with nothing fetched from elsewhere and nothing left."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from gapfill.errors import GapfillError, UsageError, one_line

_HOST = "127.0.0.1"
_OWN = f"{_HOST},localhost"
_CURE = 'pip install "gradio>=6,<7"'
# gradio counts its uses, and huggingface_hub, which comes with it, those of its own.
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    # gradio asks its own server whether it is there: not through a proxy.
    "NO_PROXY": _OWN,
    "no_proxy": _OWN,
    # Others of its settings, which a page for this machine does not have.
    "GRADIO_ALLOWED_PATHS": "",
    "GRADIO_ROOT_PATH": "",
}
# The browser itself refuses whatever is not the page's own.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self' data: blob: ws: wss:; base-uri 'self'; form-action 'self'"
)


def serve(
    words: Sequence[str],
    *,
    port: int | None = None,
    share: bool = False,
    browser: bool = False,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> None:
    """Show the page until the program is told to end.

    Args:
        words: models, as for `gapfill.fill.page.tools.prepare`; none: those of `usual`.
        port: where to listen; None: the first free one from 7860 on.
        share: let gradio's servers pass the page on to anyone who has its address.
        browser: open the page in a browser.
        device: where to compute.
        say: takes a note.

    Raises:
        UsageError: a port that is no port, a model that there is not, or gradio is missing.
        GapfillError: the port is taken.
    """
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"--port must be 1 to 65535; got {port}.")
    with tempfile.TemporaryDirectory(prefix="gapfill-demo-") as name, _environment(name):
        gradio = _gradio()
        from gapfill.fill.page import layout, style, tools
        from gapfill.fill.page.examples import examples

        chosen = list(words) or tools.usual()
        say(f"preparing {', '.join(chosen)}")
        ready, folder = tools.prepare(chosen, device), Path(name)
        page = layout.build(ready, examples(folder), folder)
        with _ending() as ended:
            local, public = _launch(gradio, page, style.CSS, port, share)
            if share and not public:
                say("--share: gradio's servers gave no public address; is there a network?")
            address = public or local
            say(f"the page is at {address} (Ctrl-C ends it)")
            if browser and _has_screen():
                webbrowser.open(address)
            ended.wait()
        page.close(verbose=False)


def _gradio() -> Any:
    """Gradio, or the line that says how to get it."""
    try:
        gradio = importlib.import_module("gradio")
    except ModuleNotFoundError as error:
        raise UsageError(f"the demo needs gradio: {_CURE}") from error
    if int(gradio.__version__.split(".")[0]) < 6:
        raise UsageError(f"the demo needs gradio 6; this is {gradio.__version__}: {_CURE}")
    return gradio


def _launch(
    gradio: Any, page: Any, css: str, port: int | None, share: bool
) -> tuple[str, str | None]:
    """Start listening; returns the address on this machine, and the public one if there is."""
    fonts = ["system-ui", "sans-serif"]  # by name: gradio's own way is to fetch them
    theme = gradio.themes.Default(font=fonts, font_mono=["ui-monospace", "monospace"])
    middleware = importlib.import_module("starlette.middleware").Middleware(_Policy)
    try:
        with redirect_stdout(StringIO()):  # on which gradio tells at length that it cannot share
            _, local, public = page.launch(
                server_name=_HOST,
                server_port=port,
                share=share,
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                theme=theme,
                css=css,
                app_kwargs={"middleware": [middleware]},
            )
    except OSError as error:
        where = f"port {port}" if port else "every port from 7860 on"
        raise GapfillError(f"{where} is in use. Give another with --port.") from error
    except Exception as error:  # gradio's, httpx's, …
        raise GapfillError(f"the page could not begin: {one_line(str(error))}.") from error
    return local, public


class _Policy:
    """Adds the policy to every answer, as ASGI middleware."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.encode())
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        # A page that is closed while it sends a picture is no error.
        with suppress(importlib.import_module("starlette.requests").ClientDisconnect):
            await self.app(scope, receive, sending)


@contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Inside the block, gradio reports to nobody and keeps its files in `folder`."""
    before = dict(os.environ)
    os.environ.update(_QUIET, GRADIO_TEMP_DIR=str(Path(folder) / "cache"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _ending() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, inside the block."""
    ended = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, lambda *_: ended.set()) for number in numbers]
    try:
        yield ended
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def _has_screen() -> bool:
    """Whether a browser would open in a window: one in the terminal would take its place."""
    wanted = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, wanted))
