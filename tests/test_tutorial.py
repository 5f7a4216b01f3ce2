"""The tutorial: it runs from top to bottom, and is kept with its pictures."""

from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"

nbformat = pytest.importorskip("nbformat", reason="notebooks are run by nbclient")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient")
pytest.importorskip("ipykernel", reason="notebooks are run by ipykernel")


def kinds(notebook):
    """What each cell shows, by type."""
    return [
        sorted(kind for output in cell.outputs for kind in output.get("data", {}))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


# What jupyter's packages warn of is theirs.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_the_tutorial_runs_and_shows_what_is_kept_with_it(tmp_path):
    kept = nbformat.read(TUTORIAL, 4)
    fresh = nbformat.read(TUTORIAL, 4)
    client = nbclient.NotebookClient(
        fresh, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert kinds(fresh) == kinds(kept)
    assert sum("image/png" in shown for shown in kinds(kept)) == 3
    assert sum("text/html" in shown for shown in kinds(kept)) == 2
    assert (tmp_path / "runs" / "tutorial" / "report.html").is_file()


def test_the_tutorial_is_small_and_names_no_place_of_this_machine():
    text = TUTORIAL.read_text("utf-8")
    assert len(text) < 400_000
    assert str(Path.home()) not in text
    assert "/site-packages/" not in text
