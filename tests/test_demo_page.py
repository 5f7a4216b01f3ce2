"""`gapfill demo` as a visitor meets it, in a Chromium without a window."""

import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(BROWSER is None, reason="there is no chromium"),
]


@pytest.fixture
def address(tmp_path):
    """A running demo, ended as a system ends programs."""
    command = [sys.executable, "-m", "gapfill", "demo", "--no-browser", "--models"]
    running = subprocess.Popen(
        [*command, "telea", "unet@any"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    said = ""
    for line in running.stderr:
        said += line
        if (found := re.search(r"http://127\.0\.0\.1:\d+", line)) is not None:
            break
    else:
        pytest.fail(f"the page did not start: {said}")
    yield found[0]
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=60)[1] == ""
    assert running.returncode == 0
    assert not list(tmp_path.glob("gapfill-demo-*"))


def paint(page):
    """Drag the brush over the middle of the picture."""
    box = page.locator("#editor canvas").first.bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle - 50, height)
    page.mouse.down()
    page.mouse.move(middle + 50, height + 10, steps=5)
    page.mouse.up()


def test_a_hole_is_painted_filled_compared_and_saved(address, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    photo = tmp_path / "mine.tif"
    levels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(levels).save(photo)
    asked, mistakes = set(), []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.on("request", lambda request: asked.add(request.url))
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.goto(address)
        expect(page.locator("#editor label").first).to_contain_text("face-1.png")
        page.locator("#fill").click()
        message = page.locator("#message")
        expect(message).to_contain_text("the mask is empty: nothing to fill.")
        page.get_by_text("Mask file and options").click()
        context = page.locator("#context input")
        expect(context).to_have_value("whole")

        broken = tmp_path / "broken.jpg"
        broken.write_text("<b>no picture</b>")
        page.locator("#photo input[type=file]").set_input_files(str(broken))
        expect(message).to_have_text(
            "cannot read broken.jpg: not a picture in a format that is read."
        )
        page.locator("#photo input[type=file]").set_input_files(str(photo))
        expect(page.locator("#editor label").first).to_contain_text("mine.tif")
        expect(context).to_have_value("auto")
        expect(message).to_contain_text("Paint over")
        page.wait_for_timeout(1000)  # until the canvas has taken the picture
        paint(page)
        page.locator("#fill").click()
        fills = page.locator("#fills .caption-label")
        expect(fills).to_have_count(2)
        expect(fills.first).to_contain_text("unet@any")
        expect(message).to_contain_text("400×300 pixels")
        fills.nth(1).click()
        expect(page.locator("#slider label").first).to_contain_text("telea")
        expect(page.locator("#slider img")).to_have_count(2)
        with page.expect_download() as download:
            page.locator("#save").click()
        saved = tmp_path / download.value.suggested_filename
        download.value.save_as(saved)
        browser.close()
    assert saved.name == "mine-telea.tif"
    with Image.open(saved) as picture:
        changed = (np.array(picture) != levels).any(2)
    assert 0.005 < changed.mean() < 0.2
    assert changed[150, 200]
    own = (address, f"blob:{address}", "data:")
    assert not [url for url in asked if not url.startswith(own)]
    assert not mistakes


def test_a_port_in_use_is_one_line(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "gapfill", "demo", "--no-browser", "--quiet"]
        result = subprocess.run(
            [*command, "--models", "telea", "--port", port],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
    assert result.returncode == 1
    assert result.stderr == f"gapfill: port {port} is in use. Give another with --port.\n"
    assert not list(Path(tmp_path).glob("gapfill-demo-*"))


def test_without_a_network_sharing_is_one_line_and_the_page_is_there(tmp_path):
    command = [sys.executable, "-m", "gapfill", "demo", "--no-browser", "--models", "telea"]
    nowhere = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    own = ("NO_PROXY", "no_proxy")
    environment = {name: word for name, word in os.environ.items() if name not in own}
    running = subprocess.Popen(
        [*command, "--share"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, **nowhere, **home},
    )
    lines = [running.stderr.readline() for _ in range(3)]
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=60) == ("", "")
    assert running.returncode == 0
    assert lines[1] == "--share: gradio's servers gave no public address; is there a network?\n"
    assert lines[2].startswith("the page is at http://127.0.0.1:")
