"""The site: it builds without a warning, no link is dead, and it loads nothing from the net."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import gapfill

for needed in ("sphinx", "furo", "myst_nb"):
    pytest.importorskip(needed, reason='the site is built by `pip install -e ".[docs]"`')

ROOT = Path(__file__).parents[1]
LINK = re.compile(r'\s(?:href|src|srcset|data-src)="([^"]*)"')
ANCHOR = re.compile(r'\s(?:id|name)="([^"]*)"')
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc="(?:https?:)?//"""
    r"""|<link\b(?=[^>]*rel="(?:stylesheet|preload|icon)")[^>]*href="(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", "docs", ".", str(out)]
    made = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert not made.stderr
    return out


def texts(site, kind):
    return {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob(f"*.{kind}"))}


def test_no_link_is_dead(site):
    pages = texts(site, "html")
    anchors = {path: set(map(html.unescape, ANCHOR.findall(text))) for path, text in pages.items()}
    dead = set()
    for path, text in pages.items():
        for link in map(html.unescape, LINK.findall(text)):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link in ("#", ""):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and anchor not in anchors[target]):
                dead.add(f"{path.relative_to(site)}: {link}")
    assert not dead


def test_a_page_loads_nothing_from_the_net(site):
    found = [str(path) for path, text in texts(site, "html").items() if LOADED.search(text)]
    sheets = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
    found += [str(path) for path, text in texts(site, "css").items() if sheets.search(text)]
    assert not found


def test_every_card_and_every_public_name_has_its_place(site):
    cards = [path.relative_to(ROOT) for path in ROOT.glob("gapfill/weights/*/*/card.md")]
    assert cards
    assert all((site / card).with_suffix(".html").is_file() for card in cards)
    pages = (site / "docs/api").glob("*.html")
    names = {name for page in pages for name in ANCHOR.findall(page.read_text(encoding="utf-8"))}
    assert {"gapfill.Inpainter.inpaint", "gapfill.data.Stream", "gapfill.data.open_table"} <= names
    elsewhere = {"Stream", "open_table", "__version__"}
    assert {f"gapfill.{name}" for name in set(gapfill.__all__) - elsewhere} <= names


def test_the_tutorial_is_a_page_with_what_its_cells_gave(site):
    text = (site / "docs/tutorial.html").read_text(encoding="utf-8")
    shown = re.findall(r'<img[^>]*src="([^"]*_images/[^"]*\.png)"', text)
    assert len(shown) == 3
    assert all((site / "docs" / picture).resolve().is_file() for picture in shown)
    assert "<b>cnn</b>" in text
    assert "<th>center masks</th>" in text


def test_the_search_knows_words_of_the_text(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    assert '"telea":' in index
