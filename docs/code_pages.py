"""Pages of the code: where links from the text and the API reference into the repository lead."""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import reduce
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).parents[1]
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml"}
FOLDERS = ("gapfill", "configs", "docs/figures", "docs/plugin", "tests/torture")


def shown() -> list[Path]:
    """The files that get a page."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in files if path.suffix in LANGUAGES)


def page_of(path: Path) -> str | None:
    """The page of a file or a folder of the repository; None if it has none."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    if not any(f"{name}/".startswith(f"{folder}/") for folder in FOLDERS):
        return None
    if path.is_dir():
        return f"{name}/index"
    return name if path.suffix in LANGUAGES else None


class CodeLinks(SphinxTransform):
    """Leads links to files and folders that are no pages of the text to their pages of code."""

    default_priority = 100

    def apply(self) -> None:
        """Called by Sphinx for each page of the text."""
        kinds = (addnodes.download_reference, addnodes.pending_xref)
        for node in list(self.document.findall(lambda node: isinstance(node, kinds))):
            if node.get("reftype") != "myst" or node.get("refdomain") == "doc":
                continue
            _, path = self.env.relfn2path(node["reftarget"], self.env.docname)
            page = page_of(Path(path).resolve()) if Path(path).exists() else None
            if page:
                uri = relative_uri(f"{self.env.docname}.html", f"{page}.html")
                link = nodes.reference("", "", *node.children, refuri=uri, internal=True)
                node.replace_self(link)


class Measured(SphinxTransform):
    """Keeps a value and its ± on one line, however narrow a table's column is."""

    default_priority = 100

    def apply(self) -> None:
        """Called by Sphinx for each page of the text."""
        for text in list(self.document.findall(nodes.Text)):
            if " ± " in text:
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\u00a0±\u00a0")))


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, object], str]]:
    """Every file with its colours, and every folder with what its modules say of themselves."""
    folders: dict[Path, list[Path]] = {}
    for path in shown():
        folders.setdefault(path.parent, []).append(path)
        language = LANGUAGES[path.suffix]
        body = app.builder.highlighter.highlight_block(
            path.read_text(encoding="utf-8"), language, lineanchors="L"
        )
        yield page(path, body)
    for folder, files in folders.items():
        lines = (f'<li><a href="{it.name}.html">{it.name}</a> {summary(it)}</li>' for it in files)
        yield page(folder, f"<ul>{''.join(lines)}</ul>")


def page(path: Path, body: str) -> tuple[str, dict[str, object], str]:
    """One page, as Sphinx wants it."""
    title = path.relative_to(ROOT).as_posix()
    parts = {"title": title, "body": f"<h1>{title}</h1>\n{body}", "parents": []}
    return str(page_of(path)), parts, "page.html"


def summary(path: Path) -> str:
    """The first line of a module's docstring."""
    if path.suffix != ".py":
        return ""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return escape(doc.partition("\n")[0])


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Where an entry of the API reference (docs/api/) is defined."""
    try:
        found = reduce(getattr, info["fullname"].split("."), sys.modules[info["module"]])
        found = inspect.unwrap(found.fget if isinstance(found, property) else found)
        path = Path(inspect.getsourcefile(found)).resolve()
        line = inspect.getsourcelines(found)[1]
    except (AttributeError, TypeError, OSError):  # a constant
        return None
    page = page_of(path)
    return page and f"../../{page}.html#L-{line}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_transform(CodeLinks)
    app.add_transform(Measured)
    app.connect("html-collect-pages", pages)
    app.config.linkcode_resolve = linkcode_resolve
    return {"parallel_read_safe": True, "parallel_write_safe": True}
