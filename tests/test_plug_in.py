"""The example of a plug-in in docs/plugin: installed as a stranger's package, and put to work."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import gapfill
from gapfill import testing
from gapfill.data.faces import generate

ROOT = Path(gapfill.__file__).parents[1]
PLUG_IN = Path(__file__).parents[1] / "docs" / "plugin"
PAGE = PLUG_IN.parent / "add-a-model.md"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Runs Python where gapfill and the installed plug-in are, and nothing of its sources is."""
    folder = tmp_path_factory.mktemp("plug-in")
    # A build leaves files behind, which must not lie among the sources.
    shutil.copytree(PLUG_IN, folder / "source")
    how = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    words = [sys.executable, "-m", "pip", "install", "-q", *how]
    words += ["--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    home = {"GAPFILL_HOME": str(folder / "home"), "TORCH_HOME": str(folder / "torch")}
    path = os.pathsep.join([str(folder / "site"), str(ROOT)])
    environment = {**os.environ, **home, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_plug_in_is_found_by_its_name_and_told_in_the_list(python):
    assert "dilated" in python("-c", "import gapfill; print(gapfill.list_models())")
    (row,) = json.loads(python("-m", "gapfill", "list", "dilated", "--json", "-"))
    assert row["group"] == "other"
    assert row["parameters"] > 10_000
    assert row["settings"] == {"size": 64, "width": 32, "lr": 1e-3}


def test_the_plug_in_keeps_the_contract_by_its_own_test(python, tmp_path):
    shutil.copy(PLUG_IN / "test_dilated.py", tmp_path)
    said = python("-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_dilated.py")
    assert f"{len(testing.CHECKS)} passed" in said


def test_the_plug_in_is_compared_like_any_other_model(python, tmp_path):
    (tmp_path / "faces").mkdir()
    for number, face in enumerate(generate(80, 32)):
        picture = Image.fromarray(face.permute(1, 2, 0).contiguous().numpy())
        picture.save(tmp_path / "faces" / f"{number:03}.png")
    small = ("--size", 32, "--steps", 3, "--batch-size", 8, "--device", "cpu", "--quiet")
    words = ("--data", tmp_path / "faces", *small, "--out", tmp_path / "out")
    said = python("-m", "gapfill.compare", "--models", "dilated", *words)
    assert "\ndilated  " in said
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["models"]
    assert rows[-1]["name"] == "dilated"
    assert rows[-1]["training"]["steps"] == 3
    assert (tmp_path / "out" / "models" / "dilated" / "seed-0" / "model").is_dir()


def test_the_zoo_page_does_not_depend_on_installed_plug_ins(python):
    assert "### dilated" not in python("-m", "gapfill.commands.listing")


@pytest.mark.parametrize("name", sorted(path.name for path in PLUG_IN.iterdir() if path.is_file()))
def test_the_page_shows_the_plug_in_as_it_is(name):
    shown = re.findall(r"^```\w*\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert (PLUG_IN / name).read_text() in shown


def test_the_page_names_every_check_of_the_contract():
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert named == [check.__name__ for check in testing.CHECKS]
