"""Text on its way in and out: encodings, terminals that lack characters, names that are no text."""

import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gapfill
from gapfill import checkpoint, console
from gapfill.commands import main as cli
from gapfill.recipe import read_recipe

ROOT = Path(__file__).parents[1]
ENCODINGS = ("cp1252", "cp437", "cp932", "latin-1", "ascii", "cp850", "cp1251", "utf-8")
TABLE = "model   PSNR dB         params\ncnn     27.31 ± 0.05    1.2 M  64×64 −3 – Źle Č… †\n"


def unnamed(path):
    """The calls of a file that read or write text in the system's encoding."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        named = any(key.arg == "encoding" for key in node.keywords)
        texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        binary = any(isinstance(text, str) and "b" in text and len(text) < 4 for text in texts)
        opens = name in ("open", "fdopen") and not binary and ast.unparse(node.func) in OPENERS
        reads = name == "read_text" and not node.args
        writes = name == "write_text" and len(node.args) < 2
        if not named and (opens or reads or writes):
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


OPENERS = ("open", "os.fdopen", "io.open", "path.open", "self.log_path.open", "file.open")


def test_every_text_file_is_opened_in_an_encoding_that_is_named():
    places = [*ROOT.glob("gapfill/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    assert [place for path in places for place in unnamed(path)] == []


@pytest.fixture
def terminal(monkeypatch):
    """Stdout in an encoding, and what arrived there."""

    def attach(encoding):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, newline="\n"))
        return lambda: raw.getvalue().decode(encoding)

    return attach


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_is_shown_whatever_characters_the_terminal_has(terminal, encoding):
    arrived = terminal(encoding)
    console.show(TABLE)
    shown = arrived()
    heading, line = shown.splitlines()
    assert heading == TABLE.splitlines()[0]
    assert line.index("1.2 M") == TABLE.splitlines()[1].index("1.2 M"), "a column moved"
    assert "\\u" not in shown
    assert "?" not in shown


def test_what_a_terminal_has_stays_as_it_is():
    assert console.fitting(TABLE, "utf-8") == TABLE
    assert console.fitting("5 × 3 ± 2 – Č", "cp1252") == "5 × 3 ± 2 – C"
    assert console.fitting("5 × 3 ± 2 – é", "ascii") == "5 x 3 +-2 - e"
    assert console.fitting("脸 \udcff", "ascii") == "\\u8138 \\udcff"


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "cp932", "latin-1", "ascii"])
def test_lists_and_help_are_shown_whatever_characters_the_terminal_has(terminal, encoding):
    for words in (["list", "c*"], ["compare", "--help"], ["fit", "--help"], ["--help"]):
        arrived = terminal(encoding)
        with contextlib.suppress(SystemExit):
            cli.main(words)
        assert arrived().startswith(("model", "usage: gapfill"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_on_stdout_is_the_same_in_every_encoding(terminal, encoding):
    value = {"title": "Gesichter ± 脸", "name": os.fsdecode(b"caf\xe9")}
    arrived = terminal(encoding)
    console.write_json("-", value)
    assert json.loads(arrived()) == value


def test_a_name_that_is_no_text_comes_back_from_json(tmp_path):
    value = {"name": os.fsdecode(b"caf\xe9"), "title": "ä±\\udc"}
    checkpoint.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == value


def test_a_mistake_is_one_line_whatever_the_name(capsys):
    name = "two\nlines\x1b[31m\udcff"
    assert cli.main(["fit", name, "--out", "r"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert r"'two\nlines\x1b[31m\udcff'" in lines[0]


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_recipe_may_begin_with_a_mark_of_its_encoding(tmp_path, mark):
    path = tmp_path / "r.yaml"
    path.write_text("model: cnn\nmask: rect  # ±\n", mark)
    assert read_recipe(path).mask == "rect"


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """Pictures in a folder, all of whose names are bytes that are no UTF-8."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / os.fsdecode(b"\xe9l\xe8ves")
    try:
        folder.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / os.fsdecode(b"%02d-\xfc.png" % number))
    return folder


def test_names_that_are_no_text_reach_the_end(strange, tmp_path, capfd):
    run, table = tmp_path / os.fsdecode(b"run-\xff"), tmp_path / os.fsdecode(b"\xf6")
    small = ["--data", str(strange), "--size", "32", "--steps", "2", "--device", "cpu"]
    small += ["--precision", "fp32", "--batch-size", "4", "--quiet"]
    words = ["--set", "size=32", "--set", "width=4", "--out", str(run)]
    assert cli.main(["fit", "cnn", *small, *words]) == 0
    before = gapfill.load(run)
    assert cli.main(["fit", "cnn", *small, *words]) == 0, "the same again"
    for state in zip(
        before.state_dict().values(), gapfill.load(run).state_dict().values(), strict=1
    ):
        assert torch.equal(*state)
    capfd.readouterr()
    words = ["--models", str(run), "--out", str(table), "--json", "-"]
    assert cli.main(["compare", *small, *words]) == 0
    results = json.loads(capfd.readouterr().out)
    assert results["data"]["title"] == strange.name
    assert [row["label"] for row in results["models"]][-1] == "run-\ufffd"
    page = (table / "report.html").read_text("utf-8")
    assert "run-\ufffd" in page
    assert cli.main(["compare", *small, *words[:-2]]) == 0, "the same again"
    assert "run-\ufffd" in capfd.readouterr().out
    photo, mask = strange / os.fsdecode(b"01-\xfc.png"), tmp_path / os.fsdecode(b"\xe4.png")
    hole = np.zeros((32, 32), np.uint8)
    hole[8:16, 8:16] = 255
    Image.fromarray(hole).save(mask)
    out = tmp_path / os.fsdecode(b"filled-\xe4.png")
    assert cli.main(["fill", str(run), str(photo), str(mask), "--out", str(out)]) == 0
    assert out.is_file()
