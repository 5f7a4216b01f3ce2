"""The site: `python -m sphinx -W -c docs . site` makes it of README.md, docs/ and the docstrings.

The repository is the source folder, so that a relative link means here what it means on GitHub.
"""

import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from gapfill import __version__  # noqa: E402, the copy that lies beside this file

project = "gapfill"
version = release = __version__
root_doc = "README"
include_patterns = [
    *("README.md", "CHANGELOG.md", "docs/*.md", "docs/*.ipynb", "docs/api/*.rst"),
    "gapfill/weights/*/*/card.md",
]
exclude_patterns = [".*", "build", "data", "dist", "runs", "site", "*.egg-info"]
extensions = [
    *("myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode"),
    "code_pages",
]

nb_execution_mode = "off"  # the tutorial is shown as it is kept, with what it gave
myst_heading_anchors = 6
default_role = "py:obj"  # `name` in a docstring is code, and a link where there is such a name
add_module_names = False
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_title = f"gapfill {__version__}"
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # would be fetched, which a page from a disk may not do

CONTENTS = """
```{toctree}
:hidden:
:caption: Use
docs/quickstart
docs/tutorial
docs/photos
docs/export
docs/hub
docs/logging
docs/demo
docs/models
docs/results
docs/gallery
docs/api/index
```
```{toctree}
:hidden:
:glob:
:caption: Weights
gapfill/weights/*/*/card
```
```{toctree}
:hidden:
:caption: Behind the numbers
docs/paper
docs/measuring
docs/performance
docs/reliability
```
```{toctree}
:hidden:
:caption: Take part
docs/add-a-model
docs/design
CHANGELOG
```
"""


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the front page the list of pages, which GitHub would show as it stands."""
    if docname == root_doc:
        source[0] += CONTENTS


def copy_front_page(app: Sphinx, problem: Exception | None) -> None:
    """Let the front page be found as index.html too."""
    if problem is None and app.builder.format == "html":
        shutil.copyfile(app.outdir / "README.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", copy_front_page)
